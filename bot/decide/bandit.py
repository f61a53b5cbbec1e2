"""Which share each variant gets next, by what came of those before: Thompson sampling under a budget, with an end.

Disruption is controlled: variants other than the leading one never get more than a budget together, each gets a floor, so that
its propensity stays known and away from zero, one that is as good as lost stops, and the whole ends at a decision or a date.
Drawing customers by the shares is `bot.decide.assignment`'s business, keeping them `bot.services.experiments.allocating`'s.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from bot.decide.chance import Tally, chances_of_lowest

__all__ = ["Allocation", "AllocationWay", "Exploration", "allocate"]

# A variant is not stopped on fewer customers than these.
FEWEST = 30
# So often a losing variant is looked for in one go: each may make another one lose.
ROUNDS = 20


class AllocationWay(StrEnum):
    """Why shares are what they are."""

    BEGUN = "begun"  # nothing is known yet
    MOVED = "moved"  # by outcomes
    STOPPED = "stopped"  # a variant lost
    DECIDED = "decided"  # one variant is left: the experiment is over
    EXPIRED = "expired"  # its time is over: the leading variant stays

    @property
    def ended(self) -> bool:
        """Whether variants are compared no more."""
        return self in (AllocationWay.DECIDED, AllocationWay.EXPIRED)


@dataclass(frozen=True, kw_only=True)
class Exploration:
    """How far trying out may go.

    Attributes
    ----------
    floor : float
        Least share of those contacted that each variant still in the experiment gets, in (0, 1).
    budget : float
        Most that all variants but the leading one get together, in (0, 1].
    stop_below : float
        A variant with a smaller chance of being the best than this is stopped.
    days : int
        The experiment expires after so many days.
    """

    floor: float
    budget: float
    stop_below: float
    days: int


@dataclass(frozen=True, kw_only=True)
class Allocation:
    """The shares of variants among those contacted, and how they came about.

    Attributes
    ----------
    shares : mapping of str to float
        They add up to 1; a stopped variant has 0.
    chances : mapping of str to float
        How probable it is that a variant is the best of those still in the experiment.
    """

    way: AllocationWay
    shares: Mapping[str, float]
    chances: Mapping[str, float]
    leading: str
    stopped: tuple[str, ...]


def allocate(
    tallies: Mapping[str, Tally],
    stopped: Collection[str],
    rules: Exploration,
    *,
    began: datetime,
    now: datetime,
) -> Allocation:
    """Return the shares from now on.

    Thompson sampling draws a variant as often as it is probable to be the best (W. R. Thompson, Biometrika 25 (1933),
    285–294); that probability is integrated here instead of sampled, so that it is the propensity of the draw.

    Parameters
    ----------
    tallies : mapping of str to Tally
        Outcomes known so far, of every variant, in the order of the file; those drawn lately have none yet.
    stopped : collection of str
        Variants that lost before; they stay out.
    """
    left = [name for name in tallies if name not in stopped] or list(tallies)
    chances = _chances(tallies, left)
    for _ in range(ROUNDS):
        lost = [name for name in left if tallies[name].n >= FEWEST and chances[name] < rules.stop_below]
        lost = [name for name in lost if name != max(chances, key=lambda one: chances[one])]
        if not lost:
            break
        left = [name for name in left if name not in lost]
        chances = _chances(tallies, left)
    leading = max(left, key=lambda name: chances[name])
    out = tuple(name for name in tallies if name not in left)
    if len(left) == 1:
        way = AllocationWay.DECIDED
    elif now - began >= timedelta(days=rules.days):
        way = AllocationWay.EXPIRED
    elif set(out) - set(stopped):
        way = AllocationWay.STOPPED
    else:
        way = AllocationWay.MOVED if any(tally.n for tally in tallies.values()) else AllocationWay.BEGUN
    shares = {leading: 1.0} if way.ended else _within(chances, leading, rules)
    return Allocation(
        way=way,
        shares={name: shares.get(name, 0.0) for name in tallies},
        chances=chances,
        leading=leading,
        stopped=out,
    )


def _chances(tallies: Mapping[str, Tally], names: Collection[str]) -> dict[str, float]:
    return dict(zip(names, chances_of_lowest([tallies[name] for name in names]), strict=True))


def _within(chances: Mapping[str, float], leading: str, rules: Exploration) -> dict[str, float]:
    """Keep the floor of each and the budget of all but the leading one; where both cannot be, the budget."""
    others = [name for name in chances if name != leading]
    floor = min(rules.floor, 1 / len(chances), rules.budget / len(others))
    shares = {name: floor + (1 - len(chances) * floor) * chances[name] for name in others}
    spent, least = sum(shares.values()), floor * len(others)
    if spent > rules.budget:
        scale = (rules.budget - least) / (spent - least) if spent > least else 0.0
        shares = {name: floor + (share - floor) * scale for name, share in shares.items()}
    return {leading: 1 - sum(shares.values()), **shares}
