"""The hourly round: predict orders about which something was written since the last one: new ones, and those delivered since.

The daily round predicts everything; this one keeps what people look at true in between. It plans nothing: check-ins are proposed
once a local date. Each hour is a row in the table of runs, with the mark up to which was read, so that nothing is left out where
an hour was missed or its process died.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC
from typing import Any

import structlog

from bot.clock import Clock
from bot.services.daily import claim
from bot.services.delivery.ownership import this_process
from bot.store.database import Database
from bot.store.enums import RunState
from bot.store.history_mark import Mark, orders_touched, written_mark
from bot.store.runs import finish_run, latest_runs

__all__ = ["JOB", "HourlyScoring"]

log = structlog.get_logger()

JOB = "hourly"
# Where more orders changed than these (an import of a whole shop), the daily round predicts them with all others.
AT_MOST = 2000
# So far back is looked for the last hour that ended well.
BACK = 200


class HourlyScoring:
    """Predicts what changed.

    Parameters
    ----------
    score : callable
        Predicts and stores some orders, by our ids; returns how many were asked about.
    """

    def __init__(
        self, database: Database, clock: Clock, score: Callable[[Sequence[int]], int], *, owner: str | None = None
    ) -> None:
        self._database = database
        self._clock = clock
        self._score = score
        self._owner = owner or this_process()

    def run_if_due(self) -> int | None:
        """Do this hour's round unless somebody did or does; return how many orders were predicted, None: nothing to do."""
        key = self._clock.now().astimezone(UTC).replace(minute=0, second=0, microsecond=0).isoformat()
        with self._database.read() as connection:
            done = next((one for one in latest_runs(connection, JOB, BACK) if one.state == RunState.DONE), None)
        if (done is not None and done.key == key) or not claim(self._database, self._clock, JOB, key, self._owner):
            return None
        try:
            detail = self._work(None if done is None else _mark(done.detail))
        except BaseException as error:
            self._finish(key, RunState.FAILED, {"error": type(error).__name__})
            raise
        self._finish(key, RunState.DONE, detail)
        return int(detail["scored"])

    def _work(self, since: Mark | None) -> dict[str, Any]:
        with self._database.read() as connection:
            now = written_mark(connection)
            # The first hour ever only begins to look: what was there before is the daily round's.
            touched = [] if since in (None, now) else orders_touched(connection, since, now, AT_MOST)
        if touched is None:
            log.info("left_to_the_daily_round", why="too much changed")
        scored = self._score(touched) if touched else 0
        return {"mark": now._asdict(), "scored": scored, "all_changed": touched is None}

    def _finish(self, key: str, state: RunState, detail: dict[str, Any]) -> None:
        with self._database.write() as connection:
            finish_run(connection, JOB, key, state, detail, self._clock.now())


def _mark(detail: Any) -> Mark | None:
    """Read the mark that an earlier hour left; None where another version left another one."""
    found = (detail or {}).get("mark", {})
    return Mark(**found) if set(found) == set(Mark._fields) else None
