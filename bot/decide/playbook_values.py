"""Single values of a playbook's file, checked: every mistake is noted with its line, and a harmless value goes on.

What the values are put together to is `bot.decide.playbook_reading`'s business.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any, TypeVar

from bot.errors import InputError

__all__ = ["ABSENT", "NAME", "YEAR", "Path", "PlaybookError", "Problem", "Values", "parse_duration"]

_DURATION = re.compile(r"(-?)(\d+(?:\.\d+)?)\s*(m|h|d|w)")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
NAME = re.compile(r"[a-z][a-z0-9_]*")
YEAR = timedelta(days=366)
Word = TypeVar("Word", bound=StrEnum)
Path = tuple[str | int, ...]
ABSENT = object()


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


class Values:
    """Reads values out of mappings; `problems` holds every mistake."""

    def __init__(self, lines: Mapping[Path, int], templates: Collection[str] | None) -> None:
        self.problems: list[Problem] = []
        self._lines = lines
        self._templates = templates

    def mapping(self, here: Path, tree: Any, known: Sequence[str]) -> Mapping[str, Any]:
        if tree is ABSENT:
            self.wrong(here, f"is missing; write it with {', '.join(known)}")
            return {}
        if not isinstance(tree, Mapping):
            self.wrong(here, f"must be a mapping with {', '.join(known)}")
            return {}
        for key in tree:
            if key not in known:
                close = difflib.get_close_matches(str(key), known, 1)
                hint = f"did you mean {close[0]}?" if close else f"known here: {', '.join(known)}"
                self.wrong((*here, key), f"unknown key; {hint}")
        return tree

    def list_of(self, here: Path, part: Mapping[str, Any]) -> Sequence[Any]:
        value = part.get(str(here[-1]), ())
        if isinstance(value, str) or not isinstance(value, Sequence):
            self.wrong(here, "must be a list")
            return ()
        return value

    def text(self, here: Path, part: Mapping[str, Any], *, required: bool = True) -> str:
        value = part.get(str(here[-1]), ABSENT)
        if value is ABSENT and not required:
            return ""
        if not isinstance(value, str) or not value.strip():
            self.wrong(here, "is missing; write some words" if value is ABSENT else "must be some words")
            return ""
        return value.strip()

    def texts(self, here: Path, part: Mapping[str, Any]) -> tuple[str, ...]:
        found = self.list_of(here, part)
        for index, value in enumerate(found):
            if not isinstance(value, str):  # YAML reads the country NO as false
                self.wrong((*here, index), f'{value!r} is no text; put it in quotes, such as "NO"')
        return tuple(value for value in found if isinstance(value, str))

    def name(self, here: Path, part: Mapping[str, Any]) -> str:
        value = part.get(str(here[-1]), ABSENT)
        if not isinstance(value, str) or not NAME.fullmatch(value):
            what = "is missing; write" if value is ABSENT else f"{value!r} is no name; write"
            self.wrong(here, f"{what} small letters, digits and _, such as delivery_at_risk")
            return "_"
        return value

    def template(self, here: Path, part: Mapping[str, Any]) -> str:
        name = self.name(here, part)
        if name != "_" and self._templates is not None and name not in self._templates:
            close = difflib.get_close_matches(name, self._templates, 1)
            hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(sorted(self._templates))}"
            self.wrong(here, f"there is no message template {name!r}; {hint}")
        return name

    def word(self, here: Path, part: Mapping[str, Any], words: type[Word], default: Word | None = None) -> Word:
        value = part.get(str(here[-1]), ABSENT)
        if value is ABSENT and default is not None:
            return default
        if value not in tuple(words):
            what = "is missing" if value is ABSENT else f"{value!r} is not known"
            self.wrong(here, f"{what}; write {' or '.join(words)}")
            return default or next(iter(words))
        return words(value)

    def words(self, here: Path, part: Mapping[str, Any], known: Sequence[str]) -> tuple[str, ...]:
        found = self.list_of(here, part)
        for index, value in enumerate(found):
            if value not in known:
                self.wrong((*here, index), f"{value!r} is not known; write any of {', '.join(known) or 'nothing'}")
        return tuple(dict.fromkeys(value for value in found if value in known))

    def flag(self, here: Path, part: Mapping[str, Any], default: bool) -> bool:
        value = part.get(str(here[-1]), default)
        if not isinstance(value, bool):
            self.wrong(here, f"{value!r} must be true or false")
            return default
        return value

    def limit(self, here: Path, part: Mapping[str, Any], least: float, most: float) -> float | None:
        return self.number(here, part, least, least, most) if str(here[-1]) in part else None

    def span(self, here: Path, part: Mapping[str, Any], *, at_least: timedelta) -> timedelta | None:
        return self.duration(here, part, at_least, at_least=at_least) if str(here[-1]) in part else None

    def number(self, here: Path, part: Mapping[str, Any], default: float, least: float, most: float) -> float:
        value = part.get(str(here[-1]), default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
            self.wrong(here, f"{value!r} must be a number from {least:g} to {most:g}")
            return default
        return float(value)

    def duration(self, here: Path, part: Mapping[str, Any], default: timedelta, *, at_least: timedelta) -> timedelta:
        value = part.get(str(here[-1]), ABSENT)
        if value is ABSENT:
            return default
        length = parse_duration(value) if isinstance(value, str) else None
        if length is None or not at_least <= length <= 10 * YEAR:
            self.wrong(here, f"{value!r} is no time span that makes sense here; write 90m, 12h, 3d or 2w")
            return default
        return length

    def wrong(self, here: Path, message: str) -> None:
        path: Path = here
        while path and path not in self._lines:
            path = path[:-1]
        name = ".".join(str(part) for part in here) or "the file"
        self.problems.append(Problem(path=name, line=self._lines.get(path, 1), message=message))
