"""What `report lift` says to people, in sentences; what they rest on is `lift`."""

from __future__ import annotations

from bot.decide.effect import FEWEST, Effect, Reading
from bot.decide.ratio import Ratio
from bot.decide.sequential import MOST
from bot.services.prediction.labelling import CHURN, ISSUE

__all__ = ["BAD", "harm_sentence", "points", "result_sentence"]

BAD = {ISSUE: "had a problem", CHURN: "did not order again"}
_HARMS = {"opt_out": "opted out", "complaint": "complained", "ticket_opened": "opened a ticket"}
_LOOK_FOR = (
    "look for outcomes that are seen in one arm only (ratings come more often from those who were written to), for customers "
    "erased or rows deleted, and for changes to shares or salt that were made by hand"
)


def result_sentence(
    effect: Effect,
    reading: Reading,
    *,
    outcome: str,
    always: tuple[float, float],
    chance_helps: float | None,
    more_customers: int | None,
    ratio: Ratio,
) -> str:
    """Say what came of an experiment, and what is missing where nothing may be said yet."""
    treated, holdout = effect.treated, effect.holdout
    chance = "" if chance_helps is None else f"{_chance(chance_helps)} that it helps"
    if reading is Reading.MISMATCH:
        counts = ", ".join(
            f"{ratio.observed.get(arm, 0)} in {arm or 'the other arm'} where about {due:.0f} were meant"
            for arm, due in sorted(ratio.expected.items())
        )
        return f"not to be read: the arms are not as large as they were drawn ({counts}); {_LOOK_FOR}"
    if reading is Reading.TOO_FEW:
        so_far = f"; so far {chance}" if chance else ""
        return (
            f"too few to say: {treated.n} customers drawn to be contacted, {holdout.n} held out, "
            f"at least {FEWEST} of each and some bad outcomes are needed{so_far}"
        )
    if reading is Reading.UNDECIDED:
        said = f"not decided: {chance}; {_missing(more_customers)}"
    else:
        said = "it helps" if reading is Reading.HELPS else "it harms"
    return (
        f"{treated.value:.1%} of {treated.n} drawn to be contacted {BAD.get(outcome, outcome)}, "
        f"{holdout.value:.1%} of {holdout.n} held out: {points(effect.difference)} points "
        f"[{points(effect.low)}, {points(effect.high)}], whenever one looks [{points(always[0])}, {points(always[1])}]; {said}"
    )


def harm_sentence(kind: str, effect: Effect) -> str:
    """Say how many of either arm did what nobody wants."""
    return (
        f"{effect.treated.value:.1%} of those drawn to be contacted {_HARMS.get(kind, kind)}, {effect.holdout.value:.1%} of "
        f"those held out: {points(effect.difference)} points [{points(effect.low)}, {points(effect.high)}]"
    )


def points(share: float) -> str:
    """Write a difference of shares in points."""
    return f"{share * 100:+.1f}"


def _chance(chance: float) -> str:
    """Write a chance; what is nearly sure is not decided for that, so no 100 % stands beside "not decided"."""
    if chance > 0.99:
        return "more than a 99% chance"
    return "less than a 1% chance" if chance < 0.01 else f"{chance:.0%} chance"


def _missing(more_customers: int | None) -> str:
    if more_customers is None:
        return f"more than {MOST:,} more customers would be needed to decide"
    if more_customers == 0:
        return "it is decided for this one, but not among so many"
    step = 10 ** max(len(str(more_customers)) - 2, 0)
    return f"about {-(-more_customers // step) * step:,} more customers to decide, if it stays as it is"
