"""The canonical files: which columns each has, what a good value is, and how a raw row becomes typed values.

Pure: reading files is `bot.services.importing.reading`'s business, storing rows `bot.store.intake`'s. The columns are
those of `docs/reference/files.md`; a column that is not listed is kept as an attribute.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache, partial
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from bot.clock import parse_instant
from bot.services.importing.mapping import FileMap
from bot.store.enums import Entity
from bot.store.intake import IncomingRow
from bot.store.shop import fingerprint

__all__ = ["COLUMNS", "BadRow", "RowReader", "header_problems"]

# PostgreSQL refuses index entries over 2,704 bytes; no shop's ids are near this.
LONGEST_ID = 255
WHOLE_NUMBERS = range(2**31)
YEARS = range(1900, 2200)
# The scales of CONTRACTS; another scale is brought to these by the value maps of --map.
SCALES = {"review": (1, 5), "csat": (1, 5), "nps": (0, 10)}

Convert = Callable[[Any], Any]
# One encoder for all rows: json.dumps with options makes one a call.
_told = json.JSONEncoder(sort_keys=True).encode


class BadRow(ValueError):
    """A row cannot be used; says which column and why."""

    def __init__(self, column: str, reason: str) -> None:
        super().__init__(reason)
        self.column = column
        self.reason = reason


@dataclass(frozen=True)
class Column:
    """One canonical column: its name, how its values are read, whether every row must have one."""

    name: str
    convert: Callable[..., Any]
    required: bool = False


def text(value: Any) -> str | None:
    """Take text as it is; an empty one is a missing one."""
    if type(value) is not str:
        raise ValueError(f"must be text, found {_shown(value)}")
    return value or None


def identifier(value: Any) -> str | None:
    """Take an id, a code or a kind: text without outer spaces; whole JSON numbers are taken as their digits."""
    if type(value) is int:
        value = str(value)
    if type(value) is not str:
        raise ValueError(f"must be text, found {_shown(value)}")
    value = value.strip()
    if len(value) > LONGEST_ID:
        raise ValueError(f"is longer than {LONGEST_ID} characters")
    return value or None


def email(value: Any) -> str | None:
    """Take one mail address; whether it exists only a mail server knows."""
    address = identifier(value)
    if address is not None:
        name, at, host = address.partition("@")
        if not name or not at or not host or "@" in host or any(c.isspace() or not c.isprintable() for c in address):
            raise ValueError(f"is no mail address (found {_shown(value)}); write one such as ann@example.org")
    return address


def zone_name(value: Any) -> str | None:
    """Take the name of an IANA time zone."""
    name = identifier(value)
    if name is not None and name not in _zones():
        raise ValueError(f"is no IANA time zone (found {_shown(value)}); write one such as Europe/Berlin")
    return name


def number(value: Any) -> float | None:
    """Take a finite decimal number with a point."""
    if type(value) is str:
        value = value.strip()
        if not value:
            return None
    elif type(value) is not float and type(value) is not int:
        raise ValueError(f"is no number (found {_shown(value)})")
    try:
        found = float(value)
    except (ValueError, OverflowError):
        found = math.nan
    # float() takes 1_000 for a thousand and digits of any script; no shop's export means that.
    if not math.isfinite(found) or (type(value) is str and ("_" in value or not value.isascii())):
        raise ValueError(f"is no finite number (found {_shown(value)}); write one such as 12.50")
    return found


def whole(value: Any) -> int | None:
    """Take a whole number from 0 up."""
    found = number(value)
    if found is None:
        return None
    if int(found) != found or int(found) not in WHOLE_NUMBERS:
        raise ValueError(f"is no whole number from 0 to {WHOLE_NUMBERS[-1]} (found {_shown(value)})")
    return int(found)


def moment(value: Any, zone: ZoneInfo) -> datetime | None:
    """Take an ISO 8601 time; a naive one is in the shop's zone."""
    if type(value) is not str:
        raise ValueError(f"is no ISO 8601 time (found {_shown(value)}); write one such as 2018-02-01T09:00:00Z")
    value = value.strip()
    if not value:
        return None
    try:
        found = parse_instant(value, zone)
    except (ValueError, OverflowError):
        raise ValueError(
            f"is no ISO 8601 time (found {_shown(value)}); write one such as 2018-02-01T09:00:00Z"
        ) from None
    if found.year not in YEARS:
        raise ValueError(f"is not between the years {YEARS[0]} and {YEARS[-1]} (found {_shown(value)})")
    return found


COLUMNS: dict[Entity, tuple[Column, ...]] = {
    Entity.CUSTOMERS: (
        Column("customer_id", identifier, True),
        Column("email", email),
        Column("name", text),
        Column("locale", identifier),
        Column("timezone", zone_name),
        Column("country", text),
        Column("region", text),
        Column("city", text),
        Column("slack_user_id", identifier),
        Column("created_at", moment),
    ),
    Entity.PRODUCTS: (
        Column("product_id", identifier, True),
        Column("name", text),
        Column("category", text),
        Column("price", number),
        Column("weight_g", number),
    ),
    Entity.ORDERS: (
        Column("order_id", identifier, True),
        Column("customer_id", identifier, True),
        Column("placed_at", moment, True),
        Column("currency", identifier),
        Column("total", number),
        Column("promised_at", moment),
        Column("status", identifier),
    ),
    Entity.ORDER_LINES: (
        Column("order_id", identifier, True),
        Column("line_no", whole, True),
        Column("product_id", identifier),
        Column("seller_id", identifier),
        Column("quantity", number),
        Column("unit_price", number),
        Column("shipping_price", number),
    ),
    Entity.TOUCHPOINTS: (
        Column("touchpoint_id", identifier, True),
        Column("customer_id", identifier, True),
        Column("order_id", identifier),
        Column("kind", identifier, True),
        Column("occurred_at", moment, True),
        Column("recorded_at", moment),
        Column("value", number),
        Column("text", text),
        Column("channel", identifier),
    ),
}


