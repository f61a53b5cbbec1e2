"""Running sums by keys with few rows each, which are added up a step at a time: the same to the last bit."""

from __future__ import annotations

import gc
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from bot.store.bulk import few_collections
from predictors import running
from predictors.running import Sums, running_sums
from predictors.snapshot import INSTANT


@pytest.mark.parametrize("most_steps", [0, 512], ids=["key by key", "a step at a time"])
@pytest.mark.parametrize("rows", [0, 1, 400])
def test_both_ways_of_adding_up_are_one_loop_over_the_rows(
    monkeypatch: pytest.MonkeyPatch, most_steps: int, rows: int
) -> None:
    monkeypatch.setattr(running, "MOST_STEPS", most_steps)
    rng = np.random.default_rng(4)
    began = datetime(2026, 1, 1, tzinfo=UTC)
    facts = pl.DataFrame(
        {
            # Some keys with many rows, most with one or two, and rows without a key.
            "key": [None if one % 9 == 0 else int(one**2 // 300) for one in rng.integers(0, 300, rows)],
            "available_at": [began + timedelta(minutes=number // 3) for number in range(rows)],
            "one": rng.normal(0, 1e6, rows),
            "other": np.where(rng.random(rows) < 0.5, 0.0, rng.normal(0, 1e-3, rows)),
        },
        schema={"key": pl.Int64, "available_at": INSTANT, "one": pl.Float64, "other": pl.Float64},
    )
    wanted = Sums(column="key", prefix="_k_", whole=["one", "other"])
    found = running_sums(facts, wanted)
    sums: dict[int, list[float]] = {}
    expected = []
    for key, at, one, other in facts.drop_nulls("key").iter_rows():
        so_far = sums.setdefault(key, [0.0, 0.0])
        so_far[0], so_far[1] = so_far[0] + one, so_far[1] + other
        expected.append((key, at, *so_far))
    assert_frame_equal(found, pl.DataFrame(expected, schema=found.schema, orient="row"), check_exact=True)


def test_the_collector_looks_as_before_once_the_rows_have_passed_or_failed() -> None:
    before = gc.get_threshold()
    seen = []

    def failing() -> None:
        with few_collections():
            seen.append(gc.get_threshold())
            raise ValueError

    with pytest.raises(ValueError):
        failing()
    assert seen != [before]
    assert gc.get_threshold() == before
