"""Replaying the past: by hand where the answer is known, and nothing that a morning could not know."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from predictors.evidence import DAY, Evidence, Phase, instant, order_times
from predictors.labels import LabelledBy
from predictors.mornings import AsOf, Day, IssueSettings, Morning, learn, look
from predictors.retrospect import choose, look_back, ratio_interval, rule_choice
from predictors.snapshot import Snapshot
from tests.unit.shops import START, Rows, invented_shop, snapshot

ISSUE = IssueSettings(horizon_days=20, due_days=14, labelled_by=LabelledBy.ALL, seed=1)
FROM, TO = START + timedelta(days=120), START + timedelta(days=160)
EMPTY = Evidence(standing=np.zeros((3, 31, 3, 3)), ends=np.zeros((3, 3)))


def days_between(start: datetime, end: datetime) -> list[Day]:
    """Return the days whose decisions, at 08:00 UTC, lie in a span."""
    found = []
    midnight = start.replace(hour=0, minute=0)
    while (at := midnight + timedelta(hours=8)) < end:
        if at >= start:
            day = timedelta(days=1)
            found.append(
                Day(
                    local_date=midnight.date(),
                    at=at,
                    previous_at=at - day,
                    before_from=midnight - day,
                    before_to=midnight,
                )
            )
        midnight += timedelta(days=1)
    return found


def order(number: int, placed: datetime, promised: datetime) -> dict[str, Any]:
    return {
        "order_id": number,
        "customer_id": number,
        "placed_at": placed,
        "promised_at": promised,
        "recorded_at": placed,
    }


def point(number: int, of: int, kind: str, at: datetime, value: float | None = None) -> dict[str, Any]:
    return {
        "touchpoint_id": number,
        "customer_id": of,
        "order_id": of,
        "kind": kind,
        "occurred_at": at,
        "recorded_at": at,
        "value": value,
    }


def by_hand() -> tuple[list[Morning], Snapshot]:
    """Four orders of one day, promised for the 9th: two never come; all are looked at on the 10th and 11th."""
    placed, promised = datetime(2026, 1, 1, 12, tzinfo=UTC), datetime(2026, 1, 9, tzinfo=UTC)
    eve = datetime(2026, 1, 9, 12, tzinfo=UTC)
    rows: Rows = {
        "orders": [
            *[order(number, placed + timedelta(minutes=number), promised) for number in (1, 2, 3, 4)],
            *[order(number, eve, eve + timedelta(days=60)) for number in range(10, 30)],
        ],
        "touchpoints": [
            point(1, 3, "delivered", datetime(2026, 1, 9, 18, tzinfo=UTC)),
            point(2, 4, "delivered", datetime(2026, 1, 5, tzinfo=UTC)),
            point(3, 1, "review", datetime(2026, 1, 12, 8, tzinfo=UTC), 1.0),
            point(4, 3, "ticket_opened", datetime(2026, 1, 13, 8, tzinfo=UTC)),
            point(5, 4, "review", datetime(2026, 1, 6, tzinfo=UTC), 1.0),
        ],
    }  # fmt: skip
    shop = snapshot(rows, datetime(2026, 3, 1, tzinfo=UTC))
    times = order_times(shop, due_days=14)
    # The third order came on the promised day and is the likelier to be trouble; the fourth has had its trouble already.
    p = {1: 0.3, 2: 0.2, 3: 0.9, 4: 0.99}
    moments = pl.Series([int(one) for one in times.due]).cast(pl.Datetime("us", "UTC"))
    predictions = pl.DataFrame(
        {"order_id": times.order_id, "moment": moments, "p": [p.get(int(one), 0.0) for one in times.order_id]}
    )
    learned = AsOf(origin=placed, predictions=predictions, evidence=EMPTY, fitted=[])
    days = days_between(datetime(2026, 1, 10, tzinfo=UTC), datetime(2026, 1, 12, tzinfo=UTC))
    return look(shop, days, [learned], ISSUE), shop


def test_a_shop_whose_answer_is_known() -> None:
    mornings, shop = by_hand()
    assert [list(one.rule) for one in mornings] == [[1, 2], []]  # who waited longest first, on the day after, once
    assert [list(one.order_id) for one in mornings] == [[3, 1, 2], [3, 1, 2]]
    found = look_back(mornings, shop, 0.05, horizon_days=20, seed=1)
    # Twenty orders on the 9th, none on the 10th: one contact in all.
    assert found.orders == 20
    assert found.ours.contacts["order_id"].to_list() == [3]
    assert found.rule.contacts["order_id"].to_list() == [1]
    assert (found.ours.caught, found.rule.caught, found.flagged) == (1, 1, 2)
    assert found.ours.contacts["first_sign"].to_list() == ["ticket_opened"]
    assert (found.ours.lead(0.5), found.rule.lead(0.5)) == (3.0, 2.0)
    assert found.ours.contacts["promise_days"].to_list() == [pytest.approx(8 / 24)]
    more = look_back(mornings, shop, 0.1, horizon_days=20, seed=1)
    assert [one["order_id"] for one in more.rule.contacts.iter_rows(named=True)] == [1, 2]
    assert (more.ours.caught, more.rule.caught, more.same_contacts.ratio) == (2, 1, 2.0)


def test_trouble_beyond_the_horizon_is_not_caught() -> None:
    mornings, shop = by_hand()
    assert look_back(mornings, shop, 0.05, horizon_days=2, seed=1).ours.caught == 0


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(st.integers(0, 40), st.lists(st.integers(0, 30), max_size=12, unique=True)), min_size=1, max_size=12
    ),
    st.floats(0.01, 0.5),
)
def test_capacity_holds_on_every_day_and_an_order_is_contacted_once(
    drawn: list[tuple[int, list[int]]], share: float
) -> None:
    mornings = []
    for number, (orders, ids) in enumerate(drawn):
        at = START + timedelta(days=number)
        day = Day(local_date=at.date(), at=at, previous_at=at - timedelta(days=1), before_from=at, before_to=at)
        numbers, zeros = np.array(ids, dtype=np.int64), np.zeros(len(ids))
        mornings.append(
            Morning(
                day=day, orders_before=orders, order_id=numbers, customer_id=numbers, score=zeros, promise_days=zeros,
                rule=numbers[::2],
            )
        )  # fmt: skip
    for chosen in (choose(mornings, share), rule_choice(mornings, share)):
        for morning, today in zip(mornings, chosen, strict=True):
            assert len(today) <= share * morning.orders_before + 1 + 1e-6
            assert {order for order, _, _ in today} <= set(morning.order_id.tolist())
        everyone = [order for today in chosen for order, _, _ in today]
        assert len(everyone) == len(set(everyone))
        assert len(everyone) <= share * sum(morning.orders_before for morning in mornings) + 1e-6
    wanted = [min(2, len(one.rule)) for one in mornings]
    assert all(len(today) <= most for today, most in zip(choose(mornings, share, counts=wanted), wanted, strict=True))


@pytest.fixture(scope="module")
def rows() -> Rows:
    return invented_shop(700, seed=3)


def _mornings(shop: Snapshot) -> list[Morning]:
    return look(shop, days_between(FROM, TO), learn(shop, FROM, TO, ISSUE), ISSUE)


@pytest.fixture(scope="module")
def known(rows: Rows) -> list[Morning]:
    return _mornings(snapshot(rows))


def test_what_is_recorded_after_a_day_changes_no_choice_of_that_day(rows: Rows, known: list[Morning]) -> None:
    cut = FROM + timedelta(days=22)
    other: Rows = {name: [dict(row) for row in of] for name, of in rows.items()}
    # From then on nothing comes, everybody complains, promises are made anew, and other orders are placed.
    other["touchpoints"] = [one for one in other["touchpoints"] if one["recorded_at"] <= cut]
    first = len(rows["touchpoints"])
    later = cut + timedelta(minutes=1)
    other["touchpoints"] += [
        point(first + number, one["order_id"], "complaint", later) for number, one in enumerate(rows["orders"])
    ]
    for one in list(other["orders"]):
        if one["recorded_at"] > cut:
            one["total"], one["promised_at"] = 1.0, one["promised_at"] + timedelta(days=30)
        else:
            one["superseded_at"] = later
            other["orders"].append({**one, "promised_at": later, "recorded_at": later, "superseded_at": None})
    assert len(other["orders"]) > len(rows["orders"])
    again = _mornings(snapshot(other))
    before = [(one, two) for one, two in zip(known, again, strict=True) if one.day.at <= cut]
    assert len(before) >= 20
    assert sum(len(one.order_id) for one, _ in before) > 50
    for one, two in before:
        assert one.orders_before == two.orders_before
        for name in ("order_id", "customer_id", "score", "promise_days", "rule"):
            assert np.array_equal(getattr(one, name), getattr(two, name)), (one.day.local_date, name)
    assert any(not np.array_equal(one.order_id, two.order_id) for one, two in zip(known, again, strict=True))
    for share in (0.05, 0.3):
        assert choose(known, share)[: len(before)] == choose(again, share)[: len(before)]
        assert str(rule_choice(known, share)[: len(before)]) == str(rule_choice(again, share)[: len(before)])


def test_where_lateness_and_a_seller_make_trouble_ours_catches_more_than_the_rule(
    rows: Rows, known: list[Morning]
) -> None:
    found = look_back(known, snapshot(rows), 0.2, horizon_days=20, seed=1)
    assert found.days == len(known)
    assert found.ours.n > 10
    assert found.ours.caught > found.rule.caught
    assert found.same_contacts.ours.n <= found.rule.n
    assert [row[1] for row in found.by_capacity["aftercare"]] == sorted(
        row[1] for row in found.by_capacity["aftercare"]
    )


def test_silence_lowers_the_chance_of_trouble_by_bayes_rule(rows: Rows) -> None:
    times = order_times(snapshot(rows), due_days=14)
    one = np.flatnonzero(times.delivered <= times.due)[:1]
    order_ = type(times)(**{name: getattr(times, name)[one] for name in vars(times)})
    standing, ends = np.zeros((3, 31, 3, 3)), np.zeros((3, 3))
    # Of a thousand of each end all are quiet on the first day, and on the sixth a tenth of those ever heard of.
    ends[Phase.DELIVERED] = 1000
    standing[Phase.DELIVERED, 0, 2] = 1000
    standing[Phase.DELIVERED, 5, 2] = (100, 100, 1000)
    evidence = Evidence(standing=standing, ends=ends)

    def chance(days: float) -> float:
        return float(evidence.still_to_come(np.array([0.4]), order_, float(order_.due[0] + days * DAY))[0])

    assert chance(0.3) == pytest.approx(0.4 * 2 / 3)  # a third is never heard of
    assert chance(5.3) == pytest.approx(0.4 * 2 * 0.1 / (2 * 0.1 + 1), rel=0.2)  # smoothed
    assert chance(9.3) == 0  # nobody was ever quiet for so long


def test_what_too_few_orders_showed_teaches_nothing(rows: Rows) -> None:
    times = order_times(snapshot(rows), due_days=14)
    p = np.linspace(0, 1, len(times.order_id))
    assert np.array_equal(EMPTY.still_to_come(p, times, instant(TO)), p)


def test_an_interval_holds_the_ratio_and_is_the_same_for_the_same_seed() -> None:
    def contacts(ids: range, caught: int) -> pl.DataFrame:
        at = [START if number < caught else None for number in range(len(ids))]
        return pl.DataFrame(
            {"order_id": list(ids), "first_sign_at": at},
            schema={"order_id": pl.Int64, "first_sign_at": pl.Datetime("us", "UTC")},
        )

    ours, rule = contacts(range(100), 60), contacts(range(50, 150), 40)
    low, high = ratio_interval(ours, rule, seed=1, resamples=500)
    assert low is not None
    assert high is not None
    assert low < 60 / 40 < high
    assert ratio_interval(ours, rule, seed=1, resamples=500) == (low, high)
    assert ratio_interval(ours, ours, seed=1, resamples=500) == (1.0, 1.0)
    assert ratio_interval(ours, contacts(range(3), 0), seed=1) == (None, None)
