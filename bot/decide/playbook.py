"""What a playbook is, and whom and when it means.

A playbook says whom (audience), when (trigger), what (steps), until (exit), to which goal and who answers for
it. Here are its words and its judgement of one candidate; what follows on a first step is `bot.decide.playbook_journey`,
reading the YAML `bot.decide.playbook_reading` (the mapping) and `bot.services.planning.playbooks` (the files). Whether a
contact is allowed is `bot.decide.policy`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from bot.decide.assignment import Arm
from bot.decide.contact import Priority, Purpose
from bot.decide.playbook_triggers import CUSTOMER_EVENTS, Trigger, TriggerEvent
from bot.decide.playbook_when import When

__all__ = [
    "EVENT",
    "PATTERN",
    "PRIORITIES",
    "Audience",
    "Autonomy",
    "Band",
    "Candidate",
    "Goal",
    "PatternNeed",
    "Playbook",
    "PredictionNeed",
    "Purpose",
    "Step",
    "Trigger",
    "TriggerEvent",
    "Variant",
    "Window",
    "mismatch",
    "window",
]


# What a candidate's `kind` says where it comes from a pattern, or from what happened, not from a prediction.
PATTERN = "pattern"
EVENT = "event"


class Goal(StrEnum):
    """What a playbook wants to achieve, and by which label its effect is read."""

    PREVENT_ISSUE = "prevent_issue"  # fewer problems within the horizon
    FIRST_USE = "first_use"  # a good start; read by the same label: fewer problems
    KEEP_CUSTOMER = "keep_customer"  # a further order within the horizon
    LISTEN = "listen"  # an answer: a rating, a goal, a word; its harm is read by the label of the first


# How much a playbook matters beside others where its file does not say; other goals: little.
PRIORITIES = {
    Goal.PREVENT_ISSUE: Priority.HIGH,
    Goal.FIRST_USE: Priority.NORMAL,
    Goal.KEEP_CUSTOMER: Priority.NORMAL,
}


class Autonomy(StrEnum):
    """How far the bot goes by itself, from the most careful level on; a playbook's file names the highest it may reach."""

    DRAFT = "draft"  # drafts for agents to copy; nothing is ever sent
    APPROVE = "approve"  # cards ask an agent; each needs an approval
    AUTO_AFTER = "auto_after"  # goes out some time after its card appeared, unless an agent stops it
    AUTO = "auto"  # goes out at once, once the playbook has earned it and an agent said so

    @property
    def rank(self) -> int:
        """Position from careful to free."""
        return list(Autonomy).index(self)


