"""What playbooks, messages and articles earn, from what experiments showed, and which of them are proposed for retirement.

Lift is read in `lift`, the sum is `bot.decide.payoff`'s. Proposing is all: nothing is ever retired by itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import structlog

from bot.clock import Clock, local_date
from bot.config import Settings
from bot.decide.payoff import Costs, Payoff, payoff
from bot.services.experiments.drawing import EVERYWHERE
from bot.services.experiments.lift import ALL_ARMS, Lift, LiftReader
from bot.services.prediction.labelling import CHURN
from bot.store.database import Database
from bot.store.experiments import mean_order_totals
from bot.store.notices import add_notice

__all__ = ["Earned", "EarnedBy", "Earner"]

log = structlog.get_logger()


class EarnedBy(StrEnum):
    """By what earnings are told apart."""

    PLAYBOOK = "playbook"
    MESSAGE = "message"  # a playbook's variant
    ARTICLE = "article"  # that was attached; articles are not drawn, they go with what customers bought


@dataclass(frozen=True, kw_only=True)
class Earned:
    """What one playbook, message or article earned.

    Attributes
    ----------
    worth : float or None
        What an averted bad end is worth; None where no order of these customers in the shop's currency has a total.
    """

    by: EarnedBy
    lift: Lift
    name: str
    currency: str
    worth: float | None
    paid: Payoff | None

    def line(self) -> dict[str, Any]:
        """Return the JSON object of `report value --by`."""
        paid = self.paid
        amounts: dict[str, float | None] = dict.fromkeys(("gain", "cost", "value", "low", "high", "per_message"))
        if paid is not None:
            amounts = {name: getattr(paid, name) for name in amounts}
        return {
            "row": self.by.value,
            "playbook": self.lift.playbook,
            "name": self.name,
            "outcome": self.lift.outcome,
            "currency": self.currency,
            "drawn": self.lift.effect.treated.n,
            "messages": None if paid is None else round(paid.messages),
            "averted": None if paid is None else round(paid.averted, 2),
            "worth": None if self.worth is None else round(self.worth, 2),
            **{name: None if amount is None else round(amount, 2) for name, amount in amounts.items()},
            "reading": self.lift.reading.value,
            "retire": bool(paid and paid.retire),
            "text": self.text,
        }

    @property
    def text(self) -> str:
        """Say it in a sentence, and what to do next where something is to be done."""
        what = (
            f"{self.by} {self.name}"
            if self.by is EarnedBy.PLAYBOOK
            else f"{self.by} {self.name} of {self.lift.playbook}"
        )
        if self.paid is None or self.worth is None:
            return f"{what}: unknown, no order of these customers in {self.currency} has a total"
        said = (
            f"{what}: {self.paid.value:+,.2f} {self.currency} so far [{self.paid.low:+,.2f}, {self.paid.high:+,.2f}] from "
            f"{self.paid.messages:,.0f} messages, {self.worth:,.2f} {self.currency} for each bad end averted"
        )
        if not self.paid.retire:
            return said
        why = "it does harm" if self.lift.reading.decided and self.lift.effect.difference > 0 else "it does not pay"
        return f"{said}; proposed for retirement, because {why}: take it out of its file, or change its words or its audience"


class Earner:
    """Reads what contacting earned, and says which of it should end."""

    def __init__(self, database: Database, clock: Clock, settings: Settings) -> None:
        self._database = database
        self._clock = clock
        self._settings = settings
        self._reader = LiftReader(database, clock, settings)

    def report(self, by: EarnedBy = EarnedBy.PLAYBOOK) -> list[Earned]:
        """Return what each earned, the best first within each currency; what is unknown comes last."""
        found = [self._earned(by, name, lift, worth) for name, lift, worth in self._lifts(by)]
        return sorted(found, key=lambda one: -(one.paid.value if one.paid is not None else float("-inf")))

    def propose_retirements(self) -> int:
        """Say, once a month of each, which playbooks and messages should be retired; return how many."""
        now = self._clock.now()
        month = f"{local_date(now, self._settings.shop.zone):%Y-%m}"
        losers = [
            one
            for by in (EarnedBy.PLAYBOOK, EarnedBy.MESSAGE)
            for one in self.report(by)
            if one.paid and one.paid.retire
        ]
        new = 0
        for one in losers:
            text = f"{one.text[:1].upper()}{one.text[1:]}."
            key = f"retire:{one.by}:{one.lift.playbook}:{one.name}:{one.lift.outcome}:{month}"
            with self._database.write() as connection:
                new += add_notice(connection, "retire", key, text, now)
        if new:
            log.info("retirements_proposed", count=new)
        return new

    def _lifts(self, by: EarnedBy) -> Iterable[tuple[str, Lift, float | None]]:
        with self._database.read() as connection:
            totals = mean_order_totals(connection, self._settings.shop.currency, self._clock.now())
        lifts = self._reader.by_article() if by is EarnedBy.ARTICLE else [(None, one) for one in self._reader.lift()]
        several = {(one.playbook, one.outcome) for _, one in lifts if one.arm != ALL_ARMS}
        for article, lift in lifts:
            if lift.playbook == EVERYWHERE or (by is EarnedBy.PLAYBOOK and lift.arm != ALL_ARMS):
                continue
            if by is EarnedBy.MESSAGE and lift.arm == ALL_ARMS and (lift.playbook, lift.outcome) in several:
                continue
            name = article or (lift.playbook if by is EarnedBy.PLAYBOOK else lift.arm)
            total = totals.get(lift.playbook)
            yield name, lift, None if total is None else self._worth(lift.outcome, total)

    def _worth(self, outcome: str, order_total: float) -> float:
        """An averted issue keeps the order's margin and saves its handling; a kept customer orders once more."""
        value = self._settings.value
        return value.margin_share * order_total + (0.0 if outcome == CHURN else value.issue_cost)

    def _earned(self, by: EarnedBy, name: str, lift: Lift, worth: float | None) -> Earned:
        value = self._settings.value
        paid = (
            None
            if worth is None
            else payoff(
                drawn=lift.effect.treated.n,
                sent_share=lift.sent_share,
                difference=lift.effect.difference,
                low=lift.low,
                high=lift.high,
                reading=lift.reading,
                worth=worth,
                costs=Costs(contact=value.contact_cost, fatigue=value.fatigue_cost),
            )
        )
        return Earned(by=by, lift=lift, name=name, currency=self._settings.shop.currency, worth=worth, paid=paid)
