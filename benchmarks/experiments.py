"""What experiments say in a shop whose truth is known, and what trying out variants costs.

    python -m benchmarks.experiments [--runs 1000] [--seasons 20]

Reading: a playbook that helps, one that changes nothing and one that harms, each in so many runs with the product's own draw
and reading (`bot.decide`), with agents who approve selectively, reject and edit. Told are: how often each is called what,
by somebody who looks once and by somebody who looks after every twenty customers; how often intervals hold the truth; and what
comparing the approved with the rejected, without a draw, would have said.

Trying out: seasons of a year with three variants, outcomes known after 45 days, shares moved daily by `bot.decide.bandit`; the
regret (customers who ended badly and would not have with the best variant, in expectation) beside that of an equal split.

The exit status is 1 where intervals hold the truth in less than 93 %, false winners are called in more than 5 %, a playbook
that helps or harms is found in less than 80 %, or the regret is not under half of the equal split's.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from benchmarks.shops.contacting import PLAYBOOKS, Drawn, Playbook, run, thompson_day, truth
from bot.decide import sequential
from bot.decide.assignment import Arm
from bot.decide.bandit import Exploration, allocate
from bot.decide.chance import Tally
from bot.decide.effect import FEWEST, Observation, Reading, measure
from predictors.frames import Array

CUSTOMERS, HOLDOUT = 3000, 0.2
COVERAGE, FALSE_WINS, POWER, REGRET = 0.93, 0.05, 0.8, 0.5
RATES = (0.22, 0.17, 0.12)
DAYS, A_DAY, HORIZON_DAYS = 365, 40, 45
RULES = Exploration(floor=0.05, budget=0.5, stop_below=0.01, days=DAYS)
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Found:
    """What was made of one run: at one look, at every look, and without a draw."""

    once: Reading
    always: Reading | None
    looks: int | None
    holds_once: bool
    holds_always: bool
    without: float
    without_reading: Reading


def main() -> int:
    """Measure, print, and say by the exit status whether all limits are kept."""
    parser = argparse.ArgumentParser(description="Hold experiments against a known truth.")
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--seasons", type=int, default=20)
    given = parser.parse_args()
    kept = [read(playbook, given.runs) for playbook in PLAYBOOKS]
    kept.append(try_out(given.seasons))
    return 0 if all(kept) else 1


def read(playbook: Playbook, runs: int) -> bool:
    """Print what is said of a playbook; return whether the limits are kept."""
    true = truth(playbook)
    found = [judge(run(playbook, seed, CUSTOMERS, HOLDOUT), true) for seed in range(runs)]
    wanted = {"helps": Reading.HELPS, "harms": Reading.HARMS}.get(playbook.name)
    once, always = _shares([one.once for one in found]), _shares([one.always or Reading.UNDECIDED for one in found])
    holds_once, holds_always = (
        float(np.mean([getattr(one, name) for one in found])) for name in ("holds_once", "holds_always")
    )
    looks = [one.looks for one in found if one.looks is not None]
    print(
        f"\n{playbook.name}: truth {true * 100:+.2f} points, {runs} runs of {CUSTOMERS} customers, {HOLDOUT:.0%} held out"
    )
    print(f"  one look at the end:  {once}; interval holds the truth in {holds_once:.1%}")
    print(f"  every 20 customers:   {always}; interval holds the truth at all looks in {holds_always:.1%}")
    if looks:
        print(f"  decided after {int(np.median(looks)):,} customers (median of {len(looks)})")
    without = np.array([one.without for one in found])
    wrong = np.mean([one.without_reading is not (wanted or Reading.UNDECIDED) for one in found])
    print(
        f"  approved against rejected, no draw: {without.mean() * 100:+.2f} points on average, "
        f"{(without.mean() - true) * 100:+.2f} off; says something false in {wrong:.1%}"
    )
    false_once = np.mean([one.once.decided and one.once is not wanted for one in found])
    false_always = np.mean([one.always is not None and one.always is not wanted for one in found])
    power = 1.0 if wanted is None else float(np.mean([one.always is wanted for one in found]))
    # Three standard errors of the simulation itself stand between a limit and being said to be broken at one look, none at
    # every look: that promise is exact.
    slack = 3 * (FALSE_WINS * (1 - FALSE_WINS) / runs) ** 0.5
    return bool(
        min(holds_once, holds_always) >= COVERAGE
        and false_once <= FALSE_WINS + slack
        and false_always <= FALSE_WINS
        and power >= POWER
    )


def judge(drawn: Drawn, true: float) -> Found:
    """Read one run as the product does, at the end and at every look, and as a shop without a draw would."""
    rows = list(zip(drawn.contacted.tolist(), drawn.bad.tolist(), strict=True))
    once = measure(
        [Observation(value=float(bad), propensity=drawn.share) for contacted, bad in rows if contacted],
        [Observation(value=float(bad), propensity=1 - drawn.share) for contacted, bad in rows if not contacted],
    )
    placed = sequential.bets([sequential.Drawn(contacted=one, bad=bad, probability=drawn.share) for one, bad in rows])
    wealth = np.cumsum([sequential.wealth([bet]) for bet in placed])
    seen = np.cumsum([sum(bet.counts) for bet in placed])
    held = np.cumsum([sum(bet.counts[2:]) for bet in placed])
    enough = np.flatnonzero((wealth >= sequential.ENOUGH) & (held >= FEWEST))
    always, looks = None, None
    if len(enough):
        first = int(seen[enough[0]])
        looks = first
        contacted, bad = drawn.contacted[:first], drawn.bad[:first]
        always = Reading.HELPS if bad[contacted].mean() < bad[~contacted].mean() else Reading.HARMS
    against = np.cumsum([sequential.wealth([bet], true) for bet in placed])
    # Without a draw everybody is proposed; agents decide who is written to, and the others are what they are compared with.
    written, left = drawn.bad[drawn.sent], drawn.bad[drawn.contacted & ~drawn.approved]
    without = measure(
        [Observation(value=float(bad), propensity=1.0) for bad in written],
        [Observation(value=float(bad), propensity=1.0) for bad in left],
    )
    return Found(
        once=once.reading,
        always=always,
        looks=looks,
        holds_once=once.low <= true <= once.high,
        holds_always=bool(np.all(against < sequential.ENOUGH)),
        without=without.difference,
        without_reading=without.reading,
    )


def try_out(seasons: int) -> bool:
    """Print the regret of moving shares beside an equal split; return whether it is under half."""
    moved, stopped, left = [], 0, 0
    for season in range(seasons):
        regret, best_left = moving(season)
        moved.append(regret)
        stopped += not best_left
        left += best_left
    even = DAYS * A_DAY * (float(np.mean(RATES)) - min(RATES))
    share = np.array(moved) / even
    print(
        f"\nvariants with {', '.join(f'{one:.0%}' for one in RATES)} bad outcomes, {A_DAY} customers a day for {DAYS} days"
    )
    print(
        f"  equal split: {even:,.0f} customers worse off; moving shares: {np.mean(moved):,.0f}, which is {share.mean():.0%}"
    )
    print(f"  (worst of {seasons} seasons {share.max():.0%}); the best variant was stopped in {stopped} of {seasons}")
    return bool(share.mean() < REGRET)


def moving(seed: int) -> tuple[float, bool]:
    """Return a season's regret under moving shares, and whether the best variant was still in at its end."""
    rng = np.random.default_rng(seed)
    rates = {f"v{place}": float(rate) for place, rate in enumerate(rng.permutation(RATES))}
    best = min(rates, key=lambda name: rates[name])
    days: list[tuple[dict[str, float], dict[str, tuple[int, int]]]] = []
    seen = {name: np.zeros(3) for name in rates}
    stopped: Sequence[str] = ()
    regret, ended, shares = 0.0, False, dict.fromkeys(rates, 0.0)
    for day in range(DAYS):
        if not ended:
            tallies = {name: _tally(sums) for name, sums in seen.items()}
            found = allocate(tallies, stopped, RULES, began=BEGAN, now=BEGAN + timedelta(days=day))
            stopped, ended, shares = found.stopped, found.way.ended, dict(found.shares)
        today = thompson_day(rng, [Arm(name=name, share=share) for name, share in shares.items()], rates, A_DAY)
        days.append((shares, today))
        regret += sum(n * (rates[name] - rates[best]) for name, (_, n) in today.items())
        if day >= HORIZON_DAYS:
            then, known = days[day - HORIZON_DAYS]
            for name, (bad, n) in known.items():
                if n:
                    seen[name] += np.array([n, n / then[name], bad]) / then[name]
    return regret, best not in stopped


def _tally(sums: Array) -> Tally:
    """Weigh by 1/propensity, as the product does (`bot.decide.effect.rate`): sums of weights, of squares, of bad ends."""
    weights, squares, bad = (float(one) for one in sums)
    if not weights:
        return Tally(bad=0, n=0)
    effective = weights * weights / squares
    return Tally(bad=bad / weights * effective, n=effective)


def _shares(readings: Sequence[Reading]) -> str:
    counts = {one: readings.count(one) / len(readings) for one in Reading}
    return ", ".join(f"{one.value} {share:.1%}" for one, share in counts.items() if share)


if __name__ == "__main__":
    sys.exit(main())
