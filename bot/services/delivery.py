"""Delivery: what was approved leaves once, or is shown as failed or uncertain; never silently twice.

One loop: a short transaction writes down how the last send ended and claims the next; the send itself happens
outside any transaction. A process that dies in between leaves exactly one row in doubt, which `recover`
shows as uncertain and `reconcile` settles where the channel can tell. Answers in conversations go the same
way, through `bot.services.answering`.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from bot.channels.base import Channel, Evidence, Knowledge
from bot.clock import Clock
from bot.config import Settings
from bot.decide.lifecycle import OutreachState
from bot.errors import ChannelError
from bot.services.answering import Answers
from bot.services.departure import Departure, address_of
from bot.services.handover import Outcome, as_stored, hand_over
from bot.services.ownership import certainly_dead, this_process
from bot.store import audit, delivery
from bot.store.consent import suppress
from bot.store.database import Connection, Database
from bot.store.delivery import Claim, Claimed
from bot.store.enums import DeliveryState
from bot.store.shop import add_touchpoint, customer
from messages.catalogue import Catalogue
from messages.errors import TemplateError

__all__ = ["Deliverer", "DeliveryReport"]

log = structlog.get_logger()
_S = OutreachState
# A message handed to a connection that broke may still be under way to the channel's own store; before this much
# time has passed, not finding it there proves nothing.
SETTLES_AFTER = timedelta(seconds=30)
# So often is the record of a send offered to the database before it is left to `recover`.
RECORD_TRIES = 5
_LEADS_TO = {
    DeliveryState.SENT: _S.SENT,
    DeliveryState.RETRY: _S.APPROVED,
    DeliveryState.FAILED: _S.FAILED,
    DeliveryState.UNCERTAIN: _S.UNCERTAIN,
}


@dataclass(kw_only=True)
class DeliveryReport:
    """How many of what one draining did."""

    sent: int = 0
    retry: int = 0
    failed: int = 0
    uncertain: int = 0
    refused: int = 0
    expired: int = 0
    answers: int = 0


@dataclass(kw_only=True)
class _Ended:
    """An attempt whose end is known and not yet written down."""

    claimed: Claimed
    outcome: Outcome
    tries: int = 0


class Deliverer:
    """Drains the queue through the channels.

    Parameters
    ----------
    channels : mapping of str to Channel
        By name; what is meant for a channel that is not here waits until it expires.
    owner : str, optional
        This process, as it is written to the rows it claims.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        settings: Settings,
        channels: Mapping[str, Channel],
        catalogue: Catalogue,
        *,
        owner: str | None = None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._settings = settings
        self._channels = dict(channels)
        self._departure = Departure(settings, catalogue)
        self._owner = owner or this_process()
        self._answers = Answers(database, clock, settings, self._channels, self._departure, self._owner)
        self._stopping = threading.Event()
        self._draining = threading.Lock()
        self._ended: list[_Ended] = []

    def drain(self, limit: int | None = None) -> DeliveryReport:
        """Send what is due, one after the other, then pending answers; return what happened.

        Parameters
        ----------
        limit : int, optional
            At most so many sends of each kind; `delivery.batch_size` by default.
        """
        report = DeliveryReport()
        limit = limit or self._settings.delivery.batch_size
        with self._draining:
            for _ in range(limit):
                claimed = None if self._stopping.is_set() else self._record_and_claim(report)
                if claimed is None:
                    break
                self._ended.append(_Ended(claimed=claimed, outcome=self._attempt(claimed)))
            self._record(report)
        if not self._stopping.is_set():
            report.answers = self._answers.drain(limit)
        return report

    def send_utterance(self, utterance_id: int) -> bool:
        """Send one answer now, unless another process does or did; return whether it was sent by this call."""
        return self._answers.send(utterance_id)

    def recover(self) -> int:
        """Show as uncertain what a dead process, or one that is overdue, was sending; return how many."""
        now = self._clock.now()
        overdue = now - timedelta(seconds=self._settings.delivery.sending_timeout_seconds)
        if not self._draining.acquire(blocking=False):  # a send under way is neither dead nor overdue
            return 0
        try:
            mine = {ended.claimed.outreach.id for ended in self._ended}
            count = 0
            with self._database.write() as connection:
                for one in delivery.in_doubt(connection, {_S.SENDING}):
                    late = one.sending_since is None or one.sending_since <= overdue
                    if one.id in mine or not (late or certainly_dead(one.sending_by or "")):
                        continue
                    reason = "the sending process did not report back in time" if late else "the sending process died"
                    if delivery.settle(connection, one.id, one.attempts, _S.UNCERTAIN, now, reason=reason):
                        self._audit(connection, one.id, "outreach.uncertain", now)
                        count += 1
            count += self._answers.recover(overdue)
        finally:
            self._draining.release()
        if count:
            log.warning("deliveries_uncertain", count=count)
        return count

    def reconcile(self) -> int:
        """Ask the channels about what is uncertain; return how many are settled."""
        now = self._clock.now()
        with self._database.read() as connection:
            doubtful = [
                (one, customer(connection, one.customer_id))
                for one in delivery.in_doubt(connection, {_S.UNCERTAIN})
                if one.updated_at <= now - SETTLES_AFTER
            ]
        settled = 0
        for one, person in doubtful:
            channel = self._channels.get(one.channel)
            if channel is None or person is None:
                continue
            claimed = Claimed(outreach=one, customer=person, attempt=one.attempts, key=f"outreach:{one.id}:{one.attempts}")  # fmt: skip
            try:
                known = channel.find(self._departure.outreach_message(claimed))
            except (ChannelError, TemplateError) as error:
                log.info("reconcile_postponed", outreach=one.id, error=type(error).__name__)
                continue
            if known == Knowledge.UNKNOWN:
                continue
            settled += self._settle_known(claimed, known, now)
        return settled + self._answers.reconcile(SETTLES_AFTER)

    def stop(self) -> None:
        """Finish the send under way and begin no other."""
        self._stopping.set()
        self._answers.stop()

    # --- How ---------------------------------------------------------------------------------------

    def _record_and_claim(self, report: DeliveryReport) -> Claimed | None:
        """Write down what has ended and take the next one, in one transaction; None: nothing is due."""
        while True:
            try:
                found = self._transact(report, claim=True)
            except Exception:
                # Where it was the claim that failed, what was sent is still to be written down.
                with contextlib.suppress(Exception):
                    self._record(report)
                raise
            report.refused += len(found.refused)
            report.expired += len(found.expired)
            for outreach_id, reason in found.refused:
                log.info("outreach_held_back", outreach=outreach_id, reason=reason)
            if found.claimed:
                return found.claimed[0]
            if not found.refused and not found.expired:
                return None

    def _record(self, report: DeliveryReport) -> None:
        if self._ended:
            self._transact(report, claim=False)

    def _transact(self, report: DeliveryReport, *, claim: bool) -> Claim:
        now = self._clock.now()
        try:
            with self._database.write() as connection:
                for ended in self._ended:
                    self._write_down(connection, ended, now)
                found = self._claim(connection, now) if claim else Claim()
        except Exception:
            # What was sent is not forgotten because the database is away: it is offered again at the next chance.
            for ended in self._ended:
                ended.tries += 1
            lost = [ended for ended in self._ended if ended.tries >= RECORD_TRIES]
            for ended in lost:
                log.error("send_not_recorded", key=ended.claimed.key, state=ended.outcome.state.value)
            self._ended = [ended for ended in self._ended if ended not in lost]
            raise
        for ended in self._ended:
            state = ended.outcome.state.value
            log.info("outreach_attempted", key=ended.claimed.key, state=state, reason=ended.outcome.reason)
            setattr(report, state, getattr(report, state) + 1)
        self._ended.clear()
        return found

    def _claim(self, connection: Connection, now: datetime) -> Claim:
        return delivery.claim(
            connection,
            now=now,
            owner=self._owner,
            channels=list(self._channels),
            gate=lambda open_connection, due, person: self._departure.verdict(open_connection, due, person, now),
            limit=1,
        )

    def _attempt(self, claimed: Claimed) -> Outcome:
        return hand_over(
            self._channels[claimed.outreach.channel],
            lambda: self._departure.outreach_message(claimed),
            key=claimed.key,
            attempt=claimed.attempt,
            now=self._clock.now(),
            rules=self._settings.delivery,
        )

    def _write_down(self, connection: Connection, ended: _Ended, now: datetime) -> None:
        claimed, outcome = ended.claimed, ended.outcome
        one = claimed.outreach
        to = _LEADS_TO[outcome.state]
        moved = delivery.settle(
            connection,
            one.id,
            claimed.attempt,
            to,
            now,
            evidence=outcome.evidence,
            reason=outcome.reason,
            next_attempt_at=outcome.retry_at,
        )
        if not moved:
            return
        if to == _S.SENT:
            self._remember_contact(connection, claimed, now)
        elif to in (_S.FAILED, _S.UNCERTAIN):
            self._audit(connection, one.id, f"outreach.{to}", now)
        address = address_of(claimed.customer, one.channel)
        if outcome.dead_address and address is not None:
            suppress(connection, one.channel, address, "dead_address", now)

    def _settle_known(self, claimed: Claimed, known: Evidence | Knowledge, now: datetime) -> bool:
        one = claimed.outreach
        with self._database.write() as connection:
            if isinstance(known, Evidence):
                done = delivery.settle(connection, one.id, one.attempts, _S.SENT, now, evidence=as_stored(known))
                if done:
                    self._remember_contact(connection, claimed, now)
            else:
                done = delivery.settle(connection, one.id, one.attempts, _S.APPROVED, now, reason="it had not arrived")
            if done:
                self._audit(connection, one.id, "outreach.reconciled", now)
        log.info("outreach_reconciled", outreach=one.id, found=isinstance(known, Evidence))
        return done

    def _remember_contact(self, connection: Connection, claimed: Claimed, now: datetime) -> None:
        one = claimed.outreach
        add_touchpoint(
            connection,
            source="aftercare",
            external_id=f"outreach:{one.id}",
            customer_id=one.customer_id,
            order_id=one.order_id,
            kind="outreach_sent",
            occurred_at=now,
            recorded_at=now,
            channel=one.channel,
            attributes={"playbook": one.playbook, "step": one.step},
        )

    def _audit(self, connection: Connection, outreach_id: int, action: str, now: datetime) -> None:
        audit.record(connection, at=now, actor="system", action=action, entity="outreach", entity_id=str(outreach_id))
