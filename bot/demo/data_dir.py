"""Takes a shop's own canonical files and makes a present and a later of them, for the demo on real data.

The present ends fourteen days before the last thing recorded. Customers get invented example.com addresses and a
few of them invented Slack ids, because nobody real may be written to; nothing else is changed.
"""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TextIO, cast
from zoneinfo import ZoneInfo, available_timezones

from bot.clock import parse_instant
from bot.demo.story import FIRST_NAMES
from bot.errors import UsageError

HORIZON_DAYS = 14
SLACK_CUSTOMERS = 24
# Those get a Slack id who wait for a parcel promised about now: the demo will want to write to them.
WAITING_SPAN = timedelta(days=4)
_NAMES = ("customers", "products", "orders", "order_lines", "touchpoints")
_ENDINGS = (".csv", ".csv.gz", ".jsonl", ".jsonl.gz")

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class OwnData:
    """A shop's files cut in two.

    Attributes
    ----------
    now, later : datetime
        Where the present ends, and fourteen days and an hour after it.
    slack_people : tuple of (user id, name)
        Those who got an invented Slack id.
    """

    present: Path
    later_folder: Path
    now: datetime
    later: datetime
    timezone: str
    counts: Mapping[str, int]
    slack_people: tuple[tuple[str, str], ...]


def cut(source: Path, folder: Path) -> OwnData:
    """Write `present` and `later` below `folder`.

    Raises
    ------
    UsageError
        The source holds no orders or no touchpoints.
    """
    files = {name: file for name in _NAMES if (file := _find(source, name))}
    for needed in ("customers", "orders", "touchpoints"):
        if needed not in files:
            raise UsageError(f"{source} has no {needed} file; --data wants canonical files such as {needed}.csv.gz")
    zone_name = _common_zone(files["customers"])
    zone = ZoneInfo(zone_name)
    last = max(
        (_recorded(row, zone) for row in _rows(files["touchpoints"])),
        default=None,
    )
    if last is None:
        raise UsageError(f"{files['touchpoints']} is empty; the demo needs what happened after the orders")
    evening_before = (last - timedelta(days=HORIZON_DAYS)).astimezone(zone)
    now = evening_before.replace(hour=10, minute=30, second=0, microsecond=0).astimezone(UTC)
    parts = _Parts(folder, now, zone)
    parts.split(files)
    return OwnData(
        present=folder / "present",
        later_folder=folder / "later",
        now=now,
        later=now + timedelta(days=HORIZON_DAYS, hours=1),
        timezone=zone_name,
        counts=parts.counts,
        slack_people=tuple(parts.slack_people),
    )


class _Parts:
    """Writes each row to the present, to the later, or to both where it must be known to be changed."""

    def __init__(self, folder: Path, now: datetime, zone: ZoneInfo) -> None:
        self._folder, self._now, self._zone = folder, now, zone
        self.counts: dict[str, int] = {}
        self.slack_people: list[tuple[str, str]] = []

    def split(self, files: Mapping[str, Path]) -> None:
        placed: dict[str, bool] = {}
        known: set[str] = set()
        waiting_for: dict[str, str] = {}
        for row in _rows(files["orders"]):
            order, customer = row["order_id"], row["customer_id"]
            placed[order] = parse_instant(str(row["placed_at"]), self._zone) <= self._now
            if placed[order]:
                known.add(customer)
                if row.get("promised_at") and self._is_near(str(row["promised_at"])):
                    waiting_for[order] = customer
        for row in _rows(files["touchpoints"]):
            if row["kind"] == "delivered" and _recorded(row, self._zone) <= self._now:
                waiting_for.pop(row.get("order_id") or "", None)
        waiting = sorted(set(waiting_for.values()))
        slack = set(waiting[:: max(1, len(waiting) // SLACK_CUSTOMERS)][:SLACK_CUSTOMERS])
        self._part(
            files,
            "customers",
            lambda row: row["customer_id"] in known,
            lambda row: self._invent(row, slack),
            added=("name", "email", "slack_user_id"),
        )
        self._part(files, "products", lambda _row: True)
        # An order's status is what became of it, so the present may not know it yet.
        self._part(files, "orders", lambda row: placed[row["order_id"]], _without_status)
        self._part(files, "order_lines", lambda row: placed.get(row["order_id"], False))
        self._part(files, "touchpoints", lambda row: _recorded(row, self._zone) <= self._now)

    def _is_near(self, promised_at: str) -> bool:
        return abs(parse_instant(promised_at, self._zone) - self._now) <= WAITING_SPAN

    def _invent(self, row: Row, slack: set[str]) -> Row:
        key = str(row["customer_id"])
        # Without a name a card would greet an id; the same customer always gets the same one.
        name = row.get("name") or FIRST_NAMES[sum(key.encode()) % len(FIRST_NAMES)]
        user = f"U0{key[:10].upper()}" if key in slack else ""
        if user:
            self.slack_people.append((user, name))
        return {**row, "name": name, "email": f"customer.{key[:16].lower()}@example.com", "slack_user_id": user}

    def _part(
        self,
        files: Mapping[str, Path],
        name: str,
        is_present: Callable[[Row], bool],
        change: Callable[[Row], Row] = dict,
        added: tuple[str, ...] = (),
    ) -> None:
        if name not in files:
            return
        columns = list(dict.fromkeys((*_columns(files[name]), *added)))
        count = 0
        with (
            _writer(self._folder / "present" / f"{name}.csv", columns) as now,
            _writer(self._folder / "later" / f"{name}.csv", columns) as later,
        ):
            for row in _rows(files[name]):
                here = is_present(row)
                (now if here else later).writerow(change(row))
                count += here
        self.counts[name] = count


def _without_status(row: Row) -> Row:
    return {key: value for key, value in row.items() if key != "status"}


@contextmanager
def _writer(file: Path, columns: list[str]) -> Iterator[csv.DictWriter[str]]:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, columns, lineterminator="\n")
        writer.writeheader()
        yield writer


def _find(source: Path, name: str) -> Path | None:
    return next((file for ending in _ENDINGS if (file := source / f"{name}{ending}").is_file()), None)


@contextmanager
def _opened(file: Path) -> Iterator[TextIO]:
    if file.suffix == ".gz":
        with gzip.open(file, "rt", encoding="utf-8-sig", newline="") as stream:
            yield cast(TextIO, stream)
    else:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            yield stream


def _rows(file: Path) -> Iterator[Row]:
    with _opened(file) as stream:
        if ".jsonl" in file.name:
            yield from (json.loads(line) for line in stream if line.strip())
        else:
            yield from csv.DictReader(stream)


def _columns(file: Path) -> list[str]:
    if ".jsonl" in file.name:  # each line may have keys of its own
        return list(dict.fromkeys(key for row in _rows(file) for key in row))
    with _opened(file) as stream:
        return next(csv.reader(stream), [])


def _recorded(row: Row, zone: ZoneInfo) -> datetime:
    return parse_instant(str(row.get("recorded_at") or row["occurred_at"]), zone)


def _common_zone(customers: Path) -> str:
    counts: dict[str, int] = {}
    for row in _rows(customers):
        zone = row.get("timezone") or ""
        counts[zone] = counts.get(zone, 0) + 1
    best = max(counts, key=lambda zone: counts[zone], default="")
    return best if best in available_timezones() else "UTC"
