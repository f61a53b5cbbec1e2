"""What customers write to the app: who it is, what is answered, and that it is sent.

The answer itself is `bot.services.conversation.conversations`; people are found by (team, user), never by what they write.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import structlog

from bot.channels.slack.api import SlackApi
from bot.channels.slack.cards import section
from bot.channels.slack.desk import SlackDesk
from bot.channels.slack.identity import Roster
from bot.channels.slack.payloads import CustomerMessage
from bot.clock import Clock
from bot.services.conversation.conversations import Conversations, Inbound
from bot.store.database import Database
from bot.store.shop import customer_by_slack_user

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
    ) -> None:
        self._api = api
        self._database = database
        self._clock = clock
        self._conversations = conversations
        self._send_utterance = send_utterance
        self._desk = desk
        self._roster = roster
        self._review_channel = review_channel

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
