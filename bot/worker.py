"""One worker process: its lanes, from the ready line to the end, through the loss of its database.

What the tasks are is `bot.tasks`' business, what they do their services'; signals and what is printed are
`bot.commands.worker`'s. Any number of these run beside each other, on any number of machines.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import timedelta
from typing import Any

import structlog

from bot.channels.base import Channel
from bot.clock import Clock
from bot.errors import StoreError
from bot.services.delivery.deliverer import Deliverer
from bot.services.delivery.ownership import this_process
from bot.store import sweeping
from bot.store.database import Database
from bot.store.jobs import DELIVER
from bot.store.queue_schema import queue_address, queue_version
from bot.tasks import LANES, Duties, Lane, Tick, build_lanes, queue_schema
from bot.wiring import App

__all__ = ["Delivery", "WorkerProcess", "duties_of"]

log = structlog.get_logger()

# The contract is ten seconds from SIGTERM to the exit: so long a send may finish, so long one that was cut off may be
# recorded; the rest is the interpreter's.
DRAIN_SECONDS = 4.0
CUT_SECONDS = 1.5
# A database that does not let us in within so long is tried again after a pause, which grows.
OPEN_SECONDS = 8.0
PAUSES = (0.5, 1.0, 2.0, 5.0)
# So many batches a job drains; then others get their turn, answers first.
BATCHES = 4
# What is due but may not leave yet (a rate, a locked row) is looked at again after this.
LOOK_AGAIN = timedelta(seconds=1)
SWEEP_SECONDS = 5.0
DOUBT_SECONDS = 10.0
MAIL_SECONDS = 1.0
# Whether an hour's round is due is looked at this often: it reads the shop, and its lane is the daily round's.
HOURLY_LOOK_SECONDS = 60.0


class Delivery:
    """What a job to deliver does: drain what is due, whatever ids it carries, and see to it that nothing is left."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        deliverer: Deliverer,
        channels: Mapping[str, Channel],
        batch_size: int,
    ) -> None:
        self._database = database
        self._clock = clock
        self._deliverer = deliverer
        self._channels = tuple(channels)
        self._batch_size = batch_size
        self._recovered = 0.0

    def deliver(self, outreaches: Sequence[int] = (), utterances: Sequence[int] = ()) -> None:
        """Send; a job whose rows have left already costs two queries."""
        for one in utterances:
            self._deliverer.send_utterance(one)
        # What these jobs were written for is committed, so what is looked at from here on stands for them too.
        waiting = self._waiting()
        due = self._due()
        if not due:
            if utterances:
                self._deliverer.drain()  # what waited behind them in their conversations
            self._drop(waiting)
            self._wait_for(outreaches)
            return
        if due > self._batch_size:
            self._call_again()  # another worker may join in
        if time.monotonic() - self._recovered > DOUBT_SECONDS:
            self._recovered = time.monotonic()
            self._deliverer.recover()  # only this machine knows which of its processes died
        report = self._deliverer.drain(self._batch_size * BATCHES)
        if self._due():
            self._call_again(timedelta(0) if any(vars(report).values()) else LOOK_AGAIN)
        else:
            self._drop(waiting)

    def look(self) -> None:
        """Write down what was sent while the database was away, and send what became due meanwhile."""
        self._deliverer.drain(self._batch_size)
        self.sweep()

    def sweep(self) -> bool:
        """Make a job for what is due and has none."""
        with self._database.write() as connection:
            return sweeping.sweep(connection, self._clock.now(), self._channels)

    def settle_doubts(self) -> None:
        """Show what is in doubt, and ask about it."""
        self._deliverer.recover()
        self._deliverer.reconcile()

    def _due(self) -> int:
        with self._database.read() as connection:
            return sweeping.due_count(connection, self._clock.now(), self._channels, self._batch_size + 1)

    def _waiting(self) -> list[int]:
        with self._database.read() as connection:
            return sweeping.waiting_jobs(connection)

    def _drop(self, jobs: Sequence[int]) -> None:
        """Take back jobs whose check-ins have left: a thousand single approvals need not become a thousand looks."""
        if jobs:
            with self._database.write() as connection:
                sweeping.drop_jobs(connection, jobs)

    def _call_again(self, delay: timedelta = timedelta(0)) -> None:
        with self._database.write() as connection:
            sweeping.call_again(connection, delay)

    def _wait_for(self, outreaches: Sequence[int]) -> None:
        """Come back for what is due in a moment: the clocks of machines differ a little."""
        with self._database.read() as connection:
            left = sweeping.soon_due(connection, outreaches, self._clock.now())
        if left is not None:
            self._call_again(left)


