"""What may be said of a difference by somebody who looks every day and stops as soon as they like what they see.

An interval made for one look is wrong half of the time for who looks for a year. Here is an e-process: what one would own
who had bet on a difference, fairly, against a shop where there is none. By Ville's inequality a true null is ever called a
difference in at most one of twenty experiments, however often one looks, whatever the base rate, and also where shares of
the arms changed on the way. The interval is all differences against which the same bets have not won enough.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

__all__ = ["ENOUGH", "Bet", "Drawn", "bets", "interval", "more_customers", "wealth"]

# log(1/0.05): who owns twenty times what they began with has shown that the null was false, up to one case in twenty.
ENOUGH = math.log(20)
# Bets are placed for so many customers at a time, later for a twentieth of all so far; whoever ends on the way is paid.
BET_SIZE = 20
GROWTH = 20
# An arm's share is first taken to be that of both arms together, with the weight of so many customers: betting on a
# difference before there is reason to costs more than it brings (found by simulation: benchmarks/experiments.py).
POOLED = 30.0
BISECTIONS = 40
PRECISION = 1e-4
# More customers than this is as good as never.
MOST = 100_000


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """One customer's outcome, in the order in which outcomes became known.

    Attributes
    ----------
    contacted : bool
        Into which of two arms they were drawn.
    bad : bool
        Whether the outcome is a bad end.
    probability : float
        How probable the contacted arm was, of these two, in (0, 1).
    """

    contacted: bool
    bad: bool
    probability: float


@dataclass(frozen=True, kw_only=True)
class Bet:
    """What was bet on some customers with the same probability before their outcomes were seen, and what came.

    Attributes
    ----------
    contacted, held : float
        The shares of bad ends on which was bet.
    counts : four of int
        Bad and good ends of the contacted, bad and good ends of those held out.
    """

    probability: float
    contacted: float
    held: float
    counts: tuple[int, int, int, int]


def bets(drawn: Sequence[Drawn]) -> list[Bet]:
    """Place bets on customers, each by the outcomes of those before; the order must not hang on arms or outcomes."""
    placed: list[Bet] = []
    bad, n = [0.0, 0.0], [0.0, 0.0]
    for start, end in _batches(len(drawn)):
        pooled = (sum(bad) + 0.5) / (sum(n) + 1)
        held, contacted = ((bad[arm] + POOLED * pooled) / (n[arm] + POOLED) for arm in (0, 1))
        counts: dict[float, list[int]] = {}
        for one in drawn[start:end]:
            counts.setdefault(one.probability, [0, 0, 0, 0])[2 * (not one.contacted) + (not one.bad)] += 1
            bad[one.contacted] += one.bad
            n[one.contacted] += 1
        placed += [
            Bet(probability=probability, contacted=contacted, held=held, counts=(of[0], of[1], of[2], of[3]))
            for probability, of in counts.items()
        ]
    return placed


def wealth(placed: Sequence[Bet], difference: float = 0.0) -> float:
    """Return the logarithm of what bets came to, in multiples of what was put in, against a difference being true.

    Each bet pays the likelihood of what was bet on over that of the nearest law under which the contacted arm's share is
    the other's plus `difference` (the reverse information projection; the law of arm and outcome together, with the arm's
    known probability). Whatever the shares are, the expected pay is at most 1 if the difference is true.

    Turner, Ly & Grünwald, Generic E-variables for exact sequential k-sample tests that allow for optional stopping,
    J. Statistical Planning and Inference 230 (2024), 106116; Ville's inequality: Ramdas, Grünwald, Vovk & Shafer,
    Game-theoretic statistics and safe anytime-valid inference, Statistical Science 38 (2023), 576–601.
    """
    total = 0.0
    for bet in placed:
        near = _nearest(bet, difference)
        bad_1, good_1, bad_0, good_0 = bet.counts
        total += bad_1 * math.log(bet.contacted / (near + difference))
        total += good_1 * math.log((1 - bet.contacted) / (1 - near - difference))
        total += bad_0 * math.log(bet.held / near) + good_0 * math.log((1 - bet.held) / (1 - near))
    return total


def interval(placed: Sequence[Bet], estimate: float) -> tuple[float, float]:
    """Return the 95 % interval of the difference that holds at all times at once.

    All differences against which the bets came to less than twenty times what was put in; ends are found by bisection
    between `estimate`, the difference seen, and what is possible.
    """

    def stands(difference: float) -> bool:
        return wealth(placed, difference) < ENOUGH

    middle = min(max(estimate, -1 + PRECISION), 1 - PRECISION)
    if not stands(
        middle
    ):  # early bets lost so much elsewhere that even what is seen now looks refuted: say what is left
        middle = min((step / 50 - 1 + 0.01 for step in range(100)), key=lambda one: wealth(placed, one))
        if not stands(middle):
            return middle, middle
    return _end(stands, middle, -1 + PRECISION), _end(stands, middle, 1 - PRECISION)


def more_customers(placed: Sequence[Bet], contacted: float, held: float, probability: float) -> int | None:
    """Return about how many more customers decide, if the shares are what they seem to be; None: more than MOST.

    What is missing of twenty times the stake, over what a bet on these shares brings a customer (in logarithms: the
    divergence of the two arms from what they share).
    """
    shared = probability * contacted + (1 - probability) * held
    gain = probability * _divergence(contacted, shared) + (1 - probability) * _divergence(held, shared)
    missing = max(ENOUGH - wealth(placed), 0.0)
    if gain * MOST <= missing:
        return None
    return math.ceil(missing / gain)


def _batches(n: int) -> Iterator[tuple[int, int]]:
    start = 0
    while start < n:
        end = min(start + max(BET_SIZE, start // GROWTH), n)
        yield start, end
        start = end


def _nearest(bet: Bet, difference: float) -> float:
    """Return the other arm's share in the law nearest to the bet among those with a difference."""
    share, contacted, held = bet.probability, bet.contacted, bet.held
    if difference == 0:
        return share * contacted + (1 - share) * held
    low, high = max(0.0, -difference), min(1.0, 1.0 - difference)
    for _ in range(BISECTIONS):
        q = (low + high) / 2
        slope = share * ((1 - contacted) / (1 - q - difference) - contacted / (q + difference))
        slope += (1 - share) * ((1 - held) / (1 - q) - held / q)
        if slope > 0:
            high = q
        else:
            low = q
    return (low + high) / 2


def _end(stands: Callable[[float], bool], inside: float, outside: float) -> float:
    if stands(outside):
        return math.copysign(1.0, outside)
    while abs(outside - inside) > PRECISION:
        middle = (inside + outside) / 2
        if stands(middle):
            inside = middle
        else:
            outside = middle
    return outside


def _divergence(p: float, q: float) -> float:
    return sum(a * math.log(a / b) for a, b in ((p, q), (1 - p, 1 - q)) if a > 0)
