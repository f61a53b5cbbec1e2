"""The scheduler ticks, survives jobs that fail, and drains at the end."""

from __future__ import annotations

import threading
from collections.abc import Callable

from bot.scheduler import Job, Scheduler

DEADLINE = 10.0


def reached(condition: Callable[[], bool]) -> bool:
    """Wait on a real scheduler's threads until a condition holds."""
    waiting = threading.Event()
    for _ in range(int(DEADLINE / 0.01)):
        if condition():
            return True
        waiting.wait(0.01)
    return False


def test_a_job_that_fails_is_shown_and_comes_again() -> None:
    calls: list[int] = []

    def work() -> None:
        calls.append(1)
        if len(calls) == 1:
            raise ValueError("no luck")

    scheduler = Scheduler([Job(name="tick", work=work, seconds=0.02)])
    assert scheduler.trouble() == {"tick": "not running"}
    scheduler.start()
    try:
        assert reached(lambda: len(calls) >= 3)
        assert reached(lambda: scheduler.trouble() == {})
    finally:
        assert scheduler.stop(DEADLINE)
    seen = len(calls)
    assert not threading.Event().wait(0.1)
    assert len(calls) == seen


def test_a_slow_job_starves_no_other_and_never_runs_twice_at_once() -> None:
    release, inside = threading.Event(), []
    quick: list[int] = []

    def slow() -> None:
        inside.append(1)
        release.wait(DEADLINE)

    scheduler = Scheduler(
        [Job(name="daily", work=slow, seconds=0.02), Job(name="deliver", work=lambda: quick.append(1), seconds=0.02)]
    )
    scheduler.start()
    try:
        assert reached(lambda: len(quick) >= 5)
        assert len(inside) == 1
        assert scheduler.stop(0.05) is False
    finally:
        release.set()
    assert scheduler.wait(DEADLINE)


def test_a_job_that_does_not_come_back_is_called_stalled() -> None:
    release = threading.Event()
    scheduler = Scheduler([Job(name="tick", work=lambda: release.wait(DEADLINE), seconds=0.005, patience_seconds=0.05)])
    scheduler.start()
    try:
        assert reached(lambda: scheduler.trouble() == {"tick": "stalled"})
    finally:
        release.set()
        scheduler.stop(DEADLINE)