def duties_of(app: App, delivery: Delivery) -> Duties:
    """Return what the tasks of an application call."""
    seconds = app.settings.scheduler.tick_seconds
    ticks = [
        Tick(name="tick", work=app.tick, seconds=seconds),
        Tick(name="sweep", work=delivery.sweep, seconds=min(seconds, SWEEP_SECONDS)),
        Tick(name="doubts", work=delivery.settle_doubts, seconds=DOUBT_SECONDS),
    ]
    if app.settings.email.enabled:
        ticks.append(Tick(name="mail", work=lambda: app.mailroom.work(), seconds=min(seconds, MAIL_SECONDS)))
    return Duties(
        deliver=delivery.deliver,
        help=lambda run: app.parts.help(run),
        ticks=ticks,
        rounds=[
            Tick(name="daily", work=app.daily.run_if_due, seconds=seconds),
            Tick(name="hourly", work=app.hourly.run_if_due, seconds=max(seconds, HOURLY_LOOK_SECONDS)),
        ],
    )


class WorkerProcess:
    """Some or all lanes of one application, from `run` to `ask_to_end`.

    Parameters
    ----------
    lanes : collection of str
        Of `bot.tasks.LANES`.
    concurrency : int
        How many pieces of long work at once.

    Raises
    ------
    StoreError
        The queue's tables are of another version.
    """

    def __init__(self, app: App, lanes: Collection[str] = LANES, concurrency: int = 1) -> None:
        present, needed = queue_version(app.database), queue_schema().version
        if present != needed:
            raise StoreError(
                f"the workers' queue is at {present}, this version needs {needed}; run `aftercare db upgrade`"
            )
        self._app = app
        self._name = this_process()
        self._delivery = Delivery(
            app.database, app.clock, app.deliverer, app.channels, app.settings.delivery.batch_size
        )
        built = build_lanes(queue_address(app.database), duties_of(app, self._delivery), concurrency=concurrency)
        self._lanes = [built[name] for name in LANES if name in lanes]
        self._loop = asyncio.new_event_loop()
        self._asked = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None

    def run(self, on_ready: Callable[[dict[str, Any]], None]) -> bool:
        """Work until asked to end; return False where something did not end in time and was left in doubt.

        Parameters
        ----------
        on_ready : callable
            Called once, with the ready line, when every lane reached the database.
        """
        drained = self._loop.run_until_complete(self._run(on_ready))
        if drained:
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
            self._loop.close()
        return drained

    def ask_to_end(self) -> None:
        """End `run`; safe in a signal handler and from any thread."""
        self._loop.call_soon_threadsafe(self._asked.set)

    async def _run(self, on_ready: Callable[[dict[str, Any]], None]) -> bool:
        up = {lane.name: asyncio.Event() for lane in self._lanes}
        keeping = [asyncio.create_task(self._keep(lane, up[lane.name]), name=lane.name) for lane in self._lanes]
        asked = asyncio.create_task(self._asked.wait())
        all_up = asyncio.create_task(_all_set(up.values()))
        await asyncio.wait([asked, all_up], return_when=asyncio.FIRST_COMPLETED)
        if all_up.done():
            on_ready({"event": "ready", "worker": self._name, "queues": [lane.name for lane in self._lanes]})
        await asked
        all_up.cancel()
        return await self._end(keeping)

    async def _end(self, keeping: Collection[asyncio.Task[None]]) -> bool:
        began = time.monotonic()
        self._app.deliverer.stop()
        if self._app.settings.email.enabled:
            self._app.mailroom.stop()
        for task in keeping:
            task.cancel()
        pending = {*keeping, self._looking} if self._looking is not None else set(keeping)
        _, pending = await asyncio.wait(pending, timeout=DRAIN_SECONDS)
        if pending:
            # A send that hangs is cut off, so that it ends, and is recorded, as uncertain.
            for channel in self._app.channels.values():
                await asyncio.to_thread(channel.close)
            _, pending = await asyncio.wait(pending, timeout=CUT_SECONDS)
        log.info("worker_stopped", seconds=round(time.monotonic() - began, 2), drained=not pending)
        return not pending

    async def _keep(self, lane: Lane, up: asyncio.Event) -> None:
        """Run a lane, again and again while the database comes and goes; never without a pause."""
        failures = 0
        # A cancelled lane that has lost its database raises what it lost, so that being cancelled is not enough to know.
        while not self._asked.is_set():
            try:
                async with asyncio.timeout(OPEN_SECONDS):
                    await lane.app.open_async()
                failures = 0
                up.set()
                if lane.name == DELIVER:
                    self._looking = asyncio.create_task(asyncio.to_thread(self._delivery.look))
                    await asyncio.shield(self._looking)  # a thread cannot be cancelled, and is waited for at the end
                await lane.run(self._name)  # comes back by itself where its heartbeat could not be written
                log.warning("lane_lost_its_database", lane=lane.name)
            except Exception as error:  # the edge of a lane: it must come again
                log.warning("lane_lost", lane=lane.name, error=type(error).__name__)
            finally:
                await _closed(lane)
            pause = PAUSES[min(failures, len(PAUSES) - 1)]
            failures += 1
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._asked.wait(), pause)


async def _all_set(events: Collection[asyncio.Event]) -> bool:
    for event in events:
        await event.wait()
    return True


async def _closed(lane: Lane) -> None:
    try:
        await lane.app.close_async()
    except Exception as error:  # it is given up anyway
        log.info("lane_not_closed", lane=lane.name, error=type(error).__name__)
