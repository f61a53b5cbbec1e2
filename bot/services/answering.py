"""Sending the answers of conversations, under the same guard as outreaches: a row before, evidence after.

What is answered is decided in `bot.services.conversation`; this only sees to it that it leaves once.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import datetime, timedelta

import structlog

from bot.channels.base import Channel, Evidence, Knowledge
from bot.clock import Clock
from bot.config import Settings
from bot.errors import ChannelError
from bot.services.conversation import HandoffReason
from bot.services.departure import Departure
from bot.services.handover import Outcome, as_stored, hand_over
from bot.services.ownership import certainly_dead
from bot.store import answers, conversations
from bot.store.answers import PendingAnswer
from bot.store.controls import STOPPED, get_control
from bot.store.database import Connection, Database
from bot.store.enums import ConversationState, DeliveryState, HandoffState
from messages.errors import TemplateError

__all__ = ["Answers"]

log = structlog.get_logger()


class Answers:
    """The outgoing utterances that still have to leave."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        settings: Settings,
        channels: Mapping[str, Channel],
        departure: Departure,
        owner: str,
    ) -> None:
        self._database = database
        self._clock = clock
        self._settings = settings
        self._channels = channels
        self._departure = departure
        self._owner = owner
        self._stopping = threading.Event()
        # Keys being sent by this process, and outcomes that the database has not taken yet.
        self._busy: set[str] = set()
        self._ended: dict[str, Outcome] = {}

    def drain(self, limit: int) -> int:
        """Send pending answers; return how many left."""
        self._record_ended()
        sent = 0
        for _ in range(limit):
            taken = None if self._stopping.is_set() else self._take(None)
            if taken is None:
                break
            sent += self._send(*taken)
        return sent

    def send(self, utterance_id: int) -> bool:
        """Send one answer, unless it is being sent or was."""
        taken = self._take(utterance_id)
        return taken is not None and self._send(*taken)

    def recover(self, overdue: datetime) -> int:
        """Show as uncertain what a dead or overdue process was sending."""
        self._record_ended()
        now, count = self._clock.now(), 0
        with self._database.write() as connection:
            for key, owner, started_at in answers.stale_answers(connection):
                if key in self._busy or not (started_at <= overdue or certainly_dead(owner)):
                    continue
                reason = "the sending process died or did not report back"
                count += answers.settle_answer(connection, key, DeliveryState.UNCERTAIN, now, error=reason)
        return count

    def reconcile(self, settles_after: timedelta) -> int:
        """Ask the channels about uncertain answers; return how many are settled."""
        now, settled = self._clock.now(), 0
        with self._database.read() as connection:
            doubtful = [
                (key, answers.answer_in(connection, key))
                for key in answers.uncertain_answers(connection, now - settles_after)
            ]
        for key, answer in doubtful:
            channel = self._channels.get(answer.channel)
            if channel is None:
                continue
            try:
                known = channel.find(self._departure.answer_message(answer, key))
            except (ChannelError, TemplateError):
                continue
            if known == Knowledge.UNKNOWN:
                continue
            found = isinstance(known, Evidence)
            with self._database.write() as connection:
                settled += answers.settle_answer(
                    connection,
                    key,
                    DeliveryState.SENT if found else DeliveryState.RETRY,
                    now,
                    evidence=as_stored(known) if isinstance(known, Evidence) else None,
                    error=None if found else "it had not arrived",
                )
        return settled

    def stop(self) -> None:
        """Begin no further answer."""
        self._stopping.set()

    def _take(self, utterance_id: int | None) -> tuple[PendingAnswer, str] | None:
        now = self._clock.now()
        with self._database.write() as connection:
            if get_control(connection, STOPPED):
                return None
            pending = answers.pending_answers(
                connection, now=now, channels=list(self._channels), utterance_id=utterance_id, limit=1
            )
            if not pending:
                return None
            key = answers.begin_answer(connection, pending[0], self._owner, now)
            self._busy.add(key)
        return pending[0], key

    def _send(self, answer: PendingAnswer, key: str) -> bool:
        now = self._clock.now()
        outcome = hand_over(
            self._channels[answer.channel],
            lambda: self._departure.answer_message(answer, key),
            key=key,
            attempt=answer.attempts + 1,
            now=now,
            rules=self._settings.delivery,
        )
        self._ended[key] = outcome
        self._record_ended()
        log.info("answer_attempted", key=key, state=outcome.state.value, reason=outcome.reason)
        return outcome.state == DeliveryState.SENT

    def _record_ended(self) -> None:
        """Write down what has ended; what the database does not take now is kept for the next chance."""
        for key, outcome in list(self._ended.items()):
            now = self._clock.now()
            with self._database.write() as connection:
                settled = answers.settle_answer(
                    connection,
                    key,
                    outcome.state,
                    now,
                    evidence=outcome.evidence,
                    error=outcome.reason,
                    next_attempt_at=outcome.retry_at,
                )
                if settled and outcome.state == DeliveryState.FAILED:
                    _call_a_human(connection, answers.answer_in(connection, key).conversation_id, now)
            self._ended.pop(key, None)
            self._busy.discard(key)


def _call_a_human(connection: Connection, conversation_id: int, now: datetime) -> None:
    """Hand a conversation over whose last words never arrived; a hand-over under way makes room for one that says so."""
    conversations.conversation(connection, conversation_id, lock=True)
    active = conversations.active_handoff(connection, conversation_id)
    if active is not None:
        conversations.move_handoff(connection, active.id, HandoffState.CLOSED, closed_at=now)
    conversations.open_handoff(connection, conversation_id, HandoffReason.NOT_DELIVERED.value, True, now)
    conversations.change_conversation(connection, conversation_id, now, state=ConversationState.HUMAN.value)
