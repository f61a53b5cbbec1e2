"""From a plain mapping to a checked Playbook; every mistake is named with its line, all at once.

The mapping comes from YAML that `bot.services.planning.playbooks` parsed; which templates there are is handed in, so
that nothing here reaches outside. How a single value is read is `bot.decide.playbook_values`' business.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from typing import Any

from bot.decide.assignment import HOLDOUT
from bot.decide.contact import Priority, Purpose
from bot.decide.playbook import (
    PRIORITIES,
    Audience,
    Autonomy,
    Band,
    Goal,
    PatternNeed,
    Playbook,
    PredictionNeed,
    Step,
    Trigger,
    TriggerEvent,
    Variant,
)
from bot.decide.playbook_values import ABSENT, NAME, YEAR, Path, PlaybookError, Problem, Values, parse_duration
from bot.decide.playbook_when import ANSWERED, SAID, When
from bot.decide.stage import Stage

__all__ = ["CHANNELS", "EXIT_EVENTS", "EXIT_WORDS", "PlaybookError", "Problem", "parse_duration", "read_playbook"]

CHANNELS = ("slack", "email")
# What can end a playbook for a customer: touchpoints that say that its reason went away.
EXIT_EVENTS = (
    "placed", "shipped", "out_for_delivery", "delivered", "exception", "cancelled", "ticket_opened", "ticket_closed",
    "complaint", "return_requested", "returned", "refunded", "review", "csat", "nps", "goal", "activated", "used", "reply",
    "opt_out",
)  # fmt: skip
# Words for several of them; `goal_reached` is what the playbook wants.
EXIT_WORDS = {
    "open_issue": ("ticket_opened", "complaint", "return_requested"),
    "refund": ("refunded", "returned"),
    "replied": ("reply",),
}
GOAL_REACHED = {
    Goal.PREVENT_ISSUE: ("delivered",),
    Goal.FIRST_USE: ("activated", "used"),
    Goal.KEEP_CUSTOMER: ("placed",),
    Goal.LISTEN: ("csat", "nps", "review", "goal"),
}
STAGES = tuple(Stage)
_MOMENTS = {"issue": ("placed", "due"), "churn": ()}
_DIMENSIONS = ("lot", "product", "seller", "region")
# Nobody can stop what they have no time to read.
_SHORTEST_NOTICE = timedelta(minutes=1)
_PREDICTED = (TriggerEvent.PLACED, TriggerEvent.PROMISED, TriggerEvent.DELIVERED, TriggerEvent.LAST_ORDER)
_RATED = (TriggerEvent.REVIEW, TriggerEvent.CSAT, TriggerEvent.NPS)
_YEARLY = (TriggerEvent.FIRST_ORDER, TriggerEvent.BIRTHDAY)
_KNOWN = (
    "id", "title", "goal", "owner", "due_after", "escalate", "autonomy", "auto_after", "enabled", "purpose", "priority",
    "audience",
    "trigger", "steps", "exit", "time_to_live", "channels", "cool_down", "expires_after", "holdout_share", "limits",
    "variants",
)  # fmt: skip


def read_playbook(
    tree: Any,
    lines: Mapping[Path, int],
    *,
    file: str,
    version: str,
    templates: Collection[str] | None = None,
    duplicates: Sequence[Problem] = (),
) -> Playbook:
    """Check a mapping and return the playbook.

    Parameters
    ----------
    tree : object
        What the YAML file holds.
    lines : mapping of path to int
        The line on which each key or list item stands, counted from 1.
    templates : collection of str, optional
        Which messages there are; not checked where None.
    duplicates : sequence of Problem
        Mistakes found while parsing, reported along.

    Raises
    ------
    PlaybookError
        With every mistake, ordered by line.
    """
    reader = _Reader(lines, templates)
    playbook = reader.playbook(tree, version)
    problems = sorted([*duplicates, *reader.problems], key=lambda one: (one.line, one.path))
    if problems or playbook is None:
        raise PlaybookError(file, problems)
    return playbook


class _Reader(Values):
    """Walks the mapping; notes every mistake and goes on with a harmless value."""

    def playbook(self, tree: Any, version: str) -> Playbook | None:
        top = self.mapping((), tree, _KNOWN)
        if not isinstance(tree, Mapping):
            return None
        share = top.get("holdout_share", ABSENT)
        autonomy = self.word(("autonomy",), top, Autonomy, default=Autonomy.APPROVE)
        goal = self.word(("goal",), top, Goal)
        audience = self._audience(top.get("audience", ABSENT))
        trigger = self._trigger(top.get("trigger", ABSENT), audience)
        escalate_after, escalate_to = self._escalation(top)
        most = self.limit(("limits", "per_day"), self._part(("limits",), top, ("per_day",)), 1, 1e6)
        return Playbook(
            id=self.name(("id",), top),
            version=version,
            title=self.text(("title",), top),
            goal=goal,
            priority=self.word(("priority",), top, Priority, default=PRIORITIES.get(goal, Priority.LOW)),
            owner=self.text(("owner",), top),
            autonomy=autonomy,
            auto_after=self._notice(top, autonomy),
            purpose=self.word(("purpose",), top, Purpose, default=Purpose.SERVICE),
            enabled=self.flag(("enabled",), top, True),
            audience=audience,
            trigger=trigger,
            steps=self._steps(top, trigger),
            exits=self._exits(top, goal),
            time_to_live=self._time_to_live(top, trigger),
            channels=self.words(("channels",), top, CHANNELS) or CHANNELS,
            cool_down=self.duration(("cool_down",), top, timedelta(days=30), at_least=timedelta(0)),
            expires_after=self.span(("expires_after",), top, at_least=timedelta(hours=1)),
            due_after=self.span(("due_after",), top, at_least=timedelta(minutes=1)),
            escalate_after=escalate_after,
            escalate_to=escalate_to,
            holdout_share=None if share is ABSENT else self.number(("holdout_share",), top, 0, 0, 0.9),
            most_per_day=None if most is None else int(most),
            variants=self._variants(top),
        )

    def _part(self, here: Path, part: Mapping[str, Any], known: Sequence[str]) -> Mapping[str, Any]:
        return self.mapping(here, part[str(here[-1])], known) if str(here[-1]) in part else {}

    # --- whom ----------------------------------------------------------------------------------------

    def _audience(self, tree: Any) -> Audience:
        here: Path = ("audience",)
        known = (
            "prediction", "pattern", "locales", "countries", "order_total_at_least", "order_total_at_most", "products",
            "categories", "stages", "customer_value_at_least", "customer_value_at_most",
        )  # fmt: skip
        part = self.mapping(here, tree or {}, known)
        if "pattern" in part and "prediction" in part:
            self.wrong((*here, "pattern"), "write either prediction or pattern")
        for name in ("order_total", "customer_value"):
            least, most = part.get(f"{name}_at_least"), part.get(f"{name}_at_most")
            if isinstance(least, int | float) and isinstance(most, int | float) and least > most:
                self.wrong((*here, f"{name}_at_most"), f"is less than {name}_at_least; nobody is between")
        return Audience(
            prediction=self._need((*here, "prediction"), part["prediction"])
            if "prediction" in part and "pattern" not in part
            else None,
            pattern=self._pattern((*here, "pattern"), part) if "pattern" in part else None,
            locales=self.texts((*here, "locales"), part),
            countries=self.texts((*here, "countries"), part),
            order_total_at_least=self.limit((*here, "order_total_at_least"), part, 0, 1e12),
            order_total_at_most=self.limit((*here, "order_total_at_most"), part, 0, 1e12),
            products=self.texts((*here, "products"), part),
            categories=self.texts((*here, "categories"), part),
            stages=self.words((*here, "stages"), part, STAGES),
            customer_value_at_least=self.limit((*here, "customer_value_at_least"), part, 0, 1e12),
            customer_value_at_most=self.limit((*here, "customer_value_at_most"), part, 0, 1e12),
        )

    def _need(self, here: Path, tree: Any) -> PredictionNeed:
        part = self.mapping(here, tree, ("kind", "moments", "band", "probability_at_least"))
        kind = part.get("kind", ABSENT)
        if not isinstance(kind, str) or kind not in _MOMENTS:
            kind = "issue"
            if isinstance(tree, Mapping):
                self.wrong((*here, "kind"), "write issue or churn")
        return PredictionNeed(
            kind=kind,
            moments=self.words((*here, "moments"), part, _MOMENTS[kind]),
            band=self.word((*here, "band"), part, Band, default=Band.LOW),
            probability_at_least=self.number((*here, "probability_at_least"), part, 0.0, 0, 1),
        )

    def _pattern(self, here: Path, audience: Mapping[str, Any]) -> PatternNeed:
        # `pattern:` with nothing behind it means any.
        part = self.mapping(here, audience["pattern"] or {}, ("dimensions", "kinds"))
        kinds = self.texts((*here, "kinds"), part)
        for index, kind in enumerate(kinds):
            if not NAME.fullmatch(kind):
                self.wrong((*here, "kinds", index), f"{kind!r} is no kind; write one such as charging or return")
        return PatternNeed(dimensions=self.words((*here, "dimensions"), part, _DIMENSIONS), kinds=kinds)

    # --- when ----------------------------------------------------------------------------------------

    def _trigger(self, tree: Any, audience: Audience) -> Trigger:
        here: Path = ("trigger",)
        known = ("event", "after", "within", "without", "every", "days", "value_at_least", "value_at_most")
        part = self.mapping(here, tree, known)
        event = self.word((*here, "event"), part, TriggerEvent) if part else TriggerEvent.PLACED
        after = self.duration((*here, "after"), part, timedelta(0), at_least=-YEAR)
        within = self.duration((*here, "within"), part, timedelta(days=14), at_least=-YEAR)
        if after >= within:
            self.wrong((*here, "within"), "must be later than `after`, else there is no time to act")
        drawn = audience.prediction is not None or audience.pattern is not None
        if drawn and event not in _PREDICTED:
            self.wrong((*here, "event"), f"an audience by prediction or pattern counts from {' or '.join(_PREDICTED)}")
        every = self.span((*here, "every"), part, at_least=timedelta(days=1))
        if every is not None and (drawn or event in _YEARLY):
            self.wrong((*here, "every"), "belongs to an event that comes round for everybody; leave it out here")
        elif every is not None and every < within - after:
            self.wrong((*here, "every"), "is shorter than the time from `after` to `within`; the turns would overlap")
        if "days" in part and event is not TriggerEvent.REPLENISHMENT:
            self.wrong((*here, "days"), "belongs to event: replenishment; leave it out here")
        for name in ("value_at_least", "value_at_most"):
            if name in part and event not in _RATED:
                self.wrong((*here, name), f"belongs to an event with a value: {' or '.join(_RATED)}")
        return Trigger(
            event=event,
            after=after,
            within=within,
            without=frozenset(self.words((*here, "without"), part, EXIT_EVENTS)),
            every=every,
            days=self.limit((*here, "days"), part, 1, 1000),
            value_at_least=self.limit((*here, "value_at_least"), part, 0, 10),
            value_at_most=self.limit((*here, "value_at_most"), part, 0, 10),
        )

    def _time_to_live(self, top: Mapping[str, Any], trigger: Trigger) -> timedelta | None:
        found = self.span(("time_to_live",), top, at_least=timedelta(hours=1))
        if found is not None and found < trigger.within:
            self.wrong(("time_to_live",), "is shorter than trigger.within; the first step would come too late")
        return found

    # --- what ----------------------------------------------------------------------------------------

    def _steps(self, top: Mapping[str, Any], trigger: Trigger) -> tuple[Step, ...]:
        steps: list[Step] = []
        for index, tree in enumerate(self.list_of(("steps",), top)):
            steps.append(self._step(("steps", index), tree, steps))
        if not steps:
            self.wrong(("steps",), "write at least one step with `id` and `template`")
        elif trigger.after + steps[0].wait >= trigger.within > trigger.after:
            self.wrong(("steps", 0, "wait"), "ends after trigger.within; the first step would never be due")
        return tuple(steps)

    def _step(self, here: Path, tree: Any, before: Sequence[Step]) -> Step:
        part = self.mapping(here, tree, ("id", "template", "after", "wait", "when", "article"))
        step_id = self.name((*here, "id"), part)
        if step_id != "_" and any(one.id == step_id for one in before):
            self.wrong((*here, "id"), f"{step_id} is taken; every step has an id of its own")
        after = before[-1].id if before else ""
        if "after" in part:
            wanted = self.name((*here, "after"), part)
            if wanted != "_" and all(one.id != wanted for one in before):
                known = ", ".join(one.id for one in before) or "nothing: this is the first step"
                self.wrong((*here, "after"), f"there is no step {wanted!r} before this one; known: {known}")
            else:
                after = wanted
        if "when" in part and not before:
            self.wrong((*here, "when"), "the first step follows on nothing; say it in trigger.without or audience")
        return Step(
            id=step_id,
            template=self.template((*here, "template"), part),
            after=after,
            wait=self.duration((*here, "wait"), part, timedelta(0), at_least=timedelta(0)),
            when=self._when((*here, "when"), part["when"]) if "when" in part else None,
            article=self.text((*here, "article"), part, required=False),
        )

    def _when(self, here: Path, tree: Any) -> When | None:
        words = [*SAID, *(f"not_{word}" for word in SAID)]
        borders = [f"{kind}_{border}" for kind in ANSWERED for border in ("at_least", "at_most")]
        if isinstance(tree, str) and tree in words:
            return When(kinds=SAID[tree.removeprefix("not_")], happened=not tree.startswith("not_"))
        if isinstance(tree, Mapping) and len(tree) == 1:
            key = next(iter(tree))
            if key in borders:
                kind, _, border = str(key).partition("_")
                value = self.number((*here, str(key)), tree, 0, 0, 10)
                return When(kinds=frozenset({kind}), **{border: value})  # type: ignore[arg-type]
            if key in ("happened", "not_happened"):
                kinds = self.words((*here, str(key)), tree, EXIT_EVENTS)
                return When(kinds=frozenset(kinds), happened=key == "happened")
        said = f"write one of {', '.join(words)}, or one of {', '.join(borders)}, happened, not_happened with a value"
        self.wrong(here, f"{tree!r} is no condition; {said}")
        return None

    def _exits(self, top: Mapping[str, Any], goal: Goal) -> frozenset[str]:
        words = self.words(("exit",), top, (*EXIT_EVENTS, "goal_reached", *EXIT_WORDS))
        wide = {**EXIT_WORDS, "goal_reached": GOAL_REACHED[goal]}
        return frozenset(kind for word in words for kind in wide.get(word, (word,)))

    # --- who, and how far ----------------------------------------------------------------------------

    def _notice(self, top: Mapping[str, Any], autonomy: Autonomy) -> timedelta:
        here: Path = ("auto_after",)
        if autonomy is not Autonomy.AUTO_AFTER:
            if "auto_after" in top:
                self.wrong(here, "belongs to autonomy: auto_after; write that, or leave this out")
            return timedelta(0)
        if "auto_after" not in top:
            self.wrong(here, "is missing; write how long agents have to stop it, such as 20m")
        return self.duration(here, top, _SHORTEST_NOTICE, at_least=_SHORTEST_NOTICE)

    def _escalation(self, top: Mapping[str, Any]) -> tuple[timedelta | None, str]:
        if "escalate" not in top:
            return None, ""
        here: Path = ("escalate",)
        part = self.mapping(here, top["escalate"], ("after", "to"))
        if not part:
            return None, ""
        if "after" not in part:
            self.wrong((*here, "after"), "is missing; write how long a card may wait, such as 8h")
        after = self.duration((*here, "after"), part, timedelta(hours=8), at_least=timedelta(minutes=1))
        return after, self.text((*here, "to"), part)

    def _variants(self, top: Mapping[str, Any]) -> tuple[Variant, ...]:
        found: list[Variant] = []
        for index, tree in enumerate(self.list_of(("variants",), top)):
            here: Path = ("variants", index)
            part = self.mapping(here, tree, ("name", "share", "template"))
            variant = Variant(
                name=self.name((*here, "name"), part),
                share=self.number((*here, "share"), part, 1.0, 0.001, 1000),
                template=self.template((*here, "template"), part),
            )
            if variant.name == HOLDOUT or any(variant.name == other.name for other in found):
                self.wrong((*here, "name"), f"{variant.name} is taken; every arm has a name of its own")
            found.append(variant)
        return tuple(found)
