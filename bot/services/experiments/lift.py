"""What each playbook changed: its experiments' outcomes, read so that looking every day calls no winner early.

Customers count in the arm into which they were drawn, whatever agents did with the card. The mathematics is in `bot.decide`
(`effect`, `sequential`, `chance`, `ratio`, `segments`), the sentences in `lift_words`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from bot.clock import Clock
from bot.config import Settings
from bot.decide import sequential
from bot.decide.assignment import HOLDOUT
from bot.decide.chance import Tally, chances_of_lowest
from bot.decide.effect import Effect, Observation, Rate, Reading, measure
from bot.decide.ratio import Ratio, check_ratio, expected_counts
from bot.decide.segments import Measured, discoveries, shrunken
from bot.services.experiments.allocating import describe
from bot.services.experiments.drawing import experiment_of
from bot.services.experiments.lift_words import harm_sentence, points, result_sentence
from bot.services.prediction.experience import contact_propensities
from bot.services.prediction.labelling import CHURN, ISSUE
from bot.store.allocations import allocations_of
from bot.store.database import Connection, Database
from bot.store.experiments import HARMS, Segmentation, articles_attached, harms_after
from bot.store.outcomes import ObservedArm, observed_arms

__all__ = ["ALL_ARMS", "Harm", "Lift", "LiftReader"]

ALL_ARMS = "treated"


@dataclass(frozen=True, kw_only=True)
class Harm:
    """How many customers opted out, complained or asked for help within the horizon, in either arm."""

    kind: str
    effect: Effect

    @property
    def text(self) -> str:
        """Say it in a sentence."""
        return harm_sentence(self.kind, self.effect)

    def line(self) -> dict[str, Any]:
        """Return its part of the JSON object of `report lift`."""
        return {"kind": self.kind, **_effect_line(self.effect)}


@dataclass(frozen=True, kw_only=True)
class Lift:
    """What one playbook changed, over all its arms together (`arm` = treated) or by one variant; in all, or in a segment.

    Attributes
    ----------
    effect : Effect
        The difference with the interval for one look.
    low, high : float
        The interval that holds at all looks at once; the reading goes by it.
    reading : Reading
        What may be said, however often somebody looks.
    chance_helps : float or None
        How probable it is that contact means fewer bad outcomes, by what was seen (uniform priors); None without both arms.
    more_customers : int or None
        About how many more decide, if the difference is what it seems; None where it is decided, or never by then.
    shrunk : float or None
        In a segment: the difference, drawn towards what all segments have in common.
    variants : str or None
        How the variants share those who are contacted, where their shares move.
    """

    playbook: str
    outcome: str
    arm: str
    effect: Effect
    sent_share: float
    low: float
    high: float
    log_evidence: float
    reading: Reading
    chance_helps: float | None
    more_customers: int | None
    ratio: Ratio
    harms: tuple[Harm, ...] = ()
    by: str | None = None
    segment: str | None = None
    shrunk: float | None = None
    variants: str | None = None

    def line(self) -> dict[str, Any]:
        """Return the JSON object of `report lift`; rates are shares of bad outcomes."""
        return {
            "playbook": self.playbook,
            "outcome": self.outcome,
            "arm": self.arm,
            **_effect_line(self.effect),
            "always_low": round(self.low, 4),
            "always_high": round(self.high, 4),
            "sent_share": round(self.sent_share, 4),
            "reading": self.reading.value,
            "chance_helps": None if self.chance_helps is None else round(self.chance_helps, 4),
            "more_customers": self.more_customers,
            "ratio_p": None if self.ratio.p is None else round(self.ratio.p, 6),
            "harm": [harm.line() for harm in self.harms],
            "by": self.by,
            "segment": self.segment,
            "shrunk": None if self.shrunk is None else round(self.shrunk, 4),
            "variants": self.variants,
            "text": self.text,
        }

    @property
    def text(self) -> str:
        """The result in one honest sentence."""
        drawn = "" if self.shrunk is None else f" (drawn towards the other segments: {points(self.shrunk)} points)"
        said = result_sentence(
            self.effect,
            self.reading,
            outcome=self.outcome,
            always=(self.low, self.high),
            chance_helps=self.chance_helps,
            more_customers=self.more_customers,
            ratio=self.ratio,
        )
        return said + drawn


class LiftReader:
    """Reads experiments; changes nothing."""

    def __init__(self, database: Database, clock: Clock, settings: Settings) -> None:
        self._database = database
        self._clock = clock
        self._settings = settings

    def lift(self, playbook: str | None = None, by: Segmentation | None = None) -> list[Lift]:
        """Return what each playbook changed; by variant too where there are several, by segment where one is named."""
        groups = self._groups(by)
        if playbook is not None:
            groups = {key: rows for key, rows in groups.items() if key[0] == playbook}
        found: list[Lift] = []
        for key in sorted(groups):
            found += _lifts(*key, groups[key]) if by is None else _segments(*key, by, groups[key])
        if by is not None:
            return found
        with self._database.read() as connection:
            variants = {name: self._variants(connection, name) for name, _ in groups}
        return [replace(one, variants=variants[one.playbook]) if one.arm == ALL_ARMS else one for one in found]

    def by_article(self) -> list[tuple[str, Lift]]:
        """Return what each playbook changed where an article was attached, against all that it held out.

        Articles are not drawn: they go with what customers bought, so these results say less than the others.
        """
        with self._database.read() as connection:
            attached = articles_attached(connection, (ISSUE, CHURN), self._clock.now())
        found: list[tuple[str, Lift]] = []
        for (playbook, kind), rows in sorted(self._groups().items()):
            ratio = _ratio(rows)
            for article in sorted({attached.get(row.observed.assignment_id, "") for row in rows} - {""}):
                chosen = [row for row in rows if row.held or attached.get(row.observed.assignment_id) == article]
                found.append((article, _lift(playbook, kind, ALL_ARMS, chosen, ratio)))
        return found

    def _groups(self, by: Segmentation | None = None) -> dict[tuple[str, str], list[_Row]]:
        now = self._clock.now()
        with self._database.read() as connection:
            observed = observed_arms(connection, (ISSUE, CHURN), now, by)
            harms = harms_after(connection, (ISSUE, CHURN), now)
        groups: dict[tuple[str, str], list[_Row]] = {}
        for one, contact in zip(observed, contact_propensities(observed), strict=True):
            row = _Row(observed=one, contact=contact, harms=harms.get((one.assignment_id, one.kind), frozenset()))
            groups.setdefault((one.playbook, one.kind), []).append(row)
        return groups

    def _variants(self, connection: Connection, playbook: str) -> str | None:
        moves = allocations_of(connection, experiment_of(playbook, self._settings))
        if not moves or self._settings.experiments.allocation == "fixed":
            return None
        return describe(moves[-1], self._settings.experiments.exploration.days, moves[0].decided_at)


@dataclass(frozen=True, kw_only=True)
class _Row:
    """One customer's outcome, with how probable any contact was and what else happened."""

    observed: ObservedArm
    contact: float
    harms: frozenset[str]

    @property
    def held(self) -> bool:
        return self.observed.arm == HOLDOUT

    def observation(self, *, whole: bool, value: float | None = None) -> Observation:
        """Weigh by the arm drawn, or where all that are contacted count as one arm by that."""
        propensity = self.contact if whole and not self.held else self.observed.propensity
        return Observation(value=self.observed.value if value is None else value, propensity=propensity)

    def drawn(self, share: float) -> sequential.Drawn:
        """Bet on it as one of two arms, of which the contacted one had a share of all customers."""
        hold = self.observed.propensity if self.held else 1 - self.contact
        return sequential.Drawn(
            contacted=not self.held, bad=self.observed.value > 0, probability=round(share / (share + hold), 9)
        )

    @property
    def order(self) -> tuple[datetime, datetime, int]:
        """When it became known, and then what no arm and no outcome hangs on."""
        return self.observed.recorded_at, self.observed.anchor_at, self.observed.customer_id


