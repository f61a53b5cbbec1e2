"""The later steps of playbooks: who goes on, to which step, and whose way has ended. Facts are gathered, nothing is changed.

What comes next for one customer is judged by `bot.decide.playbook_journey`; a way keeps to the version of its playbook with
which it began. Ranking, drafting and storing are `bot.services.planning.planner`'s business, as of first steps.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog

from bot.config import Settings
from bot.decide import policy
from bot.decide.assignment import HOLDOUT, Assignment
from bot.decide.playbook import EVENT, Band, Playbook, Window
from bot.decide.playbook_journey import Ended, Instance, Proposes, Waits, Why, advance
from bot.decide.value import worth
from bot.errors import InputError
from bot.services.experiments.drawing import Drawer
from bot.services.planning.audience import Considered
from bot.services.planning.occasions import UNPREDICTED
from bot.services.planning.playbooks import Playbooks, read_text
from bot.services.planning.policy_facts import PolicyFacts
from bot.store.audience_facts import placed_since
from bot.store.database import Connection
from bot.store.instances import StoredJourney, active_journeys, contents_of
from bot.store.journeys import CHUNK, CLOSING, OPENING, Event, events_of_customers, orders_by_id
from bot.store.planning import Forecast
from bot.store.shop import customers_by_id

__all__ = ["GoneOn", "Journeys", "due_after"]

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class GoneOn:
    """What became due among the ways of some customers.

    Attributes
    ----------
    due : sequence of Considered
        Later steps that may be proposed.
    ended : sequence of (StoredJourney, str)
        Ways that have ended, and why.
    """

    due: Sequence[Considered]
    ended: Sequence[tuple[StoredJourney, str]]


@dataclass(frozen=True, kw_only=True)
class _Due:
    journey: StoredJourney
    playbook: Playbook
    step: Proposes


class Journeys:
    """Looks after ways that have begun."""

    def __init__(self, settings: Settings, playbooks: Playbooks, longest_cool_down: timedelta) -> None:
        self._settings = settings
        self._playbooks = playbooks
        self._drawer = Drawer(settings)
        self._facts = PolicyFacts(settings, longest_cool_down)
        self._read: dict[tuple[str, str], Playbook | None] = {}

    def go_on(
        self,
        connection: Connection,
        now: datetime,
        *,
        today: str,
        stopped: bool,
        customers: tuple[int, int] | None = None,
        ids: Collection[int] | None = None,
    ) -> GoneOn:
        """Go through the ways that have not ended, of the customers in a range, or those with some ids."""
        due: list[Considered] = []
        ended: list[tuple[StoredJourney, str]] = []
        after_id = 0
        while page := active_journeys(connection, customers=customers, ids=ids, after_id=after_id, limit=CHUNK):
            after_id = page[-1].id
            found = list(self._judge(connection, page, now))
            ended += [one for one in found if isinstance(one, tuple)]
            steps = [one for one in found if isinstance(one, _Due)]
            due += self._consider(connection, steps, now, today, stopped)
        return GoneOn(due=due, ended=ended)

    def playbook_of(self, connection: Connection, journey: StoredJourney) -> Playbook | None:
        """Return the version of its playbook that a way keeps to; None where this program cannot read it any more."""
        return self._versions(connection, [journey])[(journey.playbook, journey.playbook_version)]

    def _judge(
        self, connection: Connection, page: Sequence[StoredJourney], now: datetime
    ) -> Iterator[_Due | tuple[StoredJourney, str]]:
        versions = self._versions(connection, page)
        in_force = {one.id for one in self._playbooks.all}
        people = {one.customer_id for one in page}
        kinds = {kind for one in versions.values() if one is not None for kind in _kinds(one)}
        events = events_of_customers(connection, people, kinds, now)
        ordered = placed_since(connection, people, min(one.started_at for one in page), now)
        for one in page:
            playbook = versions[(one.playbook, one.playbook_version)]
            if one.playbook not in in_force:
                yield one, Why.WITHDRAWN.value
                continue
            if playbook is None:
                yield one, Why.UNREADABLE.value
                continue
            happened = _about(one, events.get(one.customer_id, ()), ordered.get(one.customer_id, ()))
            match advance(playbook, _instance(one), happened, now):
                case Ended(why=why):
                    yield one, why
                case Proposes() as step:
                    yield _Due(journey=one, playbook=playbook, step=step)
                case Waits():
                    pass

    def _consider(
        self, connection: Connection, found: Sequence[_Due], now: datetime, today: str, stopped: bool
    ) -> Iterator[Considered]:
        people = customers_by_id(connection, {one.journey.customer_id for one in found})
        wanted = {one.journey.order_id for one in found if one.journey.order_id is not None}
        orders = orders_by_id(connection, wanted, now) if wanted else {}
        events = events_of_customers(connection, people, (*OPENING, *CLOSING), now) if people else {}
        by_playbook: dict[tuple[str, str], list[_Due]] = {}
        for one in found:
            by_playbook.setdefault((one.playbook.id, one.playbook.version), []).append(one)
        for steps in by_playbook.values():
            playbook = steps[0].playbook
            near = [people[one.journey.customer_id] for one in steps]
            facts = self._facts.gather(connection, playbook, near, events, now, stopped=stopped)
            draws = self._drawer.read(connection, playbook, {one.id for one in near})
            for one in steps:
                journey, step = one.journey, one.step.step
                customer = people[journey.customer_id]
                channel, about = facts.about(customer)
                # Its own earlier step is what it follows, and no reason to leave the customer alone.
                about = replace(about, cool_down_until=None)
                span = Window(opens=one.step.due_at, closes=journey.trigger_at + playbook.lives_for)
                drawn, _ = draws.of(customer)
                if not drawn.everywhere:  # the arm in which the way began stands
                    drawn = Assignment(arm=journey.arm, propensity=drawn.propensity)
                forecast = _forecast(journey, now)
                yield Considered(
                    playbook=playbook,
                    step=step,
                    forecast=forecast,
                    customer=customer,
                    order=orders.get(journey.order_id) if journey.order_id is not None else None,
                    span=span,
                    channel=channel,
                    facts=about,
                    verdict=policy.ask(about),
                    worth=worth(playbook.goal, forecast.probability, now, span),
                    drawn=drawn,
                    assignment_id=journey.assignment_id,
                    done=f"{customer.id}:{playbook.id}:{step.id}:{today}" in facts.contacts_of(customer.id).dedupe_keys,
                    trigger_at=journey.trigger_at,
                    journey=journey,
                )

    def _versions(
        self, connection: Connection, page: Sequence[StoredJourney]
    ) -> Mapping[tuple[str, str], Playbook | None]:
        wanted = {(one.playbook, one.playbook_version) for one in page}
        self._read |= {(one.id, one.version): one for one in self._playbooks.all}
        missing = wanted - self._read.keys()
        contents = contents_of(connection, missing)
        for key in missing:
            try:
                self._read[key] = read_text(contents[key], f"{key[0]}@{key[1]}") if key in contents else None
            except InputError as error:
                log.warning("playbook_version_unreadable", playbook=key[0], version=key[1], problem=str(error))
                self._read[key] = None
        return {key: self._read[key] for key in wanted}


def due_after(playbook: Playbook, step_id: str, now: datetime, trigger_at: datetime) -> datetime:
    """Return when something may next be due after a step was proposed: another step, else the end of the way."""
    waits = [one.wait for one in playbook.following(step_id)]
    return now + min(waits) if waits else trigger_at + playbook.lives_for


def _kinds(playbook: Playbook) -> set[str]:
    asked = {kind for step in playbook.steps if step.when is not None for kind in step.when.kinds}
    return set(playbook.exits) | asked


def _about(journey: StoredJourney, events: Iterable[Event], ordered: Iterable[Event]) -> list[Event]:
    """Return what is about the order of a way, or names none; an order placed since is about the customer."""
    mine = [one for one in events if journey.order_id is None or one.order_id in (None, journey.order_id)]
    return [one for one in (*mine, *ordered) if one.occurred_at > journey.started_at]


def _instance(journey: StoredJourney) -> Instance:
    return Instance(
        trigger_at=journey.trigger_at,
        started_at=journey.started_at,
        step=journey.step,
        held_out=journey.arm == HOLDOUT,
        state=journey.outreach_state,
        sent_at=journey.sent_at,
    )


def _forecast(journey: StoredJourney, now: datetime) -> Forecast:
    sent = journey.sent_at or journey.started_at
    days = round((now - sent) / timedelta(days=1))
    text = f"The step before, {journey.step}, was sent {'today' if days == 0 else f'{days} days ago'}."
    return Forecast(
        prediction_id=None,
        kind=EVENT,
        moment="",
        customer_id=journey.customer_id,
        order_id=journey.order_id,
        as_of=journey.trigger_at,
        probability=UNPREDICTED,
        band=Band.LOW.value,
        reasons=({"feature": EVENT, "text": text, "effect": None},),
        since=sent,
    )
