"""Whom a playbook means today, and what the policy says about each: facts are gathered, nothing is changed.

Memory stays small: forecasts, or what stands in for them, are walked through a thousand at a time, each thousand with a
fixed number of queries. What follows on a first step is `bot.services.planning.journeys`' business. Ranking, drawing and storing are `bot.services.planning.planner`'s business.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from bot.config import Settings
from bot.decide import policy
from bot.decide.assignment import Assignment
from bot.decide.playbook import EVENT, Band, Playbook, Step, TriggerEvent, Window, mismatch, window
from bot.decide.playbook_journey import Why
from bot.decide.value import worth
from bot.services.experiments.drawing import Drawer, Draws
from bot.services.planning.candidates import Candidates, promised_end, trigger_of
from bot.services.planning.policy_facts import GatheredFacts, PolicyFacts
from bot.store.database import Connection
from bot.store.enums import JourneyState
from bot.store.instances import StoredJourney, begun
from bot.store.journeys import (
    CHUNK,
    CLOSING,
    OPENING,
    OrderFacts,
    events_of_customers,
    last_orders,
    orders_by_id,
)
from bot.store.planning import Forecast
from bot.store.shop import Customer, customers_by_id

__all__ = ["AudienceReader", "Considered", "Unmatched", "promised_end"]


@dataclass(frozen=True, kw_only=True)
class Considered:
    """One customer whom a playbook means today.

    Attributes
    ----------
    channel : str or None
        The best channel on which nothing lasting stands against contact, else the one that was refused.
    verdict : Allowed or Refused
        What the policy says at this instant, leaving the draw aside.
    drawn : Assignment
        The arm, stored already or as it would be drawn.
    done : bool
        This step was proposed today already.
    trigger_at : datetime
        The instant that the playbook counts from.
    journey : StoredJourney or None
        The way of which this is a later step.
    """

    playbook: Playbook
    step: Step
    forecast: Forecast
    customer: Customer
    order: OrderFacts | None
    span: Window
    channel: str | None
    facts: policy.Facts
    verdict: policy.Verdict
    worth: float
    drawn: Assignment
    assignment_id: int | None
    done: bool
    trigger_at: datetime
    journey: StoredJourney | None = None


@dataclass(frozen=True, kw_only=True)
class Unmatched:
    """A forecast that a playbook does not mean, and why (for explaining, never stored)."""

    playbook: Playbook
    forecast: Forecast
    why: str


@dataclass(frozen=True, kw_only=True)
class _Match:
    """A forecast that a playbook means, with what it counts from."""

    forecast: Forecast
    customer: Customer
    order: OrderFacts | None
    trigger_at: datetime


# Why a way that has ended may begin again from the same instant: its first message never left.
_UNHEARD = frozenset({Why.REJECTED, Why.EXPIRED, Why.SUPPRESSED, Why.FAILED, Why.CANCELLED, Why.UNREADABLE})


class AudienceReader:
    """Matches forecasts with a playbook and asks the policy about each match."""

    def __init__(self, settings: Settings, longest_cool_down: timedelta) -> None:
        self._settings = settings
        self._facts = PolicyFacts(settings, longest_cool_down)
        self._drawer = Drawer(settings)

    def read(
        self,
        connection: Connection,
        playbook: Playbook,
        forecasts: Iterable[Forecast],
        now: datetime,
        *,
        today: str,
        stopped: bool,
        explain: bool = False,
    ) -> Iterator[Considered | Unmatched]:
        """Walk through forecasts and yield whom the playbook means; with `explain` also whom it does not."""
        need = playbook.audience.prediction
        page: list[Forecast] = []
        for forecast in forecasts:
            improbable = need is not None and (
                forecast.probability < need.probability_at_least or Band(forecast.band).rank < need.band.rank
            )
            if not explain and (forecast.kind != playbook.kind or improbable):
                continue
            page.append(forecast)
            if len(page) == CHUNK:
                yield from self._read_page(connection, playbook, page, now, today, stopped, explain)
                page = []
        if page:
            yield from self._read_page(connection, playbook, page, now, today, stopped, explain)

    def _read_page(
        self,
        connection: Connection,
        playbook: Playbook,
        page: Sequence[Forecast],
        now: datetime,
        today: str,
        stopped: bool,
        explain: bool,
    ) -> Iterator[Considered | Unmatched]:
        known = orders_by_id(connection, {one.order_id for one in page if one.order_id is not None}, now)
        latest = last_orders(connection, {one.customer_id for one in page if one.order_id is None}, now)
        orders = [known.get(one.order_id) if one.order_id is not None else latest.get(one.customer_id) for one in page]
        near = [
            (forecast, order)
            for forecast, order in zip(page, orders, strict=True)
            if explain or self._in_reach(playbook, forecast, order, now)
        ]
        ids = {forecast.customer_id for forecast, _ in near}
        customers = customers_by_id(connection, ids)
        kinds = playbook.exits | playbook.trigger.without | {"delivered", *OPENING, *CLOSING}
        events = events_of_customers(connection, ids, kinds, now) if ids else {}
        candidates = Candidates.read(connection, self._settings, playbook, near, now)
        ways = begun(connection, playbook.id, ids) if ids else {}
        matched: list[_Match] = []
        for forecast, order in near:
            happened = events.get(forecast.customer_id, ())
            customer = customers[forecast.customer_id]
            trigger_at = trigger_of(playbook, forecast, order, happened, self._settings)
            candidate = candidates.candidate(forecast, customer, order, trigger_at, happened)
            why = mismatch(playbook, candidate, now)
            if why is None and trigger_at is not None:
                why = _gone_on(playbook, ways.get((customer.id, trigger_at)))
            if why is None and trigger_at is not None:
                matched.append(_Match(forecast=forecast, customer=customer, order=order, trigger_at=trigger_at))
            elif explain:
                yield Unmatched(playbook=playbook, forecast=forecast, why=why or "no event to count from")
        if not matched:
            return
        ids = {one.customer.id for one in matched}
        facts = self._facts.gather(connection, playbook, [customers[one] for one in ids], events, now, stopped=stopped)
        draws = self._drawer.read(connection, playbook, ids)
        for one in matched:
            yield self._consider(playbook, one, facts, draws, now, today)

    def _in_reach(self, playbook: Playbook, forecast: Forecast, order: OrderFacts | None, now: datetime) -> bool:
        """Say whether the trigger may be open, by the order alone, before anything else is read."""
        if playbook.trigger.event is TriggerEvent.DELIVERED and forecast.kind != EVENT:
            return order is not None
        trigger_at = trigger_of(playbook, forecast, order, (), self._settings)
        if trigger_at is None:
            return False
        span = window(playbook, trigger_at, playbook.steps[0])
        return span.opens <= now < span.closes

    def _consider(
        self,
        playbook: Playbook,
        match: _Match,
        page: GatheredFacts,
        draws: Draws,
        now: datetime,
        today: str,
    ) -> Considered:
        customer, forecast, step = match.customer, match.forecast, playbook.steps[0]
        channel, facts = page.about(customer)
        drawn, assignment_id = draws.of(customer)
        span = window(playbook, match.trigger_at, step)
        dedupe_key = f"{customer.id}:{playbook.id}:{step.id}:{today}"
        return Considered(
            playbook=playbook,
            step=step,
            forecast=forecast,
            customer=customer,
            order=match.order,
            span=span,
            channel=channel,
            facts=facts,
            verdict=policy.ask(facts),
            worth=worth(playbook.goal, forecast.probability, now, span, forecast.gain),
            drawn=drawn,
            assignment_id=assignment_id,
            done=dedupe_key in page.contacts_of(customer.id).dedupe_keys,
            trigger_at=match.trigger_at,
        )


def _gone_on(playbook: Playbook, way: StoredJourney | None) -> str | None:
    """Say whether a customer is past the first step already, from this very instant on."""
    if way is None:
        return None
    if way.state is JourneyState.ENDED and way.exit_reason not in _UNHEARD:
        return f"their way through it has ended: {way.exit_reason}"
    if way.sent_at is not None and playbook.following(way.step):
        return f"on their way: {way.step}"
    return None if way.step == playbook.steps[0].id else f"on their way: {way.step}"
