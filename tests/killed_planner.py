"""Plans a day in processes that are killed by SIGKILL at random statements, and at last in one that is not.

    python -m tests.killed_planner REFERENCE_URL URL whole|parts SEED KILLS

First the day is planned in one go in the database at REFERENCE_URL, which tells how many statements it takes; then in the one
at URL, by one process after the other. Each is a fork of this one, so that modules are imported once; it opens its own
connections. Prints {"statements": …, "killed": …}.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from bot.clock import ManualClock
from bot.config import Settings
from bot.services.planning import plan_store
from bot.services.planning import planner as planning
from bot.services.planning.large_shop import PLAN, LargeShop, PlanningTask
from bot.services.planning.parts import Parts
from bot.services.planning.planner import Planner
from bot.services.planning.playbooks import load_playbooks
from bot.store.database import open_database
from messages.catalogue import Catalogue
from tests.conftest import NOW

SETTINGS: dict[str, Any] = {
    "email": {"enabled": True},
    "shop": {"name": "Shop"},
    "experiments": {"holdout_share": 0.2},
    "scheduler": {"daily_capacity": 12},
}
# Customers a part: several to a shop of a test.
SIZE = 7


def main() -> None:
    """Plan as the command line says."""
    reference, url, mode, seed, kills = sys.argv[1:]
    settings, catalogue = Settings.model_validate(SETTINGS), Catalogue.load()
    playbooks = load_playbooks(settings, catalogue.names)
    # More transactions, and more places to die between them.
    planning.SUGGESTIONS_A_TIME, plan_store.REFUSALS_A_TIME = 3, 4  # type: ignore[attr-defined]

    def plan(where: str, now: datetime, at_statement: Callable[[int], None]) -> int:
        """Plan in a process of its own; return how many statements that took, 0 where it was killed."""
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            _plan(where, mode, settings, catalogue, playbooks, now, at_statement, writing)
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as told:
            said = told.read()
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
            return 0
        assert status == 0, f"the planner ended with {status}"
        return int(said)

    statements = plan(reference, NOW, lambda _: None)
    draws, killed = random.Random(int(seed)), 0
    for attempt in range(int(kills)):
        fatal = draws.randint(1, statements)
        # Every other one starts at the same instant: then it finds the same parts.
        now = NOW + timedelta(minutes=attempt // 2)
        killed += not plan(url, now, lambda number, fatal=fatal: _die() if number == fatal else None)  # type: ignore[misc]
    assert plan(url, NOW + timedelta(hours=1), lambda _: None)
    print(json.dumps({"statements": statements, "killed": killed}))


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _plan(
    url: str,
    mode: str,
    settings: Settings,
    catalogue: Catalogue,
    playbooks: Any,
    now: datetime,
    at_statement: Callable[[int], None],
    writing: int,
) -> None:
    database, clock, count = open_database(url), ManualClock(now), 0

    def counted(*_: object) -> None:
        nonlocal count
        count += 1
        at_statement(count)

    sa.event.listen(database.engine, "before_cursor_execute", counted)
    sa.event.listen(database.engine, "commit", counted)
    planner = Planner(database, clock, settings, catalogue, playbooks)
    if mode == "whole":
        planner.plan()
    else:
        parts = Parts(database, clock, {PLAN: PlanningTask(planner=planner)}, call=lambda *_: None, size=SIZE)
        LargeShop(database, clock, settings, parts, planner, ()).plan_today()
    os.write(writing, str(count).encode())


if __name__ == "__main__":
    main()
