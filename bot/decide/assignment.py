"""The draw: which arm of a playbook's experiment a customer belongs to, and how probable that was.

A salted hash of customer and experiment decides, so that the draw needs no memory, is the same on every
machine, and nobody who sees a suggestion can influence it. Storing the draw is `bot.store.planning`'s business.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["HOLDOUT", "TREATMENT", "Arm", "Assignment", "arms", "draw", "uniform"]

HOLDOUT = "holdout"
TREATMENT = "treatment"


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One arm and its share of all customers, in [0, 1]."""

    name: str
    share: float


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """A customer's arm and the probability with which it was drawn.

    Attributes
    ----------
    allocation_id : int or None
        The shares in force, where they move with the outcomes.
    everywhere : bool
        Held out from every playbook, not from one.
    """

    arm: str
    propensity: float
    allocation_id: int | None = None
    everywhere: bool = False

    @property
    def holdout(self) -> bool:
        """Whether the customer is not to be contacted."""
        return self.arm == HOLDOUT


def uniform(salt: str, experiment: str, customer_key: str) -> float:
    """Map a customer and an experiment to a number that is uniform on [0, 1).

    The first 53 bits of SHA-256 fill a double exactly. Lengths are part of what is hashed, so that no two
    triples run together.
    """
    text = f"{len(salt)}:{salt}|{len(experiment)}:{experiment}|{customer_key}"
    digest = hashlib.sha256(text.encode()).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / (1 << 53)


def arms(holdout_share: float, variants: Sequence[Arm] = ()) -> tuple[Arm, ...]:
    """Return the arms of an experiment: the holdout first, then the variants sharing the rest.

    Parameters
    ----------
    holdout_share : float
        Share that is not contacted, in [0, 1).
    variants : sequence of Arm
        Their shares are weights; without any there is one arm `treatment`.
    """
    if not 0 <= holdout_share < 1:
        raise ValueError(f"a holdout share is in [0, 1), not {holdout_share}")
    treated = tuple(variants) or (Arm(name=TREATMENT, share=1.0),)
    total = sum(variant.share for variant in treated)
    if total <= 0 or any(variant.share < 0 for variant in treated):
        raise ValueError("the shares of variants are positive")
    rest = 1 - holdout_share
    return (
        Arm(name=HOLDOUT, share=holdout_share),
        *(Arm(name=variant.name, share=rest * variant.share / total) for variant in treated),
    )


def draw(salt: str, experiment: str, customer_key: str, choices: Sequence[Arm]) -> Assignment:
    """Draw the arm of one customer; the same arguments always give the same arm."""
    number = uniform(salt, experiment, customer_key)
    passed = 0.0
    possible = [arm for arm in choices if arm.share > 0]
    for arm in possible:
        passed += arm.share
        if number < passed:
            return Assignment(arm=arm.name, propensity=arm.share)
    last = possible[-1]  # the shares add up to a hair under 1
    return Assignment(arm=last.name, propensity=last.share)
