"""What customers write to the app, or choose under an answer: who it is, what is answered, and that it is sent.

The answer itself is `bot.services.conversation.conversations`; people are found by (team, user), never by what they write.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import UTC, datetime

import structlog

from bot.channels.slack.api import SlackApi
from bot.channels.slack.cards import section
from bot.channels.slack.customer_messages import CHOICE_OF, chosen_message, fallback
from bot.channels.slack.desk import SlackDesk
from bot.channels.slack.identity import Roster
from bot.channels.slack.payloads import ActionId, Click, CustomerMessage, number
from bot.clock import Clock
from bot.errors import ChannelError
from bot.services.conversation.conversations import Conversations, Inbound, Received
from bot.store.database import Database
from bot.store.ratings import rate, rateable
from bot.store.shop import customer_by_slack_user
from messages.answers import language_of
from messages.choices import Choice, said, told

__all__ = ["CustomerMessages"]

log = structlog.get_logger(__name__)

AGENT_HINT = (
    "I talk to customers here. What waits for you is in <#{channel}>, in the Home tab above, and behind `/aftercare`."
)


class CustomerMessages:
    """The direct messages of customers."""

    def __init__(
        self,
        *,
        api: SlackApi,
        database: Database,
        clock: Clock,
        conversations: Conversations,
        send_utterance: Callable[[int], object],
        desk: SlackDesk,
        roster: Roster,
        review_channel: str,
        hosts: Collection[str] = (),
    ) -> None:
        self._api = api
        self._database = database
        self._clock = clock
        self._conversations = conversations
        self._send_utterance = send_utterance
        self._desk = desk
        self._roster = roster
        self._review_channel = review_channel
        self._hosts = hosts

    def receive(self, message: CustomerMessage) -> None:
        """Answer one message, or hand it over."""
        person = message.person
        if not self._roster.ours(person):
            log.warning("slack_foreign_workspace", actor=person.actor, key=message.key)
            return
        with self._database.read() as connection:
            known = customer_by_slack_user(connection, person.team_id, person.user_id)
        if known is None and self._roster.is_agent(person):
            hint = AGENT_HINT.format(channel=self._review_channel)
            self._api.post(message.channel, hint, [section(hint)])
            return
        received = self._conversations.receive(
            Inbound(
                source="slack",
                external_id=f"{message.channel}:{message.ts}",
                channel="slack",
                thread=message.channel,
                customer_id=known.id if known else None,
                sender=person.actor,
                text=message.text,
                occurred_at=self._when(message.ts),
                reference=message.ts,
            )
        )
        self._carry_out(received)

    def choose(self, click: Click) -> None:
        """Do what the reader of an answer chose: rate it, and call a human where it did not help or one is asked for."""
        choice = CHOICE_OF[ActionId(click.action)]
        with self._database.read() as connection:
            wanted = number(click.value)
            answer = None if wanted is None else rateable(connection, wanted)
            known = customer_by_slack_user(connection, click.person.team_id, click.person.user_id)
        # Only its reader can click in a direct message; the value is what they send, so it is not believed.
        if answer is None or (answer.channel, answer.thread) != ("slack", click.channel):
            log.warning("slack_choice_refused", actor=click.person.actor, key=click.key)
            return
        if choice is not Choice.HUMAN:
            with self._database.write() as connection:
                rate(connection, answer.utterance_id, helped=choice is Choice.HELPED, now=self._clock.now())
        language = language_of(answer.text, answer.locale)
        blocks = chosen_message(answer.text, self._hosts, told(choice, language), answer.key or f"choice:{click.ts}")
        try:
            self._api.update(click.channel, click.ts, fallback(answer.text), blocks)
        except ChannelError as error:  # the buttons stay; what was chosen is done all the same
            log.warning("slack_choice_unshown", key=click.key, error=type(error).__name__)
        if choice is Choice.HELPED:
            return
        self._carry_out(
            self._conversations.receive(
                Inbound(
                    source="slack",
                    external_id=f"{click.channel}:{click.ts}:{choice}",
                    channel="slack",
                    thread=click.channel,
                    customer_id=known.id if known else None,
                    sender=click.person.actor,
                    text=said(choice, language),
                    occurred_at=self._clock.now(),
                    reference=click.ts,
                )
            )
        )

    def _carry_out(self, received: Received) -> None:
        for utterance_id in received.utterance_ids:
            self._send_utterance(utterance_id)
        if received.handoff_id is not None:
            self._desk.show_handoff(received.handoff_id)

    def _when(self, ts: str) -> datetime:
        """Return when it was written; not later than our own clock, which a demonstration may set back."""
        try:
            written = datetime.fromtimestamp(float(ts), UTC)
        except ValueError:
            return self._clock.now()
        return min(written, self._clock.now())
