"""Reading one effect in many segments without finding what is not there.

Of twenty segments one looks special by chance. So a segment counts as found only past a control of false discoveries, and
what is shown of each is drawn towards the whole as far as the segments differ no more than chance would make them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Measured", "discoveries", "shrunken"]

# At most this share of the segments that are called special is expected to be so by chance alone.
FALSE_DISCOVERIES = 0.05


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A difference in one segment with its standard error."""

    difference: float
    error: float


def discoveries(log_evidence: Sequence[float]) -> list[bool]:
    """Say which of several hypotheses of no effect are refuted, with at most 5 % false ones expected among them.

    e-BH: the k with the largest evidence e, for the largest k whose smallest e is at least K/(k·0.05). Needs no independence
    and holds whenever one looks (Wang & Ramdas, False discovery rate control with e-values, J. Royal Statistical Society B
    84 (2022), 822–852).

    Parameters
    ----------
    log_evidence : sequence of float
        As `bot.decide.sequential.wealth` gives it, one a hypothesis.
    """
    order = sorted(range(len(log_evidence)), key=lambda at: -log_evidence[at])
    found = 0
    for k, at in enumerate(order, start=1):
        if log_evidence[at] >= math.log(len(order) / (k * FALSE_DISCOVERIES)):
            found = k
    return [at in set(order[:found]) for at in range(len(order))]


def shrunken(measured: Sequence[Measured]) -> list[float]:
    """Return each segment's difference, drawn towards their common mean by how much of it is noise.

    The variance between segments by DerSimonian & Laird, Controlled Clinical Trials 7 (1986), 177–188; where it is nothing,
    all segments have the common difference.
    """
    if len(measured) < 2:
        return [one.difference for one in measured]
    weights = [1 / one.error**2 for one in measured]
    total = sum(weights)
    mean = sum(weight * one.difference for weight, one in zip(weights, measured, strict=True)) / total
    spread = sum(weight * (one.difference - mean) ** 2 for weight, one in zip(weights, measured, strict=True))
    scale = total - sum(weight * weight for weight in weights) / total
    between = max(0.0, (spread - (len(measured) - 1)) / scale)
    if between == 0:
        return [mean] * len(measured)
    whole = [1 / (one.error**2 + between) for one in measured]
    common = sum(weight * one.difference for weight, one in zip(whole, measured, strict=True)) / sum(whole)
    return [(between * one.difference + one.error**2 * common) / (between + one.error**2) for one in measured]
