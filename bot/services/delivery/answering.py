"""Sending the answers of conversations, under the same guard as outreaches: a row before, evidence after.

What is answered is decided in `bot.services.conversation.conversations`; this only sees to it that it leaves once.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import structlog

from bot.channels.base import Channel, Evidence, Knowledge
from bot.clock import Clock
from bot.config import Settings
from bot.services.conversation.conversations import HandoffReason
from bot.services.delivery.departure import Departure
from bot.services.delivery.handover import Outcome, as_stored, hand_over
from bot.services.delivery.ownership import certainly_dead
from bot.services.delivery.reconciling import Asking
from bot.store import answers, buckets, conversations, handoffs
from bot.store.answers import PendingAnswer
from bot.store.controls import STOPPED, controls_held
from bot.store.database import Connection, Database
from bot.store.enums import ConversationState, DeliveryState, HandoffState
from messages.errors import TemplateError

__all__ = ["Answers", "rate_of"]

log = structlog.get_logger()


def rate_of(settings: Settings, channel: str) -> float:
    """Return how many messages a second may leave on a channel; 0: no limit of ours."""
    found: float = getattr(settings.delivery.per_second, channel, 0.0)
    return found


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
        real_clock: Clock,
        asking: Asking,
    ) -> None:
        self._database = database
        self._clock = clock
        self._settings = settings
        self._channels = channels
        self._departure = departure
        self._owner = owner
        self._real = real_clock
        self._asking = asking
        self._stopping = threading.Event()
        # Keys being sent by this process, and outcomes that the database has not taken yet.
        self._busy: set[str] = set()
        self._ended: dict[str, tuple[PendingAnswer, Outcome]] = {}

    def drain(self, limit: int, channel: str) -> int:
        """Send pending answers on one channel, one after the other; return how many left."""
        self._record_ended()
        sent = 0
        for _ in range(limit):
            taken = None if self._stopping.is_set() else self._take(None, [channel])
            if taken is None:
                break
            sent += self._send(*taken)
        return sent

    def send(self, utterance_id: int) -> bool:
        """Send one answer, unless it is being sent or was, or an earlier one of its conversation is not."""
        taken = self._take(utterance_id, list(self._channels))
        return taken is not None and self._send(*taken)

    def recover(self, overdue: datetime) -> int:
        """Show as uncertain what a dead or overdue process was sending; put back what this one never began."""
        self._record_ended()
        now, count = self._clock.now(), 0
        with self._database.write() as connection:
            for key, owner, started_at in answers.stale_answers(connection):
                if key in self._busy:
                    continue
                if owner == self._owner:  # the answer to the commit that claimed it was lost
                    reason = "it was claimed and not begun"
                    answers.settle_answer(connection, key, DeliveryState.RETRY, now, error=reason)
                    continue
                if not (started_at <= overdue or certainly_dead(owner)):
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
            if not self._asking.due(key, answer.channel, now):
                continue
            try:
                message = self._departure.answer_message(answer, key)
            except TemplateError:
                continue
            known = self._asking.find(answer.channel, message, now)
            if known == Knowledge.UNKNOWN:
                self._ask_a_human(key, answer.conversation_id, now)
            elif known is not None:
                found = known if isinstance(known, Evidence) else None
                with self._database.write() as connection:
                    settled += answers.settle_answer(
                        connection,
                        key,
                        DeliveryState.RETRY if found is None else DeliveryState.SENT,
                        now,
                        evidence=None if found is None else as_stored(found),
                        error="it had not arrived" if found is None else None,
                    )
        return settled

    def _ask_a_human(self, key: str, conversation_id: int, now: datetime) -> None:
        """Hand over, once, a conversation in which nobody can tell whether the last words arrived."""
        with self._database.write() as connection:
            if answers.show_in_doubt(connection, key, now):
                _call_a_human(connection, conversation_id, now, HandoffReason.IN_DOUBT)

    def stop(self) -> None:
        """Begin no further answer."""
        self._stopping.set()

    def _take(self, utterance_id: int | None, channels: Sequence[str]) -> tuple[PendingAnswer, str] | None:
        key = ""
        try:
            with self._database.write() as connection:
                pending = self._claim(connection, utterance_id, channels)
                if pending is None:
                    return None
                # Before the commit: from then on `recover` may see the row.
                key = answers.begin_answer(connection, pending, self._owner, self._clock.now())
                self._busy.add(key)
        except Exception:
            self._busy.discard(key)
            raise
        return pending, key

    def _claim(self, connection: Connection, utterance_id: int | None, channels: Sequence[str]) -> PendingAnswer | None:
        real = self._real.now()
        # In the order of a claim of check-ins: the buckets first, then the switches.
        levels = {name: buckets.level(connection, name, rate_of(self._settings, name), real) for name in channels}
        if controls_held(connection, STOPPED)[STOPPED]:
            return None
        pending = answers.pending_answers(
            connection,
            now=self._clock.now(),
            channels=[name for name, level in levels.items() if level.messages != 0],
            utterance_id=utterance_id,
            limit=1,
        )
        if not pending:
            return None
        buckets.spend(connection, levels[pending[0].channel], 1)
        return pending[0]

    def _send(self, answer: PendingAnswer, key: str) -> bool:
        try:
            outcome = hand_over(
                self._channels[answer.channel],
                lambda: self._departure.answer_message(answer, key),
                key=key,
                attempt=answer.attempts + 1,
                now=self._clock.now(),
                rules=self._settings.delivery,
            )
        except Exception as error:  # whatever it was, the message may have left
            log.exception("attempt_broke", key=key)
            outcome = Outcome(state=DeliveryState.UNCERTAIN, reason=f"the attempt broke: {type(error).__name__}")
        self._ended[key] = (answer, outcome)
        self._record_ended()
        log.info("answer_attempted", key=key, state=outcome.state.value, reason=outcome.reason)
        return outcome.state == DeliveryState.SENT

    def _record_ended(self) -> None:
        """Write down what has ended; what the database does not take now is kept for the next chance."""
        for key, (answer, outcome) in list(self._ended.items()):
            try:
                self._record(key, answer, outcome)
            except Exception as error:
                # It stays in our hands: put back, it would be sent a second time.
                log.error("answer_not_recorded", key=key, error=type(error).__name__)
                continue
            self._ended.pop(key, None)
            self._busy.discard(key)

    def _record(self, key: str, answer: PendingAnswer, outcome: Outcome) -> None:
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
                _call_a_human(connection, answer.conversation_id, now, HandoffReason.NOT_DELIVERED)
            if outcome.pause is not None:
                buckets.pause(connection, answer.channel, outcome.pause, self._real.now())


def _call_a_human(connection: Connection, conversation_id: int, now: datetime, why: HandoffReason) -> None:
    """Hand a conversation over whose last words did not surely arrive; a hand-over under way makes room for this one."""
    conversations.conversation(connection, conversation_id, lock=True)
    active = handoffs.active_handoff(connection, conversation_id)
    if active is not None:
        handoffs.move_handoff(connection, active.id, HandoffState.CLOSED, closed_at=now)
    handoffs.open_handoff(connection, conversation_id, why.value, True, now)
    conversations.change_conversation(connection, conversation_id, now, state=ConversationState.HUMAN.value)
