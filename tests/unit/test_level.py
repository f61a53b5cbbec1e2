"""How far the level runs ahead of refits: learned only from what would have been known, used only where it had helped."""

from __future__ import annotations

import pickle
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from predictors import level
from predictors.calibration import SlopeCalibrator
from predictors.frames import Array, expit, logit
from predictors.learning_rows import LabelledRows
from predictors.level import MONTH_DAYS, MONTHS, ForwardMonth, forward_months, level_shift, mean_shift

START = datetime(2026, 1, 1, tzinfo=UTC)
ROWS = 2000


def month(number: int, shift: float, *, wait_days: float = 10.0, rows: int = ROWS) -> ForwardMonth:
    """Return a month in which exactly the share of outcomes comes that the shifted probabilities expect."""
    z = np.linspace(-3.0, 0.0, rows)
    y = (np.cumsum(expit(z + shift)) % 1.0 < expit(z + shift)).astype(np.int64)
    start = START + timedelta(days=MONTH_DAYS * number)
    known_at = [start + timedelta(days=MONTH_DAYS * row / rows + wait_days) for row in range(rows)]
    return ForwardMonth(start=start, z=z, y=y, known_at=pl.Series(known_at), weights=np.ones(rows))


def months(*shifts: float, **how: float) -> list[ForwardMonth]:
    """Return months with these shifts, the earliest given first, as `forward_months` orders them."""
    return [month(number, shift, **how) for number, shift in enumerate(shifts)][::-1]  # type: ignore[arg-type]


def test_a_level_that_stays_ahead_of_refits_is_followed_by_a_shrunk_shift() -> None:
    shift = level_shift(months(0.3, 0.3, 0.3, 0.3))
    assert 0.2 < shift < 0.26  # four months against one imagined month that was right, each a little noisy
    assert level_shift(months(-0.3, -0.3, -0.3, -0.3)) == pytest.approx(-shift, abs=0.02)


def test_a_level_that_turns_is_not_followed() -> None:
    assert level_shift(months(0.3, -0.3, 0.3, -0.3, wait_days=0.0)) == 0.0
    assert level_shift(months(0.5, 0.3, -0.1, -0.3)) == 0.0


def test_a_level_that_refits_meet_is_left_alone() -> None:
    assert level_shift(months(0.0, 0.0, 0.0, 0.0)) == pytest.approx(0.0, abs=0.01)


def test_nothing_is_used_that_was_not_judged_before() -> None:
    assert level_shift([]) == 0.0
    assert level_shift(months(0.5)) == 0.0
    # Nothing of a month was known when the others began: there is nothing to say that it would have helped.
    assert level_shift(months(0.3, 0.3, 0.3, wait_days=300.0)) == 0.0


def test_an_outcome_that_was_not_known_at_the_beginning_of_a_month_does_not_vote_there() -> None:
    """Half of the first month's outcomes say that the level fell, the other half that it rose: as it did in the second."""
    first, second = month(0, -0.4), month(1, 0.4)
    half = ROWS // 2
    y = np.concatenate([first.y[:half], month(0, 1.0).y[half:]])
    late = first.known_at.to_list()[:half] + [second.start + timedelta(days=1)] * half
    in_time = first.known_at.to_list()[:half] + [second.start] * half
    parts = [replace(first, y=y, known_at=pl.Series(known)) for known in (late, in_time)]
    assert [level_shift([second, part]) > 0 for part in parts] == [False, True]


def test_few_outcomes_move_the_level_less() -> None:
    assert abs(mean_shift(months(0.3, rows=60))) < abs(mean_shift(months(0.3))) < 0.3


def test_a_row_that_stands_for_many_counts_as_many() -> None:
    one = month(0, 0.3)
    lost = (one.y == 1) & (np.arange(ROWS) % 2 == 0)  # every second issue was prevented by a contact, and is left out
    weights = np.where(one.y == 1, 2.0, 1.0)[~lost]
    left = replace(one, z=one.z[~lost], y=one.y[~lost], known_at=one.known_at.filter(pl.Series(~lost)), weights=weights)
    assert mean_shift([left]) == pytest.approx(mean_shift([one]), abs=0.03)
    assert mean_shift([replace(left, weights=np.ones(len(weights)))]) < mean_shift([one]) - 0.2


def rising(step: float, orders: int = 9000) -> LabelledRows:
    """Return orders over eight months in which the log-odds of an issue rise by a step a month."""
    rng = np.random.default_rng(4)
    day = np.sort(rng.uniform(0, 8 * MONTH_DAYS, orders))
    signal = rng.normal(0, 1, orders)
    chance = expit(-2.0 + signal + step * day / MONTH_DAYS)
    placed = [START + timedelta(days=float(one)) for one in day]
    frame = pl.DataFrame(
        {
            "order_id": np.arange(orders),
            "moment": placed,
            "signal": signal,
            "issue": (rng.random(orders) < chance).astype(np.int8),
            "known_at": [one + timedelta(days=20) for one in placed],
        }
    )
    return LabelledRows(frame=frame, features=["signal"])


@pytest.fixture(scope="module")
def shop() -> LabelledRows:
    return rising(0.15)


def test_refits_come_too_late_for_a_rising_level_and_the_shift_says_by_how_much(shop: LabelledRows) -> None:
    found = forward_months(shop)
    assert [one.start for one in found] == sorted((one.start for one in found), reverse=True)
    assert len(found) == MONTHS
    shifts = [mean_shift([one]) for one in found]
    assert min(shifts) > 0.0
    assert level_shift(found) > 0.15


def test_a_month_is_asked_of_a_refit_that_knew_only_what_was_known_at_its_beginning(
    shop: LabelledRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[float] = []

    class Watching(level.LogisticModel):
        def fit(self, X: pl.DataFrame, y: Array, sample_weight: Array | None = None) -> Watching:
            seen.append(len(y))
            super().fit(X, y, sample_weight=sample_weight)
            return self

    monkeypatch.setattr(level, "LogisticModel", Watching)
    found = forward_months(shop)
    assert seen == [shop.frame.filter(pl.col("known_at") <= one.start).height for one in found]


def test_too_few_outcomes_to_learn_from_ask_about_no_month(shop: LabelledRows) -> None:
    assert forward_months(LabelledRows(frame=shop.frame[:0], features=shop.features)) == []
    assert forward_months(LabelledRows(frame=shop.frame[:400], features=shop.features)) == []


def test_the_shift_moves_all_log_odds_alike_and_keeps_the_slope() -> None:
    p = np.array([0.05, 0.2, 0.6])
    plain = SlopeCalibrator(slope=0.8, anchor=-1.0)
    moved = plain.shifted(0.3)
    np.testing.assert_allclose(logit(moved.transform(p)) - logit(plain.transform(p)), 0.3)
    np.testing.assert_allclose(moved.tempered(p), plain.transform(p))


def test_a_calibrator_that_was_stored_before_there_was_a_shift_still_answers() -> None:
    stored = SlopeCalibrator(slope=0.8, anchor=-1.0)
    del stored.__dict__["shift"]
    again = pickle.loads(pickle.dumps(stored))
    np.testing.assert_allclose(again.transform(np.array([0.2])), stored.tempered(np.array([0.2])))
