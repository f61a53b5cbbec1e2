"""Days off where a customer lives: weekdays as the shop says, public holidays by country and region."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from pydantic import ValidationError

from bot.services.planning.days_off import days_off_of
from bot.settings import WEEKDAYS, DaysOff

EPIPHANY, UNITY = date(2026, 1, 6), date(2026, 10, 3)


@pytest.mark.parametrize("region", ["BY", "DE-BY", "Bayern", "bayern"])
def test_a_region_has_holidays_of_its_own_by_code_and_by_name(region: str) -> None:
    bavaria, germany = days_off_of(DaysOff(), "de", region), days_off_of(DaysOff(), "DE", "nowhere")
    assert EPIPHANY in bavaria
    assert EPIPHANY not in germany
    assert UNITY in bavaria
    assert UNITY in germany
    assert date(2026, 10, 5) not in bavaria


def test_the_shops_country_stands_in_for_one_that_is_not_known() -> None:
    rules = DaysOff(country="fr")
    bastille = date(2026, 7, 14)
    assert bastille in days_off_of(rules, None, None)
    assert bastille in days_off_of(rules, "Atlantis", "BY")
    assert bastille not in days_off_of(rules, "DE", None)
    assert bastille not in days_off_of(DaysOff(), None, None)
    assert bastille not in days_off_of(DaysOff(holidays=False, country="FR"), None, None)


def test_weekdays_are_off_everywhere_in_any_year() -> None:
    weekend = days_off_of(DaysOff(weekdays=("saturday", "sunday")), "US", "CA")
    monday = date(2031, 3, 3)
    assert [monday + timedelta(days=day) in weekend for day in range(7)] == [False] * 5 + [True] * 2
    assert date(2031, 7, 4) in weekend


def test_some_day_must_be_left() -> None:
    with pytest.raises(ValidationError, match="leave at least one day"):
        DaysOff(weekdays=WEEKDAYS)
    with pytest.raises(ValidationError, match="two letters"):
        DaysOff(country="Germany")
