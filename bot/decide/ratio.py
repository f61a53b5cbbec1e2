"""Whether the arms are as large as they were meant to be. If not, something lost customers of one arm, and no result may be read.

The commonest causes lie outside the draw: outcomes that are seen in one arm only, rows that were deleted, drafts that fail
in one variant.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["SUSPICIOUS", "Ratio", "check_ratio", "chi_square_above", "expected_counts"]

# Fabijan et al., Diagnosing sample ratio mismatch in online controlled experiments, KDD 2019, use 0.0005: somebody looks
# every day at many playbooks, and a false alarm costs all trust in the alarm.
SUSPICIOUS = 0.0005
# Pearson's statistic is one of chi-square only where this many are expected in each arm.
FEWEST_EXPECTED = 5.0


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """How many customers each arm has and was meant to have; `p` is None where there are too few to ask."""

    observed: Mapping[str, int]
    expected: Mapping[str, float]
    p: float | None

    @property
    def mismatch(self) -> bool:
        """Whether chance alone does not explain the difference."""
        return self.p is not None and self.p < SUSPICIOUS


def expected_counts(drawn: Sequence[tuple[str, float, Mapping[str, float] | None]]) -> dict[str, float]:
    """Return how many customers each arm was meant to have.

    Parameters
    ----------
    drawn : sequence of (arm, propensity, shares)
        `shares` are those of all arms at that draw; None: only the propensity of the arm drawn is known. Then an arm's
        share is the harmonic mean of its propensities, and what they leave of 1 belongs to an arm that nobody is in, `""`.
    """
    expected: dict[str, float] = {}
    unknown: dict[str, list[float]] = {}
    for arm, propensity, shares in drawn:
        if shares is None:
            unknown.setdefault(arm, []).append(propensity)
        else:
            for name, share in shares.items():
                expected[name] = expected.get(name, 0.0) + share
    total = sum(len(found) for found in unknown.values())
    left = float(total)
    for arm, found in unknown.items():
        meant = total * len(found) / sum(1 / one for one in found)
        expected[arm] = expected.get(arm, 0.0) + meant
        left -= meant
    if left > 1e-6 * max(total, 1):
        expected[""] = expected.get("", 0.0) + left
    return expected


def check_ratio(observed: Mapping[str, int], expected: Mapping[str, float]) -> Ratio:
    """Compare by Pearson's chi-square; arms of which next to nothing is expected are taken together with another."""
    names = sorted(set(observed) | set(expected), key=lambda name: expected.get(name, 0.0))
    cells: list[tuple[float, float]] = []
    seen, meant = 0.0, 0.0
    for name in names:
        seen, meant = seen + observed.get(name, 0), meant + expected.get(name, 0.0)
        if meant >= FEWEST_EXPECTED:
            cells.append((seen, meant))
            seen, meant = 0.0, 0.0
    p = None
    if len(cells) >= 2:
        p = chi_square_above(sum((seen - meant) ** 2 / meant for seen, meant in cells), len(cells) - 1)
    return Ratio(observed=dict(observed), expected=dict(expected), p=p)


def chi_square_above(statistic: float, freedom: int) -> float:
    """Return the probability that a chi-square variable of whole degrees of freedom is above a value.

    Q(k/2, x/2) by the recurrence Q(a + 1, x) = Q(a, x) + x^a e^−x / Γ(a + 1) from Q(1/2, x) = erfc √x and Q(1, x) = e^−x
    (NIST Digital Library of Mathematical Functions, 8.8.6).
    """
    x = statistic / 2
    if x <= 0:
        return 1.0
    a = 0.5 if freedom % 2 else 1.0
    value = math.erfc(math.sqrt(x)) if freedom % 2 else math.exp(-x)
    while a < freedom / 2:
        value += math.exp(a * math.log(x) - x - math.lgamma(a + 1))
        a += 1
    return min(value, 1.0)
