"""Curves, bins and shares, against what the definitions say on small cases and for all."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictors.curves import precision_recall_line, reliability_bins, roc_line, wilson
from predictors.evaluation import average_precision, precision_at, roc_auc

CASES = st.lists(
    st.tuples(st.integers(0, 1), st.sampled_from([0.05, 0.1, 0.2, 0.4, 0.4, 0.8])), min_size=2, max_size=60
)


def _arrays(rows: list[tuple[int, float]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([y for y, _ in rows]), np.array([p for _, p in rows])


@given(CASES)
def test_the_area_under_the_drawn_roc_curve_is_the_auc(rows: list[tuple[int, float]]) -> None:
    y, p = _arrays(rows)
    line = roc_line(y, p)
    if len(set(y)) == 1:
        assert len(line.x) == 0
    else:
        assert np.trapezoid(line.y, line.x) == pytest.approx(roc_auc(y, p))


@given(CASES)
def test_the_steps_of_the_drawn_precision_recall_curve_add_up_to_average_precision(
    rows: list[tuple[int, float]],
) -> None:
    y, p = _arrays(rows)
    line = precision_recall_line(y, p)
    if not y.sum():
        assert len(line.x) == 0
    else:
        assert (np.diff(line.x) >= 0).all()
        assert line.x[-1] == 1.0
        # Points on a straight fall may be left out, but none that gains recall.
        assert float(np.sum(np.diff(line.x, prepend=0.0) * line.y)) == pytest.approx(average_precision(y, p))


@given(CASES, st.permutations(range(60)))
def test_precision_at_a_share_does_not_hang_on_the_order_of_the_rows(
    rows: list[tuple[int, float]], order: list[int]
) -> None:
    y, p = _arrays(rows)
    shuffled = [i for i in order if i < len(y)]
    shares = np.array([0.1, 0.25, 0.5, 1.0])
    found = precision_at(y, p, shares)
    assert found == pytest.approx(precision_at(y[shuffled], p[shuffled], shares))
    assert found[-1] == pytest.approx(y.mean())


def test_equal_probabilities_are_drawn_at_random_from_among_themselves() -> None:
    y, p = np.array([1, 0, 1, 0]), np.array([0.9, 0.5, 0.5, 0.1])
    assert precision_at(y, p, np.array([0.25, 0.5, 0.75])).tolist() == pytest.approx([1.0, 0.75, 2 / 3])


@given(CASES)
def test_the_bins_of_a_reliability_plot_hold_every_row_once_within_intervals(rows: list[tuple[int, float]]) -> None:
    y, p = _arrays(rows)
    bins = reliability_bins(y, p)
    assert bins.rows.sum() == len(y)
    assert float(bins.rows @ bins.observed) == pytest.approx(y.sum())
    assert float(bins.rows @ bins.predicted) == pytest.approx(p.sum())
    assert ((bins.low <= bins.observed + 1e-12) & (bins.observed <= bins.high + 1e-12)).all()
    assert (np.diff(bins.predicted) > 0).all()


def test_wilsons_interval_is_the_published_one() -> None:
    # Newcombe (Statistics in Medicine 1998), table I: 81 of 263 and 0 of 20.
    low, high = wilson(np.array([81 / 263, 0.0]), np.array([263.0, 20.0]))
    assert low.tolist() == pytest.approx([0.2553, 0.0], abs=1e-4)
    assert high.tolist() == pytest.approx([0.3662, 0.1611], abs=1e-4)


def test_no_rows_give_no_points() -> None:
    y, p = np.empty(0, dtype=np.int64), np.empty(0)
    assert len(roc_line(y, p).x) == len(precision_recall_line(y, p).x) == len(reliability_bins(y, p).rows) == 0
    assert np.isnan(precision_at(y, p, np.array([0.1]))).all()
