"""Trying out variants is bounded, ends, and sends customers where outcomes are better."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.decide.bandit import Allocation, AllocationWay, Exploration, allocate
from bot.decide.chance import Tally

BEGAN = datetime(2026, 3, 1, tzinfo=UTC)
RULES = Exploration(floor=0.05, budget=0.5, stop_below=0.01, days=100)


def shares(rules: Exploration = RULES, days: float = 10, stopped: tuple[str, ...] = (), **tallies: Tally) -> Allocation:
    return allocate(tallies, stopped, rules, began=BEGAN, now=BEGAN + timedelta(days=days))


def test_with_nothing_known_the_first_leads_within_the_budget() -> None:
    found = shares(a=Tally(bad=0, n=0), b=Tally(bad=0, n=0), c=Tally(bad=0, n=0))
    assert (found.way, found.leading, found.stopped) == (AllocationWay.BEGUN, "a", ())
    assert found.shares == pytest.approx({"a": 0.5, "b": 0.25, "c": 0.25})


def test_more_go_where_fewer_end_badly() -> None:
    found = shares(a=Tally(bad=12, n=60), b=Tally(bad=8, n=60))
    assert (found.way, found.leading) == (AllocationWay.MOVED, "b")
    assert found.shares["b"] == pytest.approx(0.05 + 0.9 * found.chances["b"])


def test_a_variant_that_is_as_good_as_lost_stops_and_stays_out() -> None:
    found = shares(a=Tally(bad=90, n=100), b=Tally(bad=10, n=100), c=Tally(bad=12, n=100))
    assert (found.way, found.stopped, found.shares["a"]) == (AllocationWay.STOPPED, ("a",), 0.0)
    later = shares(stopped=("a",), a=Tally(bad=90, n=1000), b=Tally(bad=10, n=100), c=Tally(bad=12, n=100))
    assert (later.way, later.stopped, later.shares["a"]) == (AllocationWay.MOVED, ("a",), 0.0)


def test_a_variant_is_not_stopped_on_a_handful() -> None:
    assert shares(a=Tally(bad=20, n=20), b=Tally(bad=0, n=200)).stopped == ()


def test_it_ends_when_one_is_left_or_the_time_is_over() -> None:
    decided = shares(a=Tally(bad=90, n=100), b=Tally(bad=10, n=100))
    assert (decided.way, dict(decided.shares)) == (AllocationWay.DECIDED, {"a": 0.0, "b": 1.0})
    expired = shares(days=100, a=Tally(bad=11, n=100), b=Tally(bad=10, n=100))
    assert (expired.way, dict(expired.shares)) == (AllocationWay.EXPIRED, {"a": 0.0, "b": 1.0})
    assert expired.way.ended
    assert not shares(days=99, a=Tally(bad=11, n=100), b=Tally(bad=10, n=100)).way.ended


@given(
    st.lists(st.tuples(st.integers(0, 200), st.integers(0, 200)), min_size=2, max_size=4),
    st.floats(0.001, 0.5),
    st.floats(0.01, 1.0),
)
@settings(max_examples=40, deadline=None)
def test_shares_add_up_keep_the_budget_and_stay_away_from_zero(
    ends: list[tuple[int, int]], floor: float, budget: float
) -> None:
    tallies = {f"v{number}": Tally(bad=bad, n=bad + good) for number, (bad, good) in enumerate(ends)}
    rules = Exploration(floor=floor, budget=budget, stop_below=0.01, days=100)
    found = shares(rules, **tallies)
    others = [share for name, share in found.shares.items() if name != found.leading]
    assert sum(found.shares.values()) == pytest.approx(1)
    assert sum(others) <= budget + 1e-9
    left = [name for name in tallies if name not in found.stopped]
    if not found.way.ended:
        least = min(floor, 1 / len(left), budget / (len(left) - 1))
        assert min(found.shares[name] for name in left) >= least - 1e-9
    assert all(found.shares[name] == 0 for name in found.stopped)
    assert found.leading in left
