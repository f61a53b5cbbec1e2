"""The tour's dialogue: the customer writes back, the bot answers with its source or hands over, an agent replies.

In Slack the customer types into the direct messages; without Slack the same words come in as a mail would. What each
side reads is read back from where it arrived.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any, Protocol

from bot.clock import Clock
from bot.demo.local_slack import AGENTS, LocalSlack, find_element, shown_text, until
from bot.demo.mailbox import Mailbox
from bot.demo.narration import Narrator
from bot.errors import ChannelError
from bot.services.conversation.conversations import Conversations, Inbound, Received
from bot.services.delivery.deliverer import Deliverer
from bot.services.review.cards import CardView
from bot.store.database import Database
from bot.store.shop import customer
from bot.store.slack import handoff_facts

__all__ = ["MailDialogue", "SlackDialogue", "talk"]

AGENT = AGENTS[0]
AGENT_REPLY = "Ada here, a human. I have asked our workshop and will write to you tomorrow before noon."


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """What a customer wrote and what they read then; `handed_over` is what agents see where a human is needed."""

    answer: str
    handed_over: str | None = None


class Dialogue(Protocol):
    """A way to talk with one customer."""

    label: str

    def ask(self, text: str, awaited: str | None) -> Exchange:
        """Write as the customer; wait for an answer that holds some words, or (None) for a hand-over."""

    def agent_replies(self, text: str) -> str:
        """Reply as an agent to the open hand-over; return what the customer reads."""


class MailDialogue:
    """The customer answers the mail that they got."""

    label = "answers the mail"

    def __init__(
        self,
        card: CardView,
        conversations: Conversations,
        deliverer: Deliverer,
        database: Database,
        clock: Clock,
        mailbox: Mailbox,
    ) -> None:
        self._card = card
        self._conversations = conversations
        self._deliverer = deliverer
        self._database = database
        self._clock = clock
        self._mailbox = mailbox
        self._count = 0
        self._last: Received | None = None

    def ask(self, text: str, awaited: str | None) -> Exchange:
        self._count += 1
        evidence = self._card.outreach.evidence or {}
        reference = str(evidence.get("reference") or "")
        with self._database.read() as connection:
            sender = customer(connection, self._card.outreach.customer_id)
        name = f"<demo-{self._card.outreach.id}-{self._count}@example.com>"
        received = self._last = self._conversations.receive(
            Inbound(
                source="email",
                external_id=name,
                channel="email",
                thread=str(evidence.get("thread") or reference),
                customer_id=self._card.outreach.customer_id,
                sender=(sender.email if sender else None) or "",
                text=text,
                occurred_at=self._clock.now(),
                reference=name,
                in_reply_to=reference,
            )
        )
        for utterance_id in received.utterance_ids:
            self._deliverer.send_utterance(utterance_id)
        read = [self._read(utterance_id) for utterance_id in received.utterance_ids]
        return Exchange(answer="\n\n".join(read), handed_over=self._handed_over(received))

    def agent_replies(self, text: str) -> str:
        if self._last is None:
            raise ChannelError("nobody has written yet")
        utterance_id = self._conversations.reply_as_agent(self._last.conversation_id, "cli:ada", text)
        self._deliverer.send_utterance(utterance_id)
        return self._read(utterance_id)

    def _read(self, utterance_id: int) -> str:
        got = self._mailbox.of(f"utterance:{utterance_id}", "email", self._card.outreach.customer_id)
        return "\n\n".join(message.text for message in got)

    def _handed_over(self, received: Received) -> str | None:
        if received.handoff_id is None:
            return None
        with self._database.read() as connection:
            facts = handoff_facts(connection, received.handoff_id)
        return f"{facts.customer_name} needs a human: {facts.reason.replace('_', ' ')}" if facts else None


class SlackDialogue:
    """The customer types into the direct messages with the bot."""

    label = "writes to the bot in Slack"

    def __init__(self, slack: LocalSlack, user: str, customer_id: int, mailbox: Mailbox) -> None:
        self._slack = slack
        self._user = user
        self._customer_id = customer_id
        self._mailbox = mailbox

    def ask(self, text: str, awaited: str | None) -> Exchange:
        before = len(self._mailbox.from_bot(self._customer_id))
        known = {message["ts"] for message in self._slack.messages()}

        def answer() -> str:
            return "\n\n".join(self._mailbox.from_bot(self._customer_id)[before:])

        def new_handoff() -> str | None:
            message = self._open_handoff()
            return shown_text(message) if message is not None and message["ts"] not in known else None

        def settled() -> bool:
            return awaited in answer() if awaited is not None else new_handoff() is not None

        self._slack.say(self._user, text)
        with contextlib.suppress(ChannelError):  # what came instead is shown, and does not meet the expectation
            until(settled, "answer")
        return Exchange(answer=answer(), handed_over=new_handoff())

    def agent_replies(self, text: str) -> str:
        before = len(self._mailbox.from_bot(self._customer_id))
        self._slack.click_and_submit(
            AGENT.id,
            until(self._open_handoff, "hand-over in the review channel"),
            "handoff_reply",
            "handoff_reply",
            {"reply": {"text": {"type": "plain_text_input", "value": text}}},
        )
        found = until(lambda: self._mailbox.from_bot(self._customer_id)[before:], "reply of the agent")
        return "\n\n".join(found)

    def _open_handoff(self) -> dict[str, Any] | None:
        message: dict[str, Any]
        for message in reversed(self._slack.messages()):
            try:
                find_element(message, "handoff_reply")
                return message
            except ChannelError:
                continue
        return None


def talk(dialogue: Dialogue, name: str, answerable: str, source: str, unanswerable: str, narrator: Narrator) -> None:
    """Ask what an article answers, then what none does; let an agent reply.

    Parameters
    ----------
    source : str
        The title of the article that the first answer must cite.
    """
    narrator.say(f"{name} {dialogue.label}:")
    narrator.quote(name, answerable)
    first = dialogue.ask(answerable, source)
    narrator.say(f"{name} reads:")
    narrator.quote("Aftercare (bot)", first.answer)
    narrator.expect(source in first.answer, f"the answer names its source, the article “{source}”")
    narrator.expect(first.handed_over is None, "no human was needed for it")

    narrator.quote(name, unanswerable)
    second = dialogue.ask(unanswerable, None)
    narrator.say(f"No article knows this. {name} reads:")
    narrator.quote("Aftercare (bot)", second.answer)
    if narrator.expect(
        second.handed_over is not None, "the bot does not guess: the question is handed over to a human"
    ):
        narrator.say("The agents see:")
        narrator.quote("review channel", second.handed_over or "")
        reply = dialogue.agent_replies(AGENT_REPLY)
        narrator.say(f"Ada clicks Reply and writes; {name} reads:")
        narrator.quote("Ada (support)", reply)
        narrator.expect(AGENT_REPLY in reply, "the agent's own words reached the customer")
