"""A shop that contacts customers, with both futures of each known: what happens if it writes, and if it does not.

Agents see each card before it leaves. They reject some, more often those who look harmless to them, and edit others; what
they see tells something of the customer's future. So those who were written to are not like those who were not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bot.decide.assignment import Arm, arms, draw
from predictors.frames import Array, expit

# The log-odds of trouble, how much they differ between customers, and how much of that an agent sees.
BASE, SPREAD, SEEN = -1.3, 1.0, 1.2
APPROVED, EDITED = 1.2, 0.25


@dataclass(frozen=True, kw_only=True)
class Playbook:
    """A playbook with its true effect: by how much a message moves the log-odds of trouble; edited words by a half more."""

    name: str
    effect: float


PLAYBOOKS = (
    Playbook(name="helps", effect=-0.9),
    Playbook(name="null", effect=0.0),
    Playbook(name="harms", effect=0.65),
)


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """Customers of one run, in the order in which they came.

    Attributes
    ----------
    contacted : array of bool, (n,)
        Drawn to be contacted, before any agent saw them.
    sent : array of bool, (n,)
        Drawn so, and approved.
    approved : array of bool, (n,)
        What the agent would say, whatever was drawn.
    bad : array of bool, (n,)
        The outcome.
    share : float
        How probable contact was.
    """

    contacted: Array
    sent: Array
    approved: Array
    bad: Array
    share: float


def run(playbook: Playbook, seed: int, customers: int, holdout_share: float) -> Drawn:
    """Let one experiment run: the product's own draw, agents who choose, and what became of everybody."""
    rng = np.random.default_rng(seed)
    risk, approved, edited = _customers(rng, customers)
    choices = arms(holdout_share)
    contacted = np.array(
        [not draw(f"run {seed}", playbook.name, f"shop:c{number}", choices).holdout for number in range(customers)]
    )
    sent = contacted & approved
    log_odds = risk + sent * playbook.effect * np.where(edited, 1.5, 1.0)
    return Drawn(
        contacted=contacted,
        sent=sent,
        approved=approved,
        bad=rng.random(customers) < expit(log_odds),
        share=1 - holdout_share,
    )


def truth(playbook: Playbook, customers: int = 2_000_000) -> float:
    """Return the true difference that drawing a customer to be contacted makes, agents' choices included."""
    risk, approved, edited = _customers(np.random.default_rng(99), customers)
    written = expit(risk + playbook.effect * np.where(edited, 1.5, 1.0))
    return float(np.mean(np.where(approved, written - expit(risk), 0.0)))


def _customers(rng: np.random.Generator, n: int) -> tuple[Array, Array, Array]:
    risk = rng.normal(BASE, SPREAD, n)
    seen = SEEN * (risk - BASE) + rng.normal(0, 1, n)
    return risk, rng.random(n) < expit(APPROVED + seen), rng.random(n) < EDITED


def thompson_day(
    rng: np.random.Generator, shares: Sequence[Arm], rates: dict[str, float], n: int
) -> dict[str, tuple[int, int]]:
    """Draw a day's customers among variants by their shares; return, by variant, bad outcomes and customers."""
    counts = rng.multinomial(n, [arm.share for arm in shares])
    return {
        arm.name: (int(rng.binomial(count, rates[arm.name])), int(count))
        for arm, count in zip(shares, counts, strict=True)
    }
