"""Patterns over planted and over quiet shops; what holds whatever the shop."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from functools import cache

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.shops.planted import START, Planted, PlantedShop, planted_shop
from predictors.cells import build_cells
from predictors.errors import NotEnoughDataError
from predictors.exposure import (
    AGES,
    counted,
    days_by_age,
    days_until_first,
    first_events,
    fit_rates,
    orders_at_risk,
)
from predictors.moments import order_moments
from predictors.patterns import Pattern, find_patterns
from predictors.snapshot import FRAMES, Snapshot
from predictors.trouble import ANY, KINDS, topics, topics_of, trouble_events

LOT = Planted(dimension="lot", value="0/B4-1", since_day=0.0, share=0.4)
DAY = 215.0


@cache
def shop(planted: Planted | None = LOT, seed: int = 5) -> PlantedShop:
    return planted_shop(seed=seed, days=220, orders_a_day=10.0, planted=planted)


def found(planted: Planted | None = LOT, day: float = DAY, seed: int = 5) -> list[Pattern]:
    return find_patterns(*shop(planted, seed).at(day), due_days=14)


def told(pattern: Pattern) -> tuple[object, ...]:
    return (
        pattern.identity, pattern.window_days, pattern.troubled, pattern.exposed, pytest.approx(pattern.expected),
        pytest.approx(pattern.p_value), pattern.troubled_orders, pattern.silent_orders,
    )  # fmt: skip


def test_a_bad_lot_is_found_once_and_not_again_as_its_product_and_seller() -> None:
    assert [pattern.identity for pattern in found()] == [("lot:0:B4-1", "charging")]


def test_the_counts_are_those_of_the_lot() -> None:
    (pattern,) = found()
    snapshot, texts = shop().at(DAY)
    lot = snapshot.order_lines.filter(pl.col("product_id") == 0, pl.col("lot") == "B4-1")["order_id"]
    since = START + timedelta(days=DAY - pattern.window_days)
    said = (
        snapshot.touchpoints.filter(pl.col("order_id").is_in(lot.implode()), pl.col("recorded_at") >= since)
        .join(texts.filter(pl.col("text").str.contains("(?i)charg|battery")), on="touchpoint_id")
        .unique("order_id")
    )
    assert set(pattern.troubled_orders) == set(said["order_id"])
    assert pattern.troubled == said["customer_id"].n_unique()
    assert pattern.troubled <= pattern.exposed <= lot.len()
    complained = trouble_events(snapshot, texts)["order_id"]
    assert set(pattern.silent_orders) <= set(lot) - set(complained)
    assert len(pattern.silent_orders) >= 5


def test_a_bad_region_is_found_although_no_word_tells_what_it_is() -> None:
    planted = Planted(dimension="region", value="r0", since_day=185.0, share=0.5)
    world = shop(planted)
    silent = world.texts.with_columns(text=pl.lit("???"))
    patterns = find_patterns(world.at(DAY)[0], silent, due_days=14)
    assert patterns[0].cell.key == "region::DE/r0"
    assert patterns[0].kind in {"ticket", ANY}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_quiet_shop_shows_nothing(seed: int) -> None:
    assert found(None, seed=seed) == []


def test_what_was_recorded_later_changes_nothing() -> None:
    world = shop()
    now, texts = world.at(DAY)
    lots = now.order_lines.filter(pl.col("lot") == "B4-1", pl.col("product_id") == 0)["order_id"]
    later = START + timedelta(days=DAY, seconds=1)
    points = pl.DataFrame(
        {
            "touchpoint_id": 10_000_000 + np.arange(lots.len()),
            "customer_id": 1, "order_id": lots, "kind": "complaint", "occurred_at": START, "recorded_at": later,
        }
    )  # fmt: skip
    full = world.snapshot
    added = replace(full, touchpoints=pl.concat([full.touchpoints, points], how="diagonal_relaxed"))
    words = pl.concat([texts, points.select("touchpoint_id", text=pl.lit("it does not charge"))])
    assert [told(p) for p in find_patterns(added.at(now.until), words, due_days=14)] == [told(p) for p in found()]


@settings(max_examples=5)
@given(st.integers(0, 2**32 - 1))
def test_the_order_of_rows_and_the_names_of_orders_change_nothing(seed: int) -> None:
    snapshot, texts = shop().at(DAY)
    rng = np.random.default_rng(seed)
    names = {column: rng.permutation(30_000) for column in ("order_id", "customer_id")}

    def renamed(frame: pl.DataFrame) -> pl.DataFrame:
        frame = frame.sample(fraction=1.0, shuffle=True, seed=seed % 1000)
        return frame.with_columns(
            pl.col(column).map_elements(lambda one, of=names[column]: int(of[one]), return_dtype=pl.Int64)
            for column in names
            if column in frame.columns
        )

    frames = {name: renamed(getattr(snapshot, name)) for name in FRAMES}
    other = find_patterns(Snapshot(**frames, until=snapshot.until), texts, due_days=14)
    new = names["order_id"]
    expected = [
        replace(
            one,
            troubled_orders=tuple(sorted(int(new[order]) for order in one.troubled_orders)),
            silent_orders=tuple(sorted(int(new[order]) for order in one.silent_orders)),
        )
        for one in found()
    ]
    assert [told(one) for one in expected] == [told(one) for one in other]


@settings(max_examples=8)
@given(st.floats(60, 219), st.integers(0, 3))
def test_counts_never_exceed_exposure(day: float, seed: int) -> None:
    snapshot, texts = shop(LOT, seed).at(day)
    orders = orders_at_risk(order_moments(snapshot, due_days=14), snapshot.until, 400)
    cells = build_cells(snapshot, orders)
    for first in first_events(orders, trouble_events(snapshot, texts), snapshot.until).values():
        troubled = counted(orders, first, -28, 0.001) >= 0
        days = days_by_age(orders, -28, 0.001)
        counts = cells.count(days.sum(axis=1) > 0, troubled, days.sum(axis=1) * 0.01)
        assert (counts.observed <= counts.exposed).all()
        assert (counts.expected <= counts.exposed + 1e-9).all()
        assert counts.shop_observed <= troubled.sum()


def test_the_hazard_expects_in_sum_what_was_observed_where_it_was_learned() -> None:
    snapshot, texts = shop(None).at(DAY)
    orders = orders_at_risk(order_moments(snapshot, due_days=14), snapshot.until, 400)
    first = first_events(orders, trouble_events(snapshot, texts), snapshot.until)["ticket"]
    age = counted(orders, first, -200, -28)
    days = days_until_first(orders, days_by_age(orders, -200, -28), first, -200, -28)
    rates = fit_rates(days, age)
    assert float((days @ rates).sum()) == pytest.approx(float((age >= 0).sum()), rel=0.02)
    assert rates[3] > rates[-1]  # trouble comes days, not months, after an order was due


def test_young_orders_are_expected_to_have_less_trouble() -> None:
    snapshot, _ = shop(None).at(DAY)
    orders = orders_at_risk(order_moments(snapshot, due_days=14), snapshot.until, 400)
    expected = days_by_age(orders, -28, 0.0) @ np.full(len(AGES), 0.01)
    young, old = orders.due > -2, (orders.due < -20) & (orders.due > -30)
    assert expected[young].mean() < expected[old].mean()


def test_a_cancelled_order_is_not_asked_about() -> None:
    world = shop()
    snapshot, texts = world.at(DAY)
    silent = found()[0].silent_orders[0]
    cancelled = pl.DataFrame(
        {
            "touchpoint_id": [20_000_000], "customer_id": [1], "order_id": [silent], "kind": ["cancelled"],
            "occurred_at": [snapshot.until], "recorded_at": [snapshot.until],
        }
    )  # fmt: skip
    changed = replace(snapshot, touchpoints=pl.concat([snapshot.touchpoints, cancelled], how="diagonal_relaxed"))
    assert silent not in find_patterns(changed, texts, due_days=14)[0].silent_orders


def test_a_shop_that_names_no_product_seller_or_region_has_no_patterns() -> None:
    snapshot, texts = shop().at(DAY)
    bare = replace(snapshot, order_lines=snapshot.order_lines.clear(), customers=snapshot.customers.clear())
    assert find_patterns(bare, texts, due_days=14) == []


def test_a_lot_of_no_known_product_is_found_too() -> None:
    snapshot, texts = shop().at(DAY)
    lines = snapshot.order_lines.with_columns(
        product_id=pl.when(pl.col("lot") != "B4-1").then("product_id"), seller_id=pl.lit(None, dtype=pl.String)
    )
    keys = [one.cell.key for one in find_patterns(replace(snapshot, order_lines=lines), texts, due_days=14)]
    assert keys == ["lot::B4-1"]


def test_without_any_trouble_there_is_no_pattern() -> None:
    snapshot, texts = shop().at(DAY)
    calm = snapshot.touchpoints.filter(pl.col("kind") == "delivered")
    assert find_patterns(replace(snapshot, touchpoints=calm), texts, due_days=14) == []


def test_too_young_a_shop_is_told_so() -> None:
    with pytest.raises(NotEnoughDataError, match="100"):
        found(day=30.0)


def test_an_empty_shop_is_told_so() -> None:
    frames = {name: pl.DataFrame(schema=dict(FRAMES[name][0])) for name in FRAMES}
    with pytest.raises(NotEnoughDataError):
        find_patterns(Snapshot(**frames, until=START), shop().texts.clear(), due_days=14)


@pytest.mark.parametrize(
    ("text", "topic"),
    [
        ("The vacuum does NOT charge any more", "charging"),
        ("Das Gerät lädt nicht", "charging"),
        ("Onde está? A entrega ATRASOU", "delivery"),
        ("A part is missing in the box.", "missing"),
        ("Es funktioniert nicht", "quality"),
        ("I was charged twice", "billing"),
        ("<script>alert(1)</script>", None),
        ("discharge of duties", None),
        ("\x00\x1b[31m" * 5000, None),
    ],
)
def test_what_a_text_is_about(text: str, topic: str | None) -> None:
    about = topics_of(pl.Series([text])).to_list()[0]
    assert topic in about if topic else about == []


@given(st.text(max_size=300))
def test_nothing_of_a_text_comes_out_but_our_own_names(text: str) -> None:
    assert set(topics_of(pl.Series([text], dtype=pl.String)).to_list()[0]) <= set(topics())


def test_topics_do_not_bear_the_names_of_kinds() -> None:
    assert not set(topics()) & {*KINDS, ANY}