def _lifts(playbook: str, kind: str, rows: Sequence[_Row]) -> list[Lift]:
    ratio = _ratio(rows)
    arms = sorted({row.observed.arm for row in rows} - {HOLDOUT})
    found = [_lift(playbook, kind, ALL_ARMS, rows, ratio)]
    if len(arms) > 1:
        found += [
            _lift(playbook, kind, arm, [row for row in rows if row.held or row.observed.arm == arm], ratio)
            for arm in arms
        ]
    return found


def _segments(playbook: str, kind: str, by: Segmentation, rows: Sequence[_Row]) -> list[Lift]:
    """Read every segment by itself; one is called special only past the control of false discoveries."""
    groups: dict[str, list[_Row]] = {}
    for row in rows:
        groups.setdefault(row.observed.segment or "unknown", []).append(row)
    found = [
        replace(_lift(playbook, kind, ALL_ARMS, groups[name], _ratio(groups[name])), by=by.value, segment=name)
        for name in sorted(groups)
    ]
    judged = [one for one in found if one.reading in (Reading.HELPS, Reading.HARMS, Reading.UNDECIDED)]
    sure = dict(
        zip(map(id, judged), discoveries([one.log_evidence for one in judged]), strict=True),
    )
    common = dict(
        zip(
            map(id, judged),
            shrunken([Measured(difference=one.effect.difference, error=_error(one.effect)) for one in judged]),
            strict=True,
        )
    )
    return [
        replace(
            one,
            shrunk=common.get(id(one)),
            reading=Reading.UNDECIDED if one.reading.decided and not sure.get(id(one)) else one.reading,
        )
        for one in found
    ]


