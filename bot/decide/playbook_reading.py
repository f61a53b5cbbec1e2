"""From a plain mapping to a checked Playbook; every mistake is named with its line, all at once.

The mapping comes from YAML that `bot.services.planning.playbooks` parsed; which templates and touchpoints there are is
handed in, so that nothing here reaches outside.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any, TypeVar

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
from bot.errors import InputError

__all__ = ["CHANNELS", "EXIT_EVENTS", "PlaybookError", "Problem", "parse_duration", "read_playbook"]

CHANNELS = ("slack", "email")
# What can end a playbook for a customer: touchpoints that say that its reason went away.
EXIT_EVENTS = (
    "placed", "shipped", "out_for_delivery", "delivered", "exception", "cancelled", "ticket_opened", "complaint",
    "return_requested", "returned", "refunded", "review", "csat", "activated", "used", "reply", "opt_out",
)  # fmt: skip
_MOMENTS = {"issue": ("placed", "due"), "churn": ()}
_DURATION = re.compile(r"(-?)(\d+(?:\.\d+)?)\s*(m|h|d|w)")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_YEAR = timedelta(days=366)
_DIMENSIONS = ("lot", "product", "seller", "region")
# Nobody can stop what they have no time to read.
_SHORTEST_NOTICE = timedelta(minutes=1)
Word = TypeVar("Word", bound=StrEnum)
Path = tuple[str | int, ...]
_ABSENT = object()


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One mistake: where it stands and what to write instead."""

    path: str
    line: int
    message: str


class PlaybookError(InputError):
    """A playbook has mistakes; the message lists every one with file and line."""

    def __init__(self, file: str, problems: Sequence[Problem]) -> None:
        self.file = file
        self.problems = tuple(problems)
        super().__init__("\n".join(f"{file}:{one.line}: {one.path}: {one.message}" for one in self.problems))


def parse_duration(text: str) -> timedelta | None:
    """Read `90m`, `12h`, `3d`, `2w` or `-2d`; None if it is none."""
    found = _DURATION.fullmatch(text.strip())
    if not found:
        return None
    sign = -1 if found[1] else 1
    try:
        return sign * timedelta(**{_UNITS[found[3]]: float(found[2])})
    except OverflowError:
        return None


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


