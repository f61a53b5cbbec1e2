"""The kill harness with small numbers; `python -m benchmarks.kills` runs it with 5,000 sends and 20 kills."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks.sending.killing import Plan, kill_and_compare
from tests.peers.postgres import postgres_cluster

# When it fails, run it again with the seed that its message names.
SEED = 20261122


@pytest.mark.peer
def test_killed_workers_and_a_killed_postgresql_lose_and_double_nothing(tmp_path: Path) -> None:
    plan = Plan(sends=300, kills=4, seed=SEED)
    with postgres_cluster() as cluster:
        verdict = kill_and_compare(tmp_path, plan, cluster)
    print(verdict, file=sys.stderr)
    assert verdict.violations == [], verdict
    assert len(verdict.in_flight) == plan.kills + 1


def test_the_one_process_killed_on_sqlite_loses_and_doubles_nothing(tmp_path: Path) -> None:
    plan = Plan(sends=150, kills=3, seed=SEED)
    verdict = kill_and_compare(tmp_path, plan, None)
    print(verdict, file=sys.stderr)
    assert verdict.violations == [], verdict
    assert len(verdict.in_flight) == plan.kills
