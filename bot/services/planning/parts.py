"""Long work on many customers in parts, on as many workers as are free: the same result, sooner.

A task is cut into ranges of customer ids. Each part is a run (`bot.store.runs`) that one process claims, does and marks
as done; whoever asked for the task takes parts too, so that it ends with one worker as with ten, and takes over those
whose process died. What is done to a range, and what is made of the parts, is not known here: `bot.services.planning.large_shop`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

import structlog

from bot.clock import Clock
from bot.services.delivery.ownership import certainly_dead, this_process
from bot.store.database import Connection, Database
from bot.store.enums import RunState
from bot.store.parts import customer_ranges
from bot.store.runs import Run, finish_run, run_of, start_run, take_over_run

__all__ = ["PART", "WHOLE", "Parts", "Task"]

log = structlog.get_logger()

# The jobs under which the table of runs remembers a task in parts, and each part.
WHOLE = "in_parts"
PART = "part"
# A shop with no more customers than this is left in one piece.
CUSTOMERS_A_PART = 20_000
# A part that did not report back for so long is done by somebody else.
GIVE_UP = timedelta(minutes=10)
# So often somebody who waits for others looks again.
LOOK_SECONDS = 0.5
MOST_HELPERS = 16


class Task(Protocol):
    """What is done to one range of customers after the other, in any order and by anybody."""

    def part(self, as_of: datetime, first: int, last: int) -> Mapping[str, Any]:
        """Do it for the customers with ids in a range, as of an instant; return JSON values for who puts it together.

        Doing the same part twice must be as good as once.
        """

    def forget(self) -> None:
        """Let go of what was kept for the next part."""


@dataclass(frozen=True, kw_only=True)
class _Whole:
    name: str
    task: Task
    as_of: datetime
    ranges: tuple[tuple[int, int], ...]

    def key(self, part: tuple[int, int]) -> str:
        return f"{self.name}:{part[0]}-{part[1]}"


class Parts:
    """Does tasks in parts.

    Parameters
    ----------
    tasks : mapping of str to Task
        By name; every process of an installation must know the same.
    call : callable
        Calls so many others to help, in the transaction that writes down what there is to do.
    size : int
        Customers a part.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        tasks: Mapping[str, Task],
        *,
        call: Callable[[Connection, str, int], object],
        size: int = CUSTOMERS_A_PART,
        owner: str | None = None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._tasks = tasks
        self._call = call
        self._size = size
        self._owner = owner or this_process()

    def do(self, task: str, as_of: datetime) -> list[Mapping[str, Any]] | None:
        """Do a task in parts; return what each gave, or None where the shop is small and nothing was done."""
        with self._database.read() as connection:
            ranges = tuple(customer_ranges(connection, self._size))
        if len(ranges) < 2:
            return None
        whole = _Whole(name=f"{task}:{as_of.isoformat()}", task=self._tasks[task], as_of=as_of, ranges=ranges)
        return self._do(whole)

    def help(self, name: str) -> int:
        """Do parts of a task under way until none is left to take; return how many were done."""
        with self._database.read() as connection:
            run = run_of(connection, WHOLE, name)
        task, _, instant = name.partition(":")
        if run is None or run.state != RunState.RUNNING or run.detail is None or task not in self._tasks:
            return 0
        ranges = tuple((int(first), int(last)) for first, last in run.detail["ranges"])
        whole = _Whole(name=name, task=self._tasks[task], as_of=datetime.fromisoformat(instant), ranges=ranges)
        done = 0
        try:
            while self._do_one(whole, again=False):
                done += 1
        finally:
            whole.task.forget()
        return done

    def _do(self, whole: _Whole) -> list[Mapping[str, Any]]:
        with self._database.write() as connection:
            detail = {"ranges": [list(part) for part in whole.ranges]}
            start_run(connection, WHOLE, whole.name, self._clock.now(), detail)
            self._call(connection, whole.name, min(len(whole.ranges) - 1, MOST_HELPERS))
        state, pause = RunState.FAILED, threading.Event()
        try:
            while (left := self._left(whole)) > 0:
                # One that failed elsewhere is done once more here: then its error is this task's.
                if not self._do_one(whole, again=True):
                    log.debug("waiting_for_parts", left=left)
                    pause.wait(LOOK_SECONDS)
            state = RunState.DONE
        finally:
            whole.task.forget()
            with self._database.write() as connection:
                finish_run(connection, WHOLE, whole.name, state, None, self._clock.now())
        log.info("done_in_parts", task=whole.name.partition(":")[0], parts=len(whole.ranges))
        return [run.detail for run in self._runs(whole) if run is not None and run.detail is not None]

    def _do_one(self, whole: _Whole, *, again: bool) -> bool:
        for part, seen in zip(whole.ranges, self._runs(whole), strict=True):
            key = whole.key(part)
            if not self._claim(key, seen, again=again):
                continue
            try:
                found = whole.task.part(whole.as_of, *part)
            except BaseException as error:
                self._finish(key, RunState.FAILED, {"error": type(error).__name__})
                raise
            self._finish(key, RunState.DONE, found)
            return True
        return False

    def _claim(self, key: str, seen: Run | None, *, again: bool) -> bool:
        now, detail = self._clock.now(), {"owner": self._owner}
        if seen is None:
            with self._database.write() as connection:
                return start_run(connection, PART, key, now, detail)
        if seen.state == RunState.DONE or (seen.state == RunState.FAILED and not again):
            return False
        if seen.state == RunState.RUNNING:
            owner = str((seen.detail or {}).get("owner", ""))
            if not (certainly_dead(owner) or seen.started_at + GIVE_UP <= now):
                return False
        with self._database.write() as connection:
            return take_over_run(connection, seen, detail, now)

    def _left(self, whole: _Whole) -> int:
        return sum(run is None or run.state != RunState.DONE for run in self._runs(whole))

    def _runs(self, whole: _Whole) -> list[Run | None]:
        with self._database.read() as connection:
            return [run_of(connection, PART, whole.key(part)) for part in whole.ranges]

    def _finish(self, key: str, state: RunState, detail: Mapping[str, Any]) -> None:
        with self._database.write() as connection:
            finish_run(connection, PART, key, state, detail, self._clock.now())
