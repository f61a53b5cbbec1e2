"""When people answer: opening hours by weekday in one time zone, the next opening, and time counted only while it is open.

Local times become instants the usual way: one that a clock change leaves out shifts forward, one that comes twice is the
first. A span of opening lasts from the instant of its start to that of its end, however the clock moves in between.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

__all__ = ["Hours", "Span"]

# A span of local time on one day, from the start up to, not including, the end; midnight as the end is that of the next day.
Span = tuple[time, time]
# So far ahead an opening is looked for: longer holidays have no end that could be promised.
LOOK_AHEAD = timedelta(days=60)
_DAY = timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class Hours:
    """Opening hours.

    Attributes
    ----------
    week : mapping of int to sequence of Span
        By weekday, Monday 0; a day that is left out is closed. Empty: nothing was said, and it counts as always open.
    holidays : frozenset of date
        Local days on which nobody is there.
    """

    zone: ZoneInfo
    week: Mapping[int, Sequence[Span]] = field(default_factory=dict)
    holidays: frozenset[date] = frozenset()

    def is_open(self, instant: datetime) -> bool:
        """Say whether somebody is there at an instant."""
        if not self.week:
            return True
        return any(start <= instant < end for start, end in self._spans(instant, instant))

    def next_opening(self, instant: datetime) -> datetime | None:
        """Return the instant itself while it is open, else when it opens next; None: not within two months."""
        if self.is_open(instant):
            return instant
        starts = (start for start, _ in self._spans(instant, instant + LOOK_AHEAD))
        return next((start for start in starts if start > instant), None)

    def after(self, instant: datetime, open_time: timedelta) -> datetime:
        """Return the instant at which it was open for so long, counted from an instant; real time where nothing opens."""
        if not self.week:
            return instant + open_time
        left = open_time
        for start, end in self._spans(instant, instant + LOOK_AHEAD):
            begin = max(start, instant)
            if begin >= end:
                continue
            if end - begin >= left:
                return begin + left
            left -= end - begin
        return instant + open_time

    def _spans(self, first: datetime, last: datetime) -> Iterator[tuple[datetime, datetime]]:
        """Yield the spans of all local days between two instants, and one more on either side, in order, none twice."""
        day = first.astimezone(self.zone).date() - _DAY
        reached = datetime.min.replace(tzinfo=UTC)
        while day <= last.astimezone(self.zone).date() + _DAY:
            if day not in self.holidays:
                for start, end in sorted(self.week.get(day.weekday(), ())):
                    ends_at = self._at(day + _DAY if end == time.min else day, end)
                    begins_at = max(self._at(day, start), reached)  # where spans meet, no minute counts twice
                    if begins_at < ends_at:
                        reached = ends_at
                        yield begins_at, ends_at
            day += _DAY

    def _at(self, day: date, wall: time) -> datetime:
        return datetime.combine(day, wall, tzinfo=self.zone).astimezone(UTC)