class Band(StrEnum):
    """How probable trouble is, in words; the borders are settings (`predictors.bands`)."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"

    @property
    def rank(self) -> int:
        """Position from harmless to grave."""
        return list(Band).index(self)


@dataclass(frozen=True, kw_only=True)
class PredictionNeed:
    """Which prediction the audience is drawn by, and how probable it must be.

    Attributes
    ----------
    kind : str
        `issue` or `churn`.
    moments : tuple of str
        Which moments count (`placed`, `due`); empty: any.
    """

    kind: str
    moments: tuple[str, ...] = ()
    band: Band = Band.LOW
    probability_at_least: float = 0.0


@dataclass(frozen=True, kw_only=True)
class PatternNeed:
    """Which emergent patterns the audience is drawn by; empty: any.

    Attributes
    ----------
    dimensions : tuple of str
        `lot`, `product`, `seller`, `region`.
    kinds : tuple of str
        Kinds of trouble or topics, as `aftercare report patterns` names them.
    """

    dimensions: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()

    def meets(self, dimension: str, kind: str) -> bool:
        """Say whether a pattern is meant."""
        return (not self.dimensions or dimension in self.dimensions) and (not self.kinds or kind in self.kinds)


@dataclass(frozen=True, kw_only=True)
class Audience:
    """Whom a playbook means; empty collections and None mean everybody.

    It is drawn by a prediction; or by a pattern: then it is who is in one and has not complained, proposed when an agent
    asks for it; or, without either, by what the trigger names: everybody to whom that happened.

    Attributes
    ----------
    products, categories : tuple of str
        The shop's ids of products and their categories, of which one is in the order.
    stages : tuple of str
        Where the customer stands after buying.
    customer_value_at_least, customer_value_at_most : float or None
        Of all that they ordered so far, together.
    """

    prediction: PredictionNeed | None = None
    pattern: PatternNeed | None = None
    locales: tuple[str, ...] = ()
    countries: tuple[str, ...] = ()
    order_total_at_least: float | None = None
    order_total_at_most: float | None = None
    products: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    stages: tuple[str, ...] = ()
    customer_value_at_least: float | None = None
    customer_value_at_most: float | None = None


@dataclass(frozen=True, kw_only=True)
class Step:
    """One message: which template, which wait, which question to look up an article for.

    Attributes
    ----------
    after : str
        The step that it follows; empty for the first one.
    wait : timedelta
        How long after that step was sent (for the first: after the trigger) it is due.
    when : When or None
        What must, or must not, have happened since; None: whatever happened.
    """

    id: str
    template: str
    wait: timedelta = timedelta(0)
    article: str = ""
    after: str = ""
    when: When | None = None


@dataclass(frozen=True, kw_only=True)
class Variant:
    """An arm with words of its own: its share among the variants, and its template."""

    name: str
    share: float
    template: str


@dataclass(frozen=True, kw_only=True)
class Playbook:
    """A checked playbook; `version` is a fingerprint of what was read.

    Attributes
    ----------
    autonomy : Autonomy
        The highest level that it may reach.
    auto_after : timedelta
        How long its cards stand before they go out unasked, where `autonomy` is AUTO_AFTER.
    purpose : Purpose
        What the customer must have allowed, or not forbidden.
    priority : Priority
        How much it matters beside other playbooks that would contact the same customer.
    enabled : bool
        Whether it is in force unless the shop says otherwise (`playbooks.enable`, `playbooks.disable`).
    time_to_live : timedelta or None
        How long after its trigger a later step may still be proposed; None: as long as the waits take, and a week.
    most_per_day : int or None
        So many first steps a day at most.
    due_after : timedelta or None
        Within what time its owner should have decided on a card.
    escalate_after, escalate_to : timedelta or None, str
        When somebody else is told that a card still waits, and who.
    """

    id: str
    version: str
    title: str
    goal: Goal
    owner: str
    autonomy: Autonomy
    audience: Audience
    trigger: Trigger
    steps: tuple[Step, ...]
    exits: frozenset[str]
    channels: tuple[str, ...]
    cool_down: timedelta
    expires_after: timedelta | None = None
    holdout_share: float | None = None
    variants: tuple[Variant, ...] = ()
    auto_after: timedelta = timedelta(0)
    purpose: Purpose = Purpose.SERVICE
    priority: Priority = Priority.NORMAL
    enabled: bool = True
    time_to_live: timedelta | None = None
    most_per_day: int | None = None
    due_after: timedelta | None = None
    escalate_after: timedelta | None = None
    escalate_to: str = ""

    @property
    def kind(self) -> str:
        """What its candidates are drawn by: a kind of prediction, PATTERN or EVENT."""
        if self.audience.prediction is not None:
            return self.audience.prediction.kind
        return EVENT if self.audience.pattern is None else PATTERN

    @property
    def per_order(self) -> bool:
        """Whether it is about one order (else about the customer as a whole)."""
        return self.trigger.event not in CUSTOMER_EVENTS

    @property
    def lives_for(self) -> timedelta:
        """How long after its trigger a later step may still be proposed."""
        if self.time_to_live is not None:
            return self.time_to_live
        waits = sum((step.wait for step in self.steps[1:]), timedelta(0))
        return self.trigger.within + waits + timedelta(days=7)

    def step(self, step_id: str) -> Step | None:
        """Return a step by its id."""
        return next((one for one in self.steps if one.id == step_id), None)

    def following(self, step_id: str) -> tuple[Step, ...]:
        """Return the steps that may come next after one, in the order in which they are tried."""
        return tuple(one for one in self.steps if one.after == step_id)

    @property
    def arms(self) -> tuple[Arm, ...]:
        """The variants as arms for the draw."""
        return tuple(Arm(name=variant.name, share=variant.share) for variant in self.variants)

    def template(self, step: Step, arm: str) -> str:
        """Return the template that a step has in an arm; what follows on the first step has the same words in each."""
        if step.id != self.steps[0].id:
            return step.template
        return next((variant.template for variant in self.variants if variant.name == arm), step.template)


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """What the audience and trigger are judged by, about one customer or order.

    Attributes
    ----------
    events : frozenset of str
        Kinds of touchpoint recorded since the event that the playbook counts from.
    products, categories : frozenset of str
        Of the order; read only where the audience asks for them, as are the next two.
    """

    kind: str
    moment: str
    band: str
    probability: float
    locale: str
    country: str
    order_total: float | None
    trigger_at: datetime | None
    events: frozenset[str]
    products: frozenset[str] = frozenset()
    categories: frozenset[str] = frozenset()
    stage: str = ""
    customer_value: float | None = None


@dataclass(frozen=True, kw_only=True)
class Window:
    """The span in which a check-in makes sense; half-open, in UTC."""

    opens: datetime
    closes: datetime


def window(playbook: Playbook, trigger_at: datetime, step: Step) -> Window:
    """Return when a step of a playbook may be proposed, counted from its event."""
    anchor = trigger_at.astimezone(UTC)
    return Window(opens=anchor + playbook.trigger.after + step.wait, closes=anchor + playbook.trigger.within)


def mismatch(playbook: Playbook, candidate: Candidate, now: datetime) -> str | None:
    """Say why a candidate is not meant by a playbook now; None: it is.

    Being outside the audience is no refusal: nothing is stored about it.
    """
    audience, need = playbook.audience, playbook.audience.prediction
    if candidate.kind != playbook.kind or (need and need.moments and candidate.moment not in need.moments):
        return "another prediction"
    if need and (candidate.probability < need.probability_at_least or Band(candidate.band).rank < need.band.rank):
        return "not probable enough"
    if audience.locales and not _speaks(candidate.locale, audience.locales):
        return "another language"
    if audience.countries and candidate.country not in audience.countries:
        return "another country"
    total = candidate.order_total
    if audience.order_total_at_least is not None and (total is None or total < audience.order_total_at_least):
        return "order too small"
    if audience.order_total_at_most is not None and (total is None or total > audience.order_total_at_most):
        return "order too large"
    if why := _other_customer(audience, candidate):
        return why
    if candidate.trigger_at is None:
        return f"no {playbook.trigger.event} event"
    if left := sorted(playbook.exits & candidate.events):
        return f"left by {left[0]}"
    if found := sorted(playbook.trigger.without & candidate.events):
        return f"there was {found[0]}"
    span = window(playbook, candidate.trigger_at, playbook.steps[0])
    if now < span.opens:
        return "too early"
    if now >= span.closes:
        return "too late"
    return None


def _other_customer(audience: Audience, candidate: Candidate) -> str | None:
    if audience.products and candidate.products.isdisjoint(audience.products):
        return "another product"
    if audience.categories and candidate.categories.isdisjoint(audience.categories):
        return "another category"
    if audience.stages and candidate.stage not in audience.stages:
        return "another stage"
    value = candidate.customer_value
    if audience.customer_value_at_least is not None and (value is None or value < audience.customer_value_at_least):
        return "ordered too little so far"
    if audience.customer_value_at_most is not None and (value is None or value > audience.customer_value_at_most):
        return "ordered too much so far"
    return None


def _speaks(locale: str, wanted: tuple[str, ...]) -> bool:
    tag = locale.replace("_", "-").lower()
    return any(tag == one.lower() or tag.startswith(f"{one.lower()}-") for one in wanted)
