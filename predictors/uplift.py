"""Who gains from being contacted: the learner that the product uses, and when it is unlocked.

The learners that it is made of stand in `predictors.learners`. Whether enough outcomes were observed is asked by the service.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np

from predictors.errors import LockedError
from predictors.frames import Array
from predictors.learners import GainLearner, SLearner, XLearner

# Outcomes that each arm needs before a ranking by gain is more than noise.
MIN_OUTCOMES_PER_ARM = 300
# So many yes-or-no features, the most evenly split ones, are looked at in pairs.
MOST_FLAGS = 6


class UpliftModel(GainLearner):
    """Expected gain in probability from treating: the mean of a linear S-learner and of an additive X-learner.

    The S-learner's slopes bear few rows; the X-learner's boosted stumps see what is no straight line. Both also see which
    yes-or-no features hold together: who bought for men and for women may gain more than the sum says.

    Parameters
    ----------
    C : float
        Inverse penalty of the logistic regressions of both.
    rounds : int
        Boosted stumps of the X-learner.
    seed : int
        Of the X-learner.
    """

    def __init__(self, C: float = 0.02, rounds: int = 50, seed: int = 0) -> None:
        self.C = C
        self.rounds = rounds
        self.seed = seed

    def learn(self, matrix: Array, arm: Array, target: Array, propensity: Array | None) -> None:
        self.pairs_ = self._pairs_of_flags(matrix)
        both = self._both(matrix)
        self.pair_means_ = both.mean(axis=0)
        self.pair_scales_ = np.where(both.std(axis=0) > 0, both.std(axis=0), 1.0)
        matrix = self._with_pairs(matrix)
        self.members_ = (SLearner(C=self.C), XLearner(C=self.C, rounds=self.rounds, seed=self.seed))
        for member in self.members_:
            member.learn(matrix, arm, target, propensity)

    def gain(self, matrix: Array) -> Array:
        matrix = self._with_pairs(matrix)
        result: Array = np.mean([member.gain(matrix) for member in self.members_], axis=0)
        return result

    def _pairs_of_flags(self, matrix: Array) -> list[tuple[int, int]]:
        numbers = [place for place, name in enumerate(self.encoder_.feature_names_) if name in self.encoder_.columns_]
        flags = [place for place in numbers if len(np.unique(matrix[:, place])) == 2]
        evenness = {place: min(np.mean(matrix[:, place] > 0), np.mean(matrix[:, place] <= 0)) for place in flags}
        chosen = sorted(flags, key=lambda place: (-evenness[place], place))[:MOST_FLAGS]
        return list(combinations(sorted(chosen), 2))

    def _both(self, matrix: Array) -> Array:
        """Return one column a pair: 1 where both hold; a standardised flag holds where it is above its mean."""
        columns = [(matrix[:, one] > 0) & (matrix[:, other] > 0) for one, other in self.pairs_]
        return np.column_stack(columns).astype(np.float64) if columns else np.empty((len(matrix), 0))

    def _with_pairs(self, matrix: Array) -> Array:
        return np.column_stack([matrix, (self._both(matrix) - self.pair_means_) / self.pair_scales_])


def require_outcomes(treated: int, untreated: int) -> None:
    """Refuse while an arm has too few outcomes.

    Raises
    ------
    LockedError
        With how many are there and how many are needed.
    """
    if min(treated, untreated) < MIN_OUTCOMES_PER_ARM:
        raise LockedError(
            f"uplift is locked: outcomes of {treated} customers drawn to be contacted and of {untreated} held out are "
            f"known; it needs {MIN_OUTCOMES_PER_ARM} of each. Until then check-ins are ranked by risk"
        )
