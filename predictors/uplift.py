"""Who gains from being contacted: the learner that the product uses, and when it is unlocked.

The learners that it is made of stand in `predictors.learners`. Whether enough outcomes were observed is asked by the service.
"""

from __future__ import annotations

import numpy as np

from predictors.errors import LockedError
from predictors.frames import Array
from predictors.learners import GainLearner, SLearner, XLearner

# Outcomes that each arm needs before a ranking by gain is more than noise.
MIN_OUTCOMES_PER_ARM = 300


class UpliftModel(GainLearner):
    """Expected gain in probability from treating: the mean of a linear S-learner and of an additive X-learner.

    The S-learner's slopes bear few rows; the X-learner's boosted stumps see what is no straight line.

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
        self.members_ = (SLearner(C=self.C), XLearner(C=self.C, rounds=self.rounds, seed=self.seed))
        for member in self.members_:
            member.learn(matrix, arm, target, propensity)

    def gain(self, matrix: Array) -> Array:
        result: Array = np.mean([member.gain(matrix) for member in self.members_], axis=0)
        return result


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
