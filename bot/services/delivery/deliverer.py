"""Delivery: what was approved leaves once, or is shown as failed or uncertain; never silently twice.

One loop: a short transaction writes down how sends ended and claims as many as can be handed over at once; the sends
themselves happen outside any transaction, each channel's on lanes of its own (`bot.services.delivery.lanes`). A process
that dies in between leaves those rows in doubt that were in its hands, which `recover` shows as uncertain and `reconcile`
settles where the channel can tell. Answers in conversations go the same way, through `bot.services.delivery.answering`.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from bot.channels.base import Channel, Evidence
from bot.clock import Clock, SystemClock, local_date
from bot.config import Settings
from bot.decide.lifecycle import OutreachState
from bot.services.delivery.answering import Answers, rate_of
from bot.services.delivery.departure import Budget, Departure
from bot.services.delivery.handover import Outcome, hand_over, outcome_of
from bot.services.delivery.lanes import Lanes
from bot.services.delivery.ownership import certainly_dead, part_of_this_process
from bot.services.delivery.reconciling import SETTLES_AFTER, Asking, Reconciler
from bot.services.delivery.recording import Ended, Note, longest_pauses, note_down, write_down
from bot.store import buckets, delivery
from bot.store.budgets import budget_left, spend_budget
from bot.store.claiming import Claim, Claimed, claim
from bot.store.database import Connection, Database
from bot.store.outreach import Outreach
from messages.catalogue import Catalogue

__all__ = ["SETTLES_AFTER", "Deliverer", "DeliveryReport"]

log = structlog.get_logger()
_S = OutreachState
# While sends are under way on one channel, the others are looked after this often at least.
LOOK_SECONDS = 0.25
# So often is the record of a send offered to the database before it is left to `recover`.
RECORD_TRIES = 5


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


class Deliverer:
    """Drains the queue through the channels.

    Parameters
    ----------
    channels : mapping of str to Channel
        By name; what is meant for a channel that is not here waits until it expires.
    owner : str, optional
        This deliverer, as it is written to the rows it claims; nobody else may have this name.
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
        real_clock: Clock | None = None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._real = real_clock or SystemClock()  # what providers count by: rates and pauses
        self._settings = settings
        self._channels = dict(channels)
        self._departure = Departure(settings, catalogue)
        self._owner = owner or part_of_this_process()
        asking = Asking(self._channels)
        self._reconciler = Reconciler(database, self._departure, asking)
        self._answers = Answers(
            database, clock, settings, self._channels, self._departure, self._owner, self._real, asking
        )
        self._stopping = threading.Event()
        self._draining = threading.Lock()
        self._ended: list[Ended] = []
        self._forgotten: set[int] = set()  # sent perhaps, and never to be written down
        self._expiring = True  # what is too late has not expired in this draining
        self._windows: dict[str, deque[int]] = {name: deque() for name in self._channels}
        self._lanes = Lanes(
            self._channels,
            settings.delivery.connections,
            attempt=self._attempt,
            render=self._departure.outreach_message,
            judge=self._judge,
        )
        self._talkers = ThreadPoolExecutor(max(1, len(self._channels)), thread_name_prefix="answers")

    def drain(self, limit: int | None = None) -> DeliveryReport:
        """Send what is due, then pending answers; return what happened.

        Parameters
        ----------
        limit : int, optional
            At most so many sends of each kind; `delivery.batch_size` by default.
        """
        report = DeliveryReport()
        limit = limit or self._settings.delivery.batch_size
        with self._draining:
            left = limit
            self._expiring = True
            talking = self._talk(limit)
            try:
                while True:
                    left -= self._record_and_claim(report, 0 if self._stopping.is_set() else left)
                    if not self._lanes.flying and all(future.done() for future in talking.values()):
                        break
                    if not self._land(talking.values()):
                        # What hangs on one channel shall not hold up the others.
                        left = limit
                        self._expiring = True
                        report.answers += self._talk_on(talking, limit)
            finally:
                while self._lanes.flying:
                    self._lanes.wait(LOOK_SECONDS, ())
                    self._ended += self._lanes.landed()
                wait(talking.values())
                if self._ended:
                    with contextlib.suppress(Exception):  # they are kept, and offered again
                        self._transact(report, {})
            report.answers += sum(future.result() for future in talking.values())
        return report

    def send_utterance(self, utterance_id: int) -> bool:
        """Send one answer now, unless another process does or did; return whether it was sent by this call."""
        return self._answers.send(utterance_id)

    def recover(self) -> int:
        """Show as uncertain what a dead process, or one that is overdue, was sending; return how many.

        What this deliverer claimed and has not in its hands (the answer to its commit was lost) was certainly not
        sent, and is put back.
        """
        now = self._clock.now()
        overdue = now - timedelta(seconds=self._settings.delivery.sending_timeout_seconds)
        if not self._draining.acquire(blocking=False):  # a send under way is neither dead nor overdue
            return 0
        count = 0
        try:
            self._ended += self._lanes.landed()
            mine = {ended.claimed.outreach.id for ended in self._ended}  # sent, and to be written down yet
            mine |= {claimed.outreach.id for claimed in self._lanes.flying}
            with self._database.read() as connection:
                doubtful = [one for one in delivery.in_doubt(connection, _S.SENDING) if one.id not in mine]
            for one in doubtful:
                count += self._recover(one, overdue, now)
            count += self._answers.recover(overdue)
        finally:
            self._draining.release()
        if count:
            log.warning("deliveries_uncertain", count=count)
        return count

    def reconcile(self) -> int:
        """Ask the channels about what is uncertain; return how many are settled."""
        return self._reconciler.run(self._clock.now()) + self._answers.reconcile(SETTLES_AFTER)

    def stop(self) -> None:
        """Finish the send under way and begin no other."""
        self._stopping.set()
        self._answers.stop()

    # --- How ---------------------------------------------------------------------------------------

    def _record_and_claim(self, report: DeliveryReport, left: int) -> int:
        """Write down what has ended, take what is due and hand it to the threads; return how many were taken."""
        begun = 0
        while True:
            # No more than can begin at once: what waited here would begin after a stop or an opt-out was stored.
            free = {name: min(self._lanes.free(name), left - begun) for name in self._channels}
            room = {name: count for name, count in free.items() if count > 0}
            claims = self._transact(report, room) if room or self._ended else []
            for found in claims:
                report.refused += len(found.refused)
                report.expired += len(found.expired)
                for outreach_id, reason in found.refused:
                    log.info("outreach_held_back", outreach=outreach_id, reason=reason)
                for claimed in found.claimed:
                    self._lanes.begin(claimed)
                    begun += 1
            # Where all that was due was held back, there may be more behind it.
            if (
                self._lanes.flying
                or self._stopping.is_set()
                or not any(found.refused or found.expired for found in claims)
            ):
                return begun

    def _recover(self, one: Outreach, overdue: datetime, now: datetime) -> bool:
        if one.sending_by == self._owner and one.id not in self._forgotten:
            with self._database.write() as connection:
                reason = "it was claimed and not begun"
                delivery.settle(connection, one.id, one.attempts, _S.APPROVED, now, reason=reason)
            return False
        late = one.sending_since is None or one.sending_since <= overdue
        if not (late or certainly_dead(one.sending_by or "")):
            return False
        reason = "the sending process did not report back in time" if late else "the sending process died"
        with self._database.write() as connection:
            done = delivery.settle(connection, one.id, one.attempts, _S.UNCERTAIN, now, reason=reason)
            if done:
                note_down(connection, [Note(outreach_id=one.id, action="outreach.uncertain")], now)
        return done

    def _talk(self, limit: int) -> dict[str, Future[int]]:
        """Begin to send the answers of each channel, on a thread of its own."""
        if self._stopping.is_set():
            return {}
        return {name: self._talkers.submit(self._answers.drain, limit, name) for name in self._channels}

    def _talk_on(self, talking: dict[str, Future[int]], limit: int) -> int:
        """Begin anew where all answers of a channel were sent; return how many those were."""
        sent = 0
        for name in [name for name, future in talking.items() if future.done()]:
            sent += talking[name].result()
            del talking[name]
            if not self._stopping.is_set():
                talking[name] = self._talkers.submit(self._answers.drain, limit, name)
        return sent

    def _land(self, talking: Collection[Future[int]]) -> bool:
        """Wait until sends have ended: one at least, and those that end together with it; False: none for a while."""
        something = self._lanes.wait(LOOK_SECONDS, [future for future in talking if not future.done()])
        landed = self._lanes.landed()
        self._ended += landed
        return something or bool(landed)

    def _transact(self, report: DeliveryReport, room: Mapping[str, int]) -> list[Claim]:
        now, pauses = self._clock.now(), longest_pauses(self._ended)
        found = []
        try:
            with self._database.write() as connection:
                notes = write_down(connection, self._ended, now)
                for name in self._channels:  # in one order, lest two workers wait for each other
                    if name in pauses:
                        buckets.pause(connection, name, pauses[name], self._real.now())
                    if name in room:
                        found.append(self._claim(connection, name, room[name], now))
                note_down(connection, notes, now)
        except Exception:
            # What was sent is not forgotten because the database is away: it is offered again at the next chance.
            for window in self._windows.values():
                window.clear()
            self._offer_each(now)
            raise
        self._expiring &= not any(one.all_expired for one in found)
        self._tell(self._ended, report)
        self._ended.clear()
        return found

    def _offer_each(self, now: datetime) -> None:
        """Count a failed try; what failed often is offered by itself, and given up where it cannot be written down."""
        for ended in self._ended:
            ended.tries += 1
        for ended in [ended for ended in self._ended if ended.tries >= RECORD_TRIES]:
            try:
                with self._database.write() as connection:
                    note_down(connection, write_down(connection, [ended], now), now)
            except Exception as error:
                self._forgotten.add(ended.claimed.outreach.id)
                state = ended.outcome.state.value
                log.error("send_not_recorded", key=ended.claimed.key, state=state, error=type(error).__name__)
            self._ended.remove(ended)

    def _tell(self, ended: Iterable[Ended], report: DeliveryReport) -> None:
        for one in ended:
            state = one.outcome.state.value
            log.info("outreach_attempted", key=one.claimed.key, state=state, reason=one.outcome.reason)
            setattr(report, state, getattr(report, state) + 1)

    def _claim(self, connection: Connection, channel: str, free: int, now: datetime) -> Claim:
        level = buckets.level(connection, channel, rate_of(self._settings, channel), self._real.now())
        today = local_date(now, self._settings.shop.zone).isoformat()
        left = budget_left(connection, channel, today, getattr(self._settings.policy.daily_budget, channel, 0))
        budget = None if left is None else Budget(left=left)
        found = claim(
            connection,
            now=now,
            owner=self._owner,
            channel=channel,
            gate=lambda open_connection, pairs: self._departure.verdicts(open_connection, pairs, now, budget),
            room=free if level.messages is None else min(free, level.messages),
            window=self._windows[channel],
            expire=self._expiring,
        )
        buckets.spend(connection, level, len(found.claimed))
        if budget is not None and found.claimed:
            spend_budget(connection, channel, today, len(found.claimed))
        return found

    def _attempt(self, claimed: Claimed) -> Outcome:
        return hand_over(
            self._channels[claimed.outreach.channel],
            lambda: self._departure.outreach_message(claimed),
            key=claimed.key,
            attempt=claimed.attempt,
            now=self._clock.now(),
            rules=self._settings.delivery,
        )

    def _judge(self, claimed: Claimed, result: Evidence | Exception) -> Outcome:
        now, rules = self._clock.now(), self._settings.delivery
        return outcome_of(result, key=claimed.key, attempt=claimed.attempt, now=now, rules=rules)
