"""The days on which nobody is contacted where a customer lives: weekends as the shop says, and public holidays.

The holidays come from the library `holidays`, by country and region as the shop wrote them down; what it does not know
has none. What a day off means for a contact is `bot.decide.policy`'s business.
"""

from __future__ import annotations

from collections.abc import Container
from datetime import date
from functools import lru_cache

import holidays

from bot.setting_types import WEEKDAYS
from bot.settings import DaysOff as DaysOffSettings

__all__ = ["DaysOff", "days_off_of", "public_holidays"]


class DaysOff(Container[date]):
    """Dates off in one place; years are looked up when they are asked for.

    Parameters
    ----------
    weekdays : frozenset of int
        Days of the week that are always off; Monday is 0.
    country : str
        Two letters (ISO 3166); empty: no holidays.
    region : str
        As the shop wrote it: a code of ISO 3166-2 (`BY`, `DE-BY`) or the region's own name (`Bayern`).
    """

    def __init__(self, weekdays: frozenset[int] = frozenset(), country: str = "", region: str = "") -> None:
        self._weekdays = weekdays
        self._country = country
        self._region = region

    def __contains__(self, day: object) -> bool:
        if not isinstance(day, date):
            return False
        if day.weekday() in self._weekdays:
            return True
        return bool(self._country) and day in public_holidays(self._country, self._region, day.year)


@lru_cache(maxsize=4096)
def public_holidays(country: str, region: str, year: int) -> frozenset[date]:
    """Return the public holidays of a country in a year, with those of a region if it is known; none where nothing is known."""
    try:
        found = holidays.country_holidays(country, subdiv=_subdivision(country, region), years=year)
    except NotImplementedError:
        return frozenset()
    return frozenset(found)


@lru_cache(maxsize=4096)
def days_off_of(rules: DaysOffSettings, country: str | None, region: str | None) -> DaysOff:
    """Return the days off of a customer, by the shop's rules; the shop's country stands in for an unknown one."""
    own = (country or "").strip().upper()
    known = own if own in _countries() else ""
    return DaysOff(
        weekdays=frozenset(WEEKDAYS.index(day) for day in rules.weekdays),
        country=(known or rules.country) if rules.holidays else "",
        region=(region or "").strip() if known else "",
    )


@lru_cache(maxsize=1)
def _countries() -> frozenset[str]:
    return frozenset(holidays.list_supported_countries(include_aliases=False))


@lru_cache(maxsize=4096)
def _subdivision(country: str, region: str) -> str | None:
    """Return the code of a region, None where the library knows no such region."""
    plain = holidays.country_holidays(country)
    code = region.removeprefix(f"{country}-")
    by_code = {one.casefold(): one for one in plain.subdivisions}
    by_name = {name.casefold(): one for name, one in plain.subdivisions_aliases.items()}
    return by_code.get(code.casefold()) or by_name.get(code.casefold())
