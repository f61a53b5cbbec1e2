"""The settings of the people who answer where the bot does not: their hours, and how soon they answer.

What they mean is `bot.decide.opening`'s and `bot.decide.duty`'s business.
"""

from __future__ import annotations

from datetime import date, time
from itertools import pairwise
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from bot.setting_types import WEEKDAYS, PositiveInt, Section

__all__ = ["DueMinutes", "Support", "SupportHours"]


def _spans(value: Any) -> Any:
    """Read `["09:00-12:30", "13:30-17:00"]`; 24:00 is the end of the day."""
    advice = 'write spans such as ["09:00-17:00"], each ending after it begins, in order'
    if not isinstance(value, list | tuple):
        raise ValueError(advice)
    found: list[tuple[time, time]] = []
    for one in value:
        if isinstance(one, tuple):
            found.append(one)
            continue
        start, dash, end = str(one).partition("-")
        try:
            begins, ends = time.fromisoformat(start.strip()), time.fromisoformat(end.strip().replace("24:00", "00:00"))
        except ValueError:
            raise ValueError(advice) from None
        if not dash or (begins >= ends and ends != time.min):
            raise ValueError(advice)
        found.append((begins, ends))
    for (_, before), (after, _) in pairwise(found):
        if before == time.min or after < before:
            raise ValueError(advice)
    return tuple(found)


Spans = Annotated[tuple[tuple[time, time], ...], BeforeValidator(_spans)]


class SupportHours(Section):
    """When the team answers, by weekday in the shop's zone; nothing at all: no hours are promised."""

    monday: Spans = ()
    tuesday: Spans = ()
    wednesday: Spans = ()
    thursday: Spans = ()
    friday: Spans = ()
    saturday: Spans = ()
    sunday: Spans = ()

    @property
    def week(self) -> dict[int, tuple[tuple[time, time], ...]]:
        """The days that have hours, Monday 0."""
        found = {number: getattr(self, name) for number, name in enumerate(WEEKDAYS)}
        return {number: spans for number, spans in found.items() if spans}


class DueMinutes(Section):
    """How soon a customer who was handed over shall have an answer."""

    urgent: PositiveInt = 15
    normal: PositiveInt = 240


class Support(Section):
    hours: SupportHours = SupportHours()
    holidays: tuple[date, ...] = ()
    due_minutes: DueMinutes = DueMinutes()
    remind_minutes_before: Annotated[int, Field(ge=0)] = 5