class _Reader:
    """Walks the mapping; notes every mistake and goes on with a harmless value."""

    def __init__(self, lines: Mapping[Path, int], templates: Collection[str] | None) -> None:
        self.problems: list[Problem] = []
        self._lines = lines
        self._templates = templates

    def playbook(self, tree: Any, version: str) -> Playbook | None:
        known = (
            "id", "title", "goal", "owner", "autonomy", "auto_after", "purpose", "priority", "audience", "trigger", "steps",
            "exit", "channels", "cool_down", "expires_after", "holdout_share", "variants",
        )  # fmt: skip
        top = self._mapping((), tree, known)
        if not isinstance(tree, Mapping):
            return None
        steps = tuple(self._step(("steps", index), one) for index, one in enumerate(self._list(("steps",), top)))
        if not steps:
            self._wrong(("steps",), "write at least one step with `id` and `template`")
        elif len(steps) > 1:
            self._wrong(
                ("steps", 1), "this version acts on one step a playbook; put the others into their own playbooks"
            )
        expires = top.get("expires_after", _ABSENT)
        share = top.get("holdout_share", _ABSENT)
        autonomy = self._word(("autonomy",), top, Autonomy, default=Autonomy.APPROVE)
        goal = self._word(("goal",), top, Goal)
        return Playbook(
            id=self._name(("id",), top),
            version=version,
            title=self._text(("title",), top),
            goal=goal,
            purpose=self._word(("purpose",), top, Purpose, default=Purpose.SERVICE),
            priority=self._word(("priority",), top, Priority, default=PRIORITIES.get(goal, Priority.LOW)),
            owner=self._text(("owner",), top),
            autonomy=autonomy,
            auto_after=self._notice(top, autonomy),
            audience=self._audience(top.get("audience", _ABSENT)),
            trigger=self._trigger(top.get("trigger", _ABSENT)),
            steps=steps,
            exits=frozenset(self._words(("exit",), top, EXIT_EVENTS)),
            channels=self._words(("channels",), top, CHANNELS) or CHANNELS,
            cool_down=self._duration(("cool_down",), top, timedelta(days=30), at_least=timedelta(0)),
            expires_after=None
            if expires is _ABSENT
            else self._duration(("expires_after",), top, timedelta(days=3), at_least=timedelta(hours=1)),
            holdout_share=None if share is _ABSENT else self._number(("holdout_share",), top, 0, 0, 0.9),
            variants=self._variants(top),
        )

    def _audience(self, tree: Any) -> Audience:
        here: Path = ("audience",)
        part = self._mapping(
            here, tree, ("prediction", "pattern", "locales", "countries", "order_total_at_least", "order_total_at_most")
        )
        if "pattern" in part and "prediction" in part:
            self._wrong((*here, "pattern"), "write either prediction or pattern")
        least = part.get("order_total_at_least", _ABSENT)
        most = part.get("order_total_at_most", _ABSENT)
        return Audience(
            prediction=None
            if "pattern" in part
            else self._need((*here, "prediction"), part.get("prediction", _ABSENT)),
            pattern=self._pattern((*here, "pattern"), part) if "pattern" in part else None,
            locales=self._texts((*here, "locales"), part),
            countries=self._texts((*here, "countries"), part),
            order_total_at_least=None
            if least is _ABSENT
            else self._number((*here, "order_total_at_least"), part, 0, 0, 1e12),
            order_total_at_most=None
            if most is _ABSENT
            else self._number((*here, "order_total_at_most"), part, 0, 0, 1e12),
        )

    def _need(self, here: Path, tree: Any) -> PredictionNeed:
        part = self._mapping(here, tree, ("kind", "moments", "band", "probability_at_least"))
        kind = part.get("kind", _ABSENT)
        if not isinstance(kind, str) or kind not in _MOMENTS:
            kind = "issue"
            if part:
                self._wrong((*here, "kind"), "write issue or churn")
        return PredictionNeed(
            kind=kind,
            moments=self._words((*here, "moments"), part, _MOMENTS[kind]),
            band=self._word((*here, "band"), part, Band, default=Band.LOW),
            probability_at_least=self._number((*here, "probability_at_least"), part, 0.0, 0, 1),
        )

    def _pattern(self, here: Path, audience: Mapping[str, Any]) -> PatternNeed:
        # `pattern:` with nothing behind it means any.
        part = self._mapping(here, audience["pattern"] or {}, ("dimensions", "kinds"))
        kinds = self._texts((*here, "kinds"), part)
        for index, kind in enumerate(kinds):
            if not _NAME.fullmatch(kind):
                self._wrong((*here, "kinds", index), f"{kind!r} is no kind; write one such as charging or return")
        return PatternNeed(dimensions=self._words((*here, "dimensions"), part, _DIMENSIONS), kinds=kinds)

    def _notice(self, top: Mapping[str, Any], autonomy: Autonomy) -> timedelta:
        here: Path = ("auto_after",)
        if autonomy is not Autonomy.AUTO_AFTER:
            if "auto_after" in top:
                self._wrong(here, "belongs to autonomy: auto_after; write that, or leave this out")
            return timedelta(0)
        if "auto_after" not in top:
            self._wrong(here, "is missing; write how long agents have to stop it, such as 20m")
        return self._duration(here, top, _SHORTEST_NOTICE, at_least=_SHORTEST_NOTICE)

    def _trigger(self, tree: Any) -> Trigger:
        here: Path = ("trigger",)
        part = self._mapping(here, tree, ("event", "after", "within"))
        after = self._duration((*here, "after"), part, timedelta(0), at_least=-_YEAR)
        within = self._duration((*here, "within"), part, timedelta(days=14), at_least=-_YEAR)
        if after >= within:
            self._wrong((*here, "within"), "must be later than `after`, else there is no time to act")
        return Trigger(
            event=self._word((*here, "event"), part, TriggerEvent) if part else TriggerEvent.PLACED,
            after=after,
            within=within,
        )

    def _step(self, here: Path, tree: Any) -> Step:
        part = self._mapping(here, tree, ("id", "template", "wait", "article"))
        return Step(
            id=self._name((*here, "id"), part),
            template=self._template((*here, "template"), part),
            wait=self._duration((*here, "wait"), part, timedelta(0), at_least=timedelta(0)),
            article=self._text((*here, "article"), part, required=False),
        )

    def _variants(self, top: Mapping[str, Any]) -> tuple[Variant, ...]:
        found: list[Variant] = []
        for index, tree in enumerate(self._list(("variants",), top)):
            here: Path = ("variants", index)
            part = self._mapping(here, tree, ("name", "share", "template"))
            variant = Variant(
                name=self._name((*here, "name"), part),
                share=self._number((*here, "share"), part, 1.0, 0.001, 1000),
                template=self._template((*here, "template"), part),
            )
            if variant.name == HOLDOUT or any(variant.name == other.name for other in found):
                self._wrong((*here, "name"), f"{variant.name} is taken; every arm has a name of its own")
            found.append(variant)
        return tuple(found)

    # --- single values -------------------------------------------------------------------------------

    def _mapping(self, here: Path, tree: Any, known: Sequence[str]) -> Mapping[str, Any]:
        if tree is _ABSENT:
            self._wrong(here, f"is missing; write it with {', '.join(known)}")
            return {}
        if not isinstance(tree, Mapping):
            self._wrong(here, f"must be a mapping with {', '.join(known)}")
            return {}
        for key in tree:
            if key not in known:
                close = difflib.get_close_matches(str(key), known, 1)
                hint = f"did you mean {close[0]}?" if close else f"known here: {', '.join(known)}"
                self._wrong((*here, key), f"unknown key; {hint}")
        return tree

    def _list(self, here: Path, part: Mapping[str, Any]) -> Sequence[Any]:
        value = part.get(str(here[-1]), ())
        if isinstance(value, str) or not isinstance(value, Sequence):
            self._wrong(here, "must be a list")
            return ()
        return value

    def _text(self, here: Path, part: Mapping[str, Any], *, required: bool = True) -> str:
        value = part.get(str(here[-1]), _ABSENT)
        if value is _ABSENT and not required:
            return ""
        if not isinstance(value, str) or not value.strip():
            self._wrong(here, "is missing; write some words" if value is _ABSENT else "must be some words")
            return ""
        return value.strip()

    def _texts(self, here: Path, part: Mapping[str, Any]) -> tuple[str, ...]:
        found = self._list(here, part)
        for index, value in enumerate(found):
            if not isinstance(value, str):  # YAML reads the country NO as false
                self._wrong((*here, index), f'{value!r} is no text; put it in quotes, such as "NO"')
        return tuple(value for value in found if isinstance(value, str))

    def _name(self, here: Path, part: Mapping[str, Any]) -> str:
        value = part.get(str(here[-1]), _ABSENT)
        if not isinstance(value, str) or not _NAME.fullmatch(value):
            what = "is missing; write" if value is _ABSENT else f"{value!r} is no name; write"
            self._wrong(here, f"{what} small letters, digits and _, such as delivery_at_risk")
            return "_"
        return value

    def _template(self, here: Path, part: Mapping[str, Any]) -> str:
        name = self._name(here, part)
        if name != "_" and self._templates is not None and name not in self._templates:
            close = difflib.get_close_matches(name, self._templates, 1)
            hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(sorted(self._templates))}"
            self._wrong(here, f"there is no message template {name!r}; {hint}")
        return name

    def _word(self, here: Path, part: Mapping[str, Any], words: type[Word], default: Word | None = None) -> Word:
        value = part.get(str(here[-1]), _ABSENT)
        if value is _ABSENT and default is not None:
            return default
        if value not in tuple(words):
            what = "is missing" if value is _ABSENT else f"{value!r} is not known"
            self._wrong(here, f"{what}; write {' or '.join(words)}")
            return default or next(iter(words))
        return words(value)

    def _words(self, here: Path, part: Mapping[str, Any], known: Sequence[str]) -> tuple[str, ...]:
        found = self._list(here, part)
        for index, value in enumerate(found):
            if value not in known:
                self._wrong((*here, index), f"{value!r} is not known; write any of {', '.join(known) or 'nothing'}")
        return tuple(dict.fromkeys(value for value in found if value in known))

    def _number(self, here: Path, part: Mapping[str, Any], default: float, least: float, most: float) -> float:
        value = part.get(str(here[-1]), default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
            self._wrong(here, f"{value!r} must be a number from {least:g} to {most:g}")
            return default
        return float(value)

    def _duration(self, here: Path, part: Mapping[str, Any], default: timedelta, *, at_least: timedelta) -> timedelta:
        value = part.get(str(here[-1]), _ABSENT)
        if value is _ABSENT:
            return default
        length = parse_duration(value) if isinstance(value, str) else None
        if length is None or not at_least <= length <= 10 * _YEAR:
            self._wrong(here, f"{value!r} is no time span that makes sense here; write 90m, 12h, 3d or 2w")
            return default
        return length

    def _wrong(self, here: Path, message: str) -> None:
        path: Path = here
        while path and path not in self._lines:
            path = path[:-1]
        name = ".".join(str(part) for part in here) or "the file"
        self.problems.append(Problem(path=name, line=self._lines.get(path, 1), message=message))
