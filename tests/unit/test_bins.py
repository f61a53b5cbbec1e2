"""Few values for many: what trees are grown on, and that they answer for the values themselves."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits

from predictors.bins import BINS, snapped
from predictors.frames import Array


@pytest.fixture(scope="module")
def matrix() -> Array:
    rng = np.random.default_rng(2)
    found = np.column_stack(
        [rng.normal(0, 1, 900), rng.integers(0, 4, 900), rng.exponential(3, 900), np.full(900, np.nan)]
    )
    found[rng.random(900) < 0.3, 2] = np.nan
    return found


def test_each_column_has_few_values_of_its_own_and_each_row_the_nearest(matrix: Array) -> None:
    found = snapped(matrix, 16)
    for place in (0, 2):
        known = ~np.isnan(matrix[:, place])
        kept = np.unique(found[known, place])
        assert 2 <= len(kept) <= 16
        assert set(kept) <= set(matrix[known, place])
        nearest = np.abs(matrix[known, place][:, None] - kept[None, :]).min(axis=1)
        np.testing.assert_allclose(np.abs(matrix[known, place] - found[known, place]), nearest)


def test_what_has_few_values_or_is_missing_stays_as_it_is(matrix: Array) -> None:
    before = matrix.copy()
    found = snapped(matrix, 16)
    np.testing.assert_array_equal(found[:, 1], matrix[:, 1])
    np.testing.assert_array_equal(np.isnan(found), np.isnan(matrix))
    np.testing.assert_array_equal(matrix, before)
    assert snapped(matrix[:0], 16).shape == (0, 4)


def test_trees_grown_on_few_values_answer_alike_for_the_values_themselves(matrix: Array) -> None:
    y = (np.nan_to_num(matrix[:, 0]) + np.nan_to_num(matrix[:, 2]) > 1.5).astype(int)
    few = snapped(matrix[:, :3], 16)
    with threadpool_limits(limits=1):
        model = HistGradientBoostingClassifier(max_iter=10, max_bins=BINS, early_stopping=False)
        model.fit(few, y, sample_weight=np.linspace(0.5, 1.5, len(y)))
        np.testing.assert_array_equal(model.predict_proba(few), model.predict_proba(matrix[:, :3]))
