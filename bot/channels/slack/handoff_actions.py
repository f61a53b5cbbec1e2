"""What agents do about customers who were handed over: a reply through its modal, and giving the conversation back.

The conversation itself is `bot.services.conversation.conversations`; how a hand-over looks is `handoffs`.
"""

from __future__ import annotations

from collections.abc import Callable

from bot.channels.slack import modals
from bot.channels.slack.api import SlackApi
from bot.channels.slack.desk import SlackDesk
from bot.channels.slack.payloads import Click, Submission, number
from bot.errors import InputError, Refused
from bot.services.conversation.conversations import Conversations
from bot.store import slack as posts
from bot.store.database import Database

__all__ = ["HandoffActions"]


class HandoffActions:
    """Replies of agents, and giving back; roles are asked before."""

    def __init__(
        self,
        api: SlackApi,
        database: Database,
        conversations: Conversations,
        send_utterance: Callable[[int], object],
        desk: SlackDesk,
    ) -> None:
        self._api = api
        self._database = database
        self._conversations = conversations
        self._send_utterance = send_utterance
        self._desk = desk

    def open_reply(self, click: Click) -> None:
        """Take the hand-over and ask for the words."""
        facts = self._facts(click.value, active=True)
        with self._database.read() as connection:
            words = posts.transcript(connection, facts.conversation_id, last=1)
        self._conversations.take(facts.id, click.person.actor)
        self._api.open_modal(click.trigger_id, modals.handoff_reply(facts, words[-1].text if words else ""))
        self._desk.show_handoff(facts.id)

    def store(self, submission: Submission) -> None:
        """Keep a reply before Slack is answered: a crash afterwards loses no words."""
        words = submission.inputs.get("reply/text", "").strip()
        if not words:
            raise InputError("write what the customer shall read")
        facts = self._facts(submission.reference, active=True)
        self._conversations.reply_as_agent(facts.conversation_id, submission.person.actor, words)

    def stored(self, submission: Submission) -> list[int]:
        """Return the stored utterances that say what was submitted."""
        facts = self._facts(submission.reference, active=False)
        with self._database.read() as connection:
            words = posts.transcript(connection, facts.conversation_id)
        said = submission.inputs.get("reply/text", "").strip()
        return [one.id for one in words if one.author_id == submission.person.actor and one.text == said]

    def send(self, submission: Submission) -> None:
        """Send a stored reply, and show it in the thread."""
        for utterance_id in self.stored(submission)[-1:]:
            self._send_utterance(utterance_id)
        self._desk.show_handoff(int(submission.reference))

    def give_back(self, click: Click) -> None:
        """Let the bot answer again."""
        facts = self._facts(click.value, active=False)
        self._conversations.give_back(facts.conversation_id, click.person.actor)
        self._desk.show_handoff(facts.id)

    def name_article(self, click: Click) -> None:
        """Keep which article would have answered: a label that the product learns from."""
        parts = [number(part) for part in click.value.split(":")]
        if len(parts) != 3 or None in parts:
            raise InputError("this choice is too old to be used; look at the newest message of the hand-over")
        handoff_id, utterance_id, article_id = (part or 0 for part in parts)
        self._conversations.name_article(handoff_id, utterance_id, article_id or None, click.person.actor)
        self._api.whisper(click.channel, click.person.user_id, "Noted, thank you: answers will learn from it.")

    def _facts(self, reference: str, *, active: bool) -> posts.HandoffFacts:
        with self._database.read() as connection:
            known = number(reference)
            facts = None if known is None else posts.handoff_facts(connection, known)
        if facts is None:
            raise InputError("this hand-over is not known any more")
        if active and facts.state not in posts.ACTIVE:
            raise Refused("this hand-over was given back meanwhile; nothing was sent")
        return facts