class RowReader:
    """Turns raw rows of one file into typed rows, by its columns and the shop's mapping.

    Parameters
    ----------
    header : sequence of str, optional
        The names of the columns of a CSV file; rows are then sequences. Without it rows are mappings.
    currency : str, optional
        Of orders that name none; it is no part of what tells a changed order from the same one.
    """

    def __init__(
        self,
        entity: Entity,
        zone: ZoneInfo,
        mapped: FileMap,
        header: Sequence[str] | None = None,
        *,
        currency: str | None = None,
    ) -> None:
        self.entity = entity
        self._currency = currency if entity is Entity.ORDERS else None
        self._mapped = mapped
        self._names = tuple(column.name for column in COLUMNS[entity])
        self._required = tuple(column.name for column in COLUMNS[entity] if column.required)
        self._plan = [
            (mapped.theirs(column.name), column.name, _converter(column, zone, mapped))
            for column in COLUMNS[entity]
            if column.name not in mapped.constants
        ]
        self._fixed = {
            column.name: _converter(column, zone, mapped)(mapped.constants[column.name])
            for column in COLUMNS[entity]
            if column.name in mapped.constants
        }
        self._known = {theirs for theirs, _, _ in self._plan}
        self._header = header
        if header is not None:
            position = {name: index for index, name in enumerate(header)}
            self._cells = [(position[theirs], ours, c) for theirs, ours, c in self._plan if theirs in position]
            self._extra = [(index, name) for index, name in enumerate(header) if name not in self._known]

    def read_cells(self, line: int, cells: Sequence[str]) -> IncomingRow:
        """Read a row of a CSV file.

        Raises
        ------
        BadRow
            With the first thing that is wrong.
        """
        assert self._header is not None
        if len(cells) != len(self._header):
            raise BadRow("", f"has {len(cells)} fields where the header has {len(self._header)}")
        values: dict[str, Any] = dict.fromkeys(self._names)
        values.update(self._fixed)
        ours = ""
        try:
            for index, ours, convert in self._cells:
                if cell := cells[index]:
                    values[ours] = convert(cell)
        except ValueError as error:
            raise BadRow(self._mapped.theirs(ours), str(error)) from None
        attributes = {name: cells[index] for index, name in self._extra if cells[index]}
        return self._finished(line, values, attributes)

    def read_mapping(self, line: int, row: Mapping[str, Any]) -> IncomingRow:
        """Read a row given as a mapping (JSON Lines, HTTP).

        Raises
        ------
        BadRow
            With the first thing that is wrong.
        """
        values: dict[str, Any] = dict.fromkeys(self._names)
        values.update(self._fixed)
        ours = ""
        try:
            for theirs, ours, convert in self._plan:
                if (cell := row.get(theirs)) is not None:
                    values[ours] = convert(cell)
        except ValueError as error:
            raise BadRow(self._mapped.theirs(ours), str(error)) from None
        attributes = {
            name: value for name, value in row.items() if name not in self._known and value is not None and value != ""
        }
        return self._finished(line, values, attributes)

    def _finished(self, line: int, values: dict[str, Any], attributes: dict[str, Any]) -> IncomingRow:
        for name in self._required:
            if values[name] is None:
                raise BadRow(self._mapped.theirs(name), "is required and missing")
        if self.entity is Entity.TOUCHPOINTS and values["value"] is not None and values["kind"] in SCALES:
            low, high = SCALES[values["kind"]]
            if not low <= values["value"] <= high:
                raise BadRow(
                    self._mapped.theirs("value"),
                    f"of a {values['kind']} must be from {low} to {high} (found {values['value']:g})",
                )
        content = tuple(values.values()), _told(attributes) if attributes else ""
        values["attributes"] = attributes
        if self._currency is not None and values["currency"] is None:
            values["currency"] = self._currency
        key = (values["order_id"], values["line_no"]) if self.entity is Entity.ORDER_LINES else values[self._names[0]]
        return IncomingRow(line=line, key=key, values=values, fingerprint=fingerprint(content))


def header_problems(entity: Entity, mapped: FileMap, header: Sequence[str]) -> list[str]:
    """Return all that is wrong with the header of a CSV file."""
    problems = [f"column {number} has no name" for number, name in enumerate(header, 1) if not name.strip()]
    problems += [f"the column {name!r} stands there twice" for name in _twice(header)]
    missing = [
        mapped.theirs(column.name)
        for column in COLUMNS[entity]
        if column.name not in mapped.constants
        and mapped.theirs(column.name) not in header
        and (column.required or column.name in mapped.columns)
    ]
    if missing:
        found = ", ".join(header)[:200]
        hint = ""
        if len(header) == 1 and any(mark in header[0] for mark in ";\t|"):
            hint = "; separate the columns by commas"
        problems.append(f"the header lacks {', '.join(missing)} (found: {found}){hint}")
    return problems


def _converter(column: Column, zone: ZoneInfo, mapped: FileMap) -> Convert:
    convert = partial(moment, zone=zone) if column.convert is moment else column.convert
    values = mapped.values.get(column.name)
    if not values:
        return convert

    def replaced(value: Any) -> Any:
        return convert(values.get(value.strip() if type(value) is str else str(value), value))

    return replaced


def _twice(names: Iterable[str]) -> list[str]:
    return [name for name, count in Counter(names).items() if name.strip() and count > 1]


def _shown(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 40 else f"{shown[:37]}…"


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())
