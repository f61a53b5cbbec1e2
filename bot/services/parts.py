"""Scoring a large shop in parts, on as many workers as are free: the same predictions, sooner.

A scoring is cut into ranges of customer ids. Each part is a run (`bot.store.runs`) that one process claims, does and
marks as done; whoever asked for the scoring takes parts too, so that it ends with one worker as with ten, and takes
over those whose process died. The histories that features need are a pass over the whole shop; each process reads the
shop once for a scoring. What is predicted, and how, is `bot.services.scoring`'s business.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

import structlog

from bot.clock import Clock, local_date
from bot.config import Settings
from bot.services.ownership import certainly_dead, this_process
from bot.services.planning import SCORING
from bot.store.database import Connection, Database
from bot.store.enums import RunState
from bot.store.parts import customer_ranges
from bot.store.runs import Run, finish_run, run_of, start_run, take_over_run

__all__ = ["PART", "WHOLE", "Parts"]

log = structlog.get_logger()

# The jobs under which the table of runs remembers a scoring in parts, and each part.
WHOLE = "score_in_parts"
PART = "score_part"
# A shop with no more customers than this is scored in one piece.
CUSTOMERS_A_PART = 20_000
# A part that did not report back for so long is done by somebody else.
GIVE_UP = timedelta(minutes=10)
# So often somebody who waits for others looks again.
LOOK_SECONDS = 0.5
MOST_HELPERS = 16

# What can be cut: a customer's prediction depends on no other range, once the histories of the whole shop are known.
CUT = frozenset({"issue", "churn"})


class ScoresParts(Protocol):
    """Who does a part: `bot.services.scoring.Scorer`, and what tests put in its place."""

    def score_part(self, kind: str, as_of: datetime, first: int, last: int) -> int:
        """Score and store the customers with ids in a range, as of an instant; return how many subjects."""

    def forget(self) -> None:
        """Let go of what was kept for the next part."""


@dataclass(frozen=True, kw_only=True)
class _Scoring:
    name: str
    kind: str
    as_of: datetime
    ranges: tuple[tuple[int, int], ...]

    def key(self, part: tuple[int, int]) -> str:
        return f"{self.name}:{part[0]}-{part[1]}"


class Parts:
    """Scores in parts.

    Parameters
    ----------
    kinds : collection of str
        What is predicted daily; of these, what can be cut is done here.
    call : callable
        Calls so many others to help with a scoring, in the transaction that writes down what there is to do.
    size : int
        Customers a part.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        settings: Settings,
        scorer: ScoresParts,
        kinds: Collection[str],
        *,
        call: Callable[[Connection, str, int], object],
        size: int = CUSTOMERS_A_PART,
        owner: str | None = None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._settings = settings
        self._scorer = scorer
        self._kinds = sorted(CUT.intersection(kinds))
        self._call = call
        self._size = size
        self._owner = owner or this_process()

    def score_today(self) -> int:
        """Predict, in parts, what was not predicted today; return how many subjects. A small shop is left as it is."""
        now = self._clock.now()
        today = local_date(now, self._settings.shop.zone)
        count = 0
        for kind in self._kinds:
            key = f"{kind}:{today}"
            with self._database.read() as connection:
                run = run_of(connection, SCORING, key)
                ranges = customer_ranges(connection, self._size)
            if len(ranges) < 2 or (run is not None and run.state == RunState.DONE):
                continue
            subjects = self._score(kind, now, tuple(ranges))
            # The one finalising step: only now does a plan see these predictions as today's.
            with self._database.write() as connection:
                start_run(connection, SCORING, key, now)
                finish_run(connection, SCORING, key, RunState.DONE, {"subjects": subjects, "parts": len(ranges)}, now)
            count += subjects
        return count

    def help(self, name: str) -> int:
        """Do parts of a scoring until none is left to take; return how many were done."""
        with self._database.read() as connection:
            run = run_of(connection, WHOLE, name)
        if run is None or run.state != RunState.RUNNING or run.detail is None:
            return 0
        kind, _, instant = name.partition(":")
        ranges = tuple((int(first), int(last)) for first, last in run.detail["ranges"])
        scoring = _Scoring(name=name, kind=kind, as_of=datetime.fromisoformat(instant), ranges=ranges)
        done = 0
        try:
            while self._do_one(scoring, again=False):
                done += 1
        finally:
            self._scorer.forget()
        return done

    def _score(self, kind: str, now: datetime, ranges: tuple[tuple[int, int], ...]) -> int:
        scoring = _Scoring(name=f"{kind}:{now.isoformat()}", kind=kind, as_of=now, ranges=ranges)
        with self._database.write() as connection:
            start_run(connection, WHOLE, scoring.name, now, {"ranges": [list(part) for part in ranges]})
            self._call(connection, scoring.name, min(len(ranges) - 1, MOST_HELPERS))
        state, pause = RunState.FAILED, threading.Event()
        try:
            while (left := self._left(scoring)) > 0:
                # One that failed elsewhere is done once more here: then its error is this scoring's.
                if not self._do_one(scoring, again=True):
                    log.debug("waiting_for_parts", left=left)
                    pause.wait(LOOK_SECONDS)
            state = RunState.DONE
        finally:
            self._scorer.forget()
            with self._database.write() as connection:
                finish_run(connection, WHOLE, scoring.name, state, None, self._clock.now())
        subjects = sum(int((run.detail or {}).get("subjects", 0)) for run in self._runs(scoring) if run is not None)
        log.info("scored_in_parts", kind=kind, parts=len(ranges), subjects=subjects)
        return subjects

    def _do_one(self, scoring: _Scoring, *, again: bool) -> bool:
        for part, seen in zip(scoring.ranges, self._runs(scoring), strict=True):
            key = scoring.key(part)
            if not self._claim(key, seen, again=again):
                continue
            try:
                subjects = self._scorer.score_part(scoring.kind, scoring.as_of, *part)
            except BaseException as error:
                self._finish(key, RunState.FAILED, {"error": type(error).__name__})
                raise
            self._finish(key, RunState.DONE, {"subjects": subjects})
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

    def _left(self, scoring: _Scoring) -> int:
        return sum(run is None or run.state != RunState.DONE for run in self._runs(scoring))

    def _runs(self, scoring: _Scoring) -> list[Run | None]:
        with self._database.read() as connection:
            return [run_of(connection, PART, scoring.key(part)) for part in scoring.ranges]

    def _finish(self, key: str, state: RunState, detail: dict[str, object]) -> None:
        with self._database.write() as connection:
            finish_run(connection, PART, key, state, detail, self._clock.now())
