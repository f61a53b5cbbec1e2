"""Where a customer stands: each rule at its border, and what must hold for any history."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.decide.stage import STAGE_KINDS, Happening, Position, Purchase, Stage, position, stage

BOUGHT = datetime(2026, 3, 1, 12, tzinfo=UTC)
ORDER = Purchase(id=1, placed_at=BOUGHT, due_at=BOUGHT + timedelta(days=10))


def day(number: float) -> datetime:
    return BOUGHT + timedelta(days=number)


def happened(kind: str, on: float, value: float | None = None, order_id: int | None = 1) -> Happening:
    return Happening(kind=kind, occurred_at=day(on), value=value, order_id=order_id)


CAME = happened("delivered", 5)


@pytest.mark.parametrize(
    ("events", "on", "expected"),
    [
        ([], 0, Stage.AWAITING),
        ([], 9.9, Stage.AWAITING),
        ([], 10, Stage.AT_RISK),  # the promise is broken
        ([], 40, Stage.USING),  # overdue for thirty days without a word: it came and nobody recorded it
        ([CAME], 5, Stage.RECEIVED),
        ([CAME], 7.9, Stage.RECEIVED),
        ([CAME], 8, Stage.SETTING_UP),
        ([CAME, happened("page_view", 6)], 6, Stage.SETTING_UP),
        ([CAME, happened("page_view", 2)], 6, Stage.RECEIVED),  # before it came that says nothing
        ([CAME, happened("activated", 6)], 6, Stage.USING),
        ([CAME], 34.9, Stage.SETTING_UP),
        ([CAME], 35, Stage.USING),
        ([CAME, happened("review", 9, 5)], 9, Stage.ADVOCATE),
        ([CAME, happened("review", 9, 4)], 9, Stage.SETTING_UP),
        ([CAME, happened("review", 9, 5)], 374, Stage.USING),
        ([CAME, happened("nps", 9, 9)], 20, Stage.ADVOCATE),
        ([CAME, happened("csat", 9, 2)], 98.9, Stage.AT_RISK),
        ([CAME, happened("csat", 9, 2)], 99, Stage.USING),
        ([CAME, happened("csat", 9, 2), happened("csat", 12, 5)], 12, Stage.ADVOCATE),
        ([CAME, happened("ticket_opened", 6)], 200, Stage.AT_RISK),  # a ticket stays open until it is closed
        ([CAME, happened("ticket_opened", 6), happened("ticket_closed", 7)], 7, Stage.RECEIVED),
        ([CAME, happened("complaint", 6)], 35.9, Stage.AT_RISK),
        ([CAME, happened("complaint", 6)], 36, Stage.USING),
        ([happened("exception", 2)], 3, Stage.AT_RISK),
        ([happened("exception", 2), happened("out_for_delivery", 3)], 3, Stage.AWAITING),
        ([happened("exception", 2), CAME], 5, Stage.RECEIVED),
        ([happened("cancelled", 2)], 3, Stage.AT_RISK),  # nothing of all that was ordered is left
        ([CAME, happened("returned", 20)], 300, Stage.AT_RISK),
    ],
)  # fmt: skip
def test_each_rule_holds_up_to_its_border(events: list[Happening], on: float, expected: Stage) -> None:
    assert stage(events, day(on), orders=[ORDER]) is expected


def test_nobody_without_an_order_is_anything_but_awaiting() -> None:
    assert position([], BOUGHT, orders=[]) == Position(stage=Stage.AWAITING, since=None)


def test_an_order_cancelled_leaves_the_customer_with_the_one_before() -> None:
    later = Purchase(id=2, placed_at=day(20), due_at=day(30))
    events = [CAME, happened("activated", 6), happened("cancelled", 21, order_id=2)]
    assert stage(events, day(20), orders=[ORDER, later]) is Stage.AWAITING
    assert stage(events, day(21), orders=[ORDER, later]) is Stage.USING


def test_an_alarm_puts_anybody_at_risk_from_its_instant_on() -> None:
    assert stage([CAME], day(6), orders=[ORDER], alarmed_at=day(6.5)) is Stage.RECEIVED
    assert position([CAME], day(7), orders=[ORDER], alarmed_at=day(6.5)) == Position(
        stage=Stage.AT_RISK, since=day(6.5)
    )


def test_a_shop_that_records_no_deliveries_takes_orders_to_come_when_due() -> None:
    assert stage([], day(10), orders=[ORDER], deliveries_recorded=False) is Stage.RECEIVED


def test_what_was_recorded_late_is_not_seen_before() -> None:
    late = Happening(kind="delivered", occurred_at=day(5), recorded_at=day(9), order_id=1)
    assert stage([late], day(8.9), orders=[ORDER]) is Stage.AWAITING
    assert stage([late], day(9), orders=[ORDER]) is Stage.SETTING_UP


instants = st.floats(-5, 60).map(lambda n: day(round(n * 4) / 4)) | st.floats(-5, 500).map(day)
happenings = st.builds(
    Happening,
    kind=st.sampled_from(sorted(STAGE_KINDS | {"email_opened"})),
    occurred_at=instants,
    recorded_at=st.none() | instants,
    order_id=st.sampled_from([None, 1, 2, 3]),
    value=st.sampled_from([None, 0.0, 1.0, 3.0, 5.0, 9.0, 10.0]),
)
purchases = st.lists(
    st.builds(
        lambda number, at, days: Purchase(id=number, placed_at=at, due_at=at + timedelta(days=days)),
        st.sampled_from([1, 2, 3]), instants, st.integers(0, 20),
    ),
    max_size=3, unique_by=lambda one: one.id,
)  # fmt: skip
histories = st.tuples(st.lists(happenings, max_size=7), purchases, st.none() | instants, st.booleans())


@settings(max_examples=80)
@given(histories, instants, st.lists(happenings, max_size=4), st.randoms())
def test_every_history_has_one_stage_and_nothing_known_later_changes_it(
    history: tuple[list[Happening], list[Purchase], datetime | None, bool],
    now: datetime,
    more: list[Happening],
    shuffle: object,
) -> None:
    events, orders, alarmed_at, recorded = history
    found = position(events, now, orders=orders, alarmed_at=alarmed_at, deliveries_recorded=recorded)
    later = [one for one in more if one.known_at > now]
    known = [one for one in events if one.known_at <= now]
    mixed = [*known, *later]
    shuffle.shuffle(mixed)  # type: ignore[attr-defined]
    coming = Purchase(id=9, placed_at=now + timedelta(seconds=1), due_at=now + timedelta(days=9))
    earlier = [one for one in orders if one.placed_at <= now]
    alarm = None if alarmed_at is None or alarmed_at > now else alarmed_at
    again = position(mixed, now, orders=[coming, *earlier], alarmed_at=alarm, deliveries_recorded=recorded)
    assert isinstance(found.stage, Stage)
    assert again == found


@settings(max_examples=80)
@given(histories, instants, st.floats(0, 1))
def test_a_customer_has_stood_there_ever_since_and_not_just_before(
    history: tuple[list[Happening], list[Purchase], datetime | None, bool], now: datetime, share: float
) -> None:
    events, orders, alarmed_at, recorded = history

    def at(instant: datetime) -> Stage:
        return stage(events, instant, orders=orders, alarmed_at=alarmed_at, deliveries_recorded=recorded)

    found = position(events, now, orders=orders, alarmed_at=alarmed_at, deliveries_recorded=recorded)
    assert found.stage is at(now)
    if found.since is None:
        return
    assert found.since <= now
    assert at(found.since + (now - found.since) * share) is found.stage
    before = found.since - timedelta(microseconds=1)
    starts = [one.known_at for one in events] + [one.placed_at for one in orders] + [alarmed_at or found.since]
    assert at(before) is not found.stage or before < min(starts)