def _lift(playbook: str, kind: str, arm: str, rows: Sequence[_Row], ratio: Ratio) -> Lift:
    whole = arm == ALL_ARMS
    treated, holdout = _parted(rows, [row.observation(whole=whole) for row in rows])
    effect = measure(treated, holdout)
    # A draw without a holdout decides nothing about contact: nobody could have come into the other arm.
    shares = _shares_of(arm, rows)
    both = [(row, share) for row, share in zip(rows, shares, strict=True) if 0 < row.contact < 1 and share > 0]
    drawn = [row.drawn(share) for row, share in sorted(both, key=lambda one: one[0].order)]
    placed = sequential.bets(drawn)
    low, high = sequential.interval(placed, effect.difference)
    evidence = sequential.wealth(placed)
    reading = effect.reading
    if reading is not Reading.TOO_FEW:
        reading = Reading.UNDECIDED if evidence < sequential.ENOUGH else effect.direction
    chance, more = None, None
    if treated and holdout:
        tallies = _tally(effect.treated), _tally(effect.holdout)
        chance = chances_of_lowest(tallies)[0]
        if drawn and not reading.decided:
            probability = sum(one.probability for one in drawn) / len(drawn)
            contacted, held = (tally.alpha / (tally.alpha + tally.beta) for tally in tallies)
            more = sequential.more_customers(placed, contacted, held, probability)
    return Lift(
        playbook=playbook,
        outcome=kind,
        arm=arm,
        effect=effect,
        sent_share=_share(row.observed.treated for row in rows if not row.held),
        low=low,
        high=high,
        log_evidence=evidence,
        reading=Reading.MISMATCH if ratio.mismatch else reading,
        chance_helps=chance,
        more_customers=more,
        ratio=ratio,
        harms=tuple(_harm(name, rows, whole=whole) for name in HARMS),
    )


def _shares_of(arm: str, rows: Sequence[_Row]) -> list[float]:
    """Return, for each customer, how probable an arm was at their draw, whatever was drawn."""
    if arm == ALL_ARMS:
        return [row.contact for row in rows]
    # Of those held out it is not stored where shares stand in a file: then they are the same for all.
    stored = [row.observed.propensity for row in rows if row.observed.arm == arm and row.observed.shares is None]
    usual = sum(stored) / len(stored) if stored else 0.0
    return [
        row.observed.propensity
        if row.observed.arm == arm
        else (usual if row.observed.shares is None else row.observed.shares.get(arm, 0.0))
        for row in rows
    ]


def _harm(kind: str, rows: Sequence[_Row], *, whole: bool) -> Harm:
    seen = [row.observation(whole=whole, value=float(kind in row.harms)) for row in rows]
    return Harm(kind=kind, effect=measure(*_parted(rows, seen)))


def _parted(rows: Sequence[_Row], seen: Sequence[Observation]) -> tuple[list[Observation], list[Observation]]:
    treated = [one for row, one in zip(rows, seen, strict=True) if not row.held]
    return treated, [one for row, one in zip(rows, seen, strict=True) if row.held]


def _ratio(rows: Sequence[_Row]) -> Ratio:
    drawn = [(row.observed.arm, row.observed.propensity, row.observed.shares) for row in rows]
    return check_ratio(Counter(arm for arm, _, _ in drawn), expected_counts(drawn))


def _tally(rate: Rate) -> Tally:
    return Tally(bad=rate.value * rate.effective_n, n=rate.effective_n)


def _error(effect: Effect) -> float:
    """Return a standard error that is never nothing, however few bad outcomes there were."""
    variance = 0.0
    for rate in (effect.treated, effect.holdout):
        tally = _tally(rate)
        mean = tally.alpha / (tally.alpha + tally.beta)
        variance += mean * (1 - mean) / max(rate.effective_n, 1.0)
    return float(variance**0.5)


def _effect_line(effect: Effect) -> dict[str, Any]:
    return {
        "treated": _rate(effect.treated),
        "holdout": _rate(effect.holdout),
        "difference": round(effect.difference, 4),
        "low": round(effect.low, 4),
        "high": round(effect.high, 4),
    }


def _rate(rate: Rate) -> Mapping[str, Any]:
    return {
        "n": rate.n,
        "rate": round(rate.value, 4),
        "low": round(rate.low, 4),
        "high": round(rate.high, 4),
    }


def _share(flags: Iterable[bool]) -> float:
    found = list(flags)
    return sum(found) / len(found) if found else 0.0
