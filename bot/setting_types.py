"""What settings are made of: the base of every section, and times, zones, addresses and shares as people write them.

Which settings there are is `bot.settings`' business.
"""

from __future__ import annotations

import difflib
from datetime import time
from typing import Annotated, Any, Literal
from zoneinfo import available_timezones

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator

__all__ = [
    "WEEKDAYS",
    "CapShare",
    "ContactPurpose",
    "CountryCode",
    "PositiveInt",
    "Section",
    "Sender",
    "Share",
    "TimeOfDay",
    "Weekday",
    "ZoneName",
]


def _zone_name(value: str) -> str:
    if value not in available_timezones():
        close = difflib.get_close_matches(value, available_timezones(), 1)
        raise ValueError(f"no such IANA time zone; write {close[0] if close else 'Europe/Berlin'}")
    return value


def _clock_time(value: Any) -> Any:
    advice = 'write a time of day such as "09:30"'
    if isinstance(value, time):
        return value
    # YAML 1.1 reads 9:30 as the sexagesimal number 570; a number below 60 was written without minutes.
    if isinstance(value, int) and 60 <= value < 24 * 60:
        return time(value // 60, value % 60)
    if isinstance(value, str) and ":" in value:
        try:
            found = time.fromisoformat(value)
        except ValueError:
            raise ValueError(advice) from None
        if found.tzinfo is None:
            return found
    raise ValueError(advice)


def _sender(value: str) -> str:
    if value.count("@") != 1 or any(c in value for c in "\r\n"):
        raise ValueError("write one address such as care@shop.example")
    return value


def _country(value: str) -> str:
    if value and not (len(value) == 2 and value.isascii() and value.isalpha()):
        raise ValueError("write the two letters of a country, such as DE (ISO 3166), or nothing")
    return value.upper()


ZoneName = Annotated[str, AfterValidator(_zone_name)]
TimeOfDay = Annotated[time, BeforeValidator(_clock_time)]
Sender = Annotated[str, AfterValidator(_sender)]
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
ContactPurpose = Literal["service", "research", "marketing"]
CountryCode = Annotated[str, AfterValidator(_country)]
CapShare = Annotated[float, Field(gt=0, le=1)]
Share = Annotated[float, Field(ge=0, le=0.9)]
PositiveInt = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """A frozen part of the settings in which unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False, validate_default=True)

    @field_validator("*", mode="before")
    @classmethod
    def _no_flag_for_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse `port: yes`, which Python would take for 1; but `mode: off` means what it says."""
        if value is False and info.field_name == "mode":
            return "off"
        if isinstance(value, bool) and cls.model_fields[str(info.field_name)].annotation is not bool:
            raise ValueError("true and false (yes, no, on, off) have no meaning here; put a text in quotes")
        return value
