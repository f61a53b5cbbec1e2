"""Emergent patterns: found every day, remembered, and told with those who could still be written to in time.

What is surprising is decided by `predictors.patterns`, what is news by `bot.decide.emergence`. Words of customers do
not come out of here; names from the shop's files do, without control characters and shortened, and whoever shows
them escapes them for the place where they are shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog

from bot.clock import Clock
from bot.config import Settings
from bot.decide.emergence import OpenPattern, Step, follow
from bot.services.prediction.champions import NotEnoughHistory, predictor_errors, read_snapshot
from bot.store import patterns as store
from bot.store.database import Connection, Database
from bot.store.patterns import Sighting, StoredPattern
from predictors.cells import Cell, Dimension
from predictors.exposure import LAST_AGE_DAYS
from predictors.patterns import REFERENCE_DAYS, WINDOWS_DAYS, Pattern, find_patterns

__all__ = ["ConcernedOrder", "PatternReport", "Patterns"]

log = structlog.get_logger(__name__)

LONGEST_NAME = 60
# What buyers did, by kind of trouble; every other kind is a topic.
_DID: Mapping[str, str] = {
    "ticket": "opened a ticket",
    "complaint": "complained",
    "return": "sent it back or asked to",
    "bad_review": "gave a bad rating",
    "trouble": "had trouble",
}
# A ratio to a tiny expectation is of no use to anybody.
SAID_RATIO = 100.0


@dataclass(frozen=True, kw_only=True)
class ConcernedOrder:
    """An order in a pattern, by our ids and by the shop's."""

    order_id: int
    customer_id: int
    order_key: str
    customer_key: str

    def line(self) -> dict[str, str]:
        """Return it as JSON, by the shop's ids."""
        return {"order_id": self.order_key, "customer_id": self.customer_key}


@dataclass(frozen=True, kw_only=True)
class PatternReport:
    """A pattern as people see it.

    Attributes
    ----------
    stored : StoredPattern or None
        What is remembered of it; None before the daily round has seen it.
    silent : sequence of ConcernedOrder
        Bought the same and have not reported anything: a check-in may reach them in time.
    """

    pattern: Pattern
    stored: StoredPattern | None
    product_key: str | None
    sentence: str
    troubled: Sequence[ConcernedOrder]
    silent: Sequence[ConcernedOrder]

    @property
    def untold(self) -> bool:
        """Whether it is news that nobody was told of yet."""
        return self.stored is not None and (self.stored.told_at is None or self.stored.told_at < self.stored.news_at)

    def line(self) -> dict[str, Any]:
        """Return the JSON object of `report patterns`."""
        pattern, stored = self.pattern, self.stored
        return {
            "id": stored.id if stored else None,
            "first_seen_at": stored.first_seen_at if stored else None,
            "news_at": stored.news_at if stored else None,
            "dimension": pattern.cell.dimension.value,
            "product_id": self.product_key,
            "value": pattern.cell.value or None,
            "kind": pattern.kind,
            "window_days": pattern.window_days,
            "troubled": pattern.troubled,
            "exposed": pattern.exposed,
            "expected": round(pattern.expected, 4),
            "ratio": round(pattern.ratio, 2),
            "p_value": pattern.p_value,
            "sentence": self.sentence,
            "troubled_orders": [one.line() for one in self.troubled],
            "silent_orders": [one.line() for one in self.silent],
        }


class Patterns:
    """Finds patterns and remembers them."""

    def __init__(self, database: Database, clock: Clock, settings: Settings) -> None:
        self._database = database
        self._clock = clock
        self._settings = settings

    def report(self, as_of: datetime | None = None) -> list[PatternReport]:
        """Return the patterns of an instant (default: now), most surprising first; remembers nothing.

        Raises
        ------
        NotEnoughHistory
            The shop is too young to say what is usual.
        """
        until = min(as_of or self._clock.now(), self._clock.now())
        known, found = self._find(until)
        return self._reports(found, known)

    def refresh(self) -> int:
        """Look for patterns now and remember them; return how many are news. Doing it again changes nothing."""
        now = self._clock.now()
        try:
            known, found = self._find(now)
        except NotEnoughHistory:
            return 0
        by_identity = {one.identity: one for one in found}
        opened = [
            OpenPattern(identity=one.identity, told_troubled=one.news_troubled, last_seen_at=one.last_seen_at)
            for one in known
        ]
        changes = follow(opened, {one.identity: one.troubled for one in found}, now)
        with self._database.read() as connection:
            labels = _labels(connection, found)
        with self._database.write() as connection:
            for change in changes:
                cell, kind = change.identity
                if change.step is Step.CLOSED:
                    store.close_pattern(connection, cell, kind, now)
                elif change.step is Step.NEW:
                    store.open_pattern(connection, _sighting(by_identity[change.identity], labels), now)
                else:
                    sighting = _sighting(by_identity[change.identity], labels)
                    store.see_pattern(connection, sighting, now, is_news=change.is_news)
        steps = {step.value: sum(change.step is step for change in changes) for step in Step}
        log.info("patterns_followed", **steps)
        return sum(change.is_news for change in changes)

    def mark_told(self, pattern_id: int) -> None:
        """Write down that people were told of a pattern as it is now; it is news again only when it has grown."""
        with self._database.write() as connection:
            store.mark_told(connection, pattern_id, self._clock.now())

    def _find(self, until: datetime) -> tuple[list[StoredPattern], list[Pattern]]:
        snapshot = read_snapshot(self._database, self._settings, until)
        reach = timedelta(days=REFERENCE_DAYS + max(WINDOWS_DAYS) + 2 * LAST_AGE_DAYS)
        with self._database.read() as connection:
            texts = store.read_texts(connection, since=until - reach, until=until)
            known = store.patterns_at(connection, until)
        with predictor_errors():
            found = find_patterns(
                snapshot,
                texts,
                due_days=self._settings.predictors.issue.due_days,
                known=[one.identity for one in known],
            )
        return known, found

    def _reports(self, found: Sequence[Pattern], known: Sequence[StoredPattern]) -> list[PatternReport]:
        stored = {one.identity: one for one in known}
        ids = {order for one in found for order in (*one.troubled_orders, *one.silent_orders)}
        with self._database.read() as connection:
            concerned = _concerned(connection, ids)
            labels = _labels(connection, found)
        return [
            PatternReport(
                pattern=one,
                stored=stored.get(one.identity),
                product_key=labels[one.cell.product_id][0] if one.cell.product_id is not None else None,
                sentence=sentence(one, labels),
                troubled=[concerned[order] for order in one.troubled_orders],
                silent=[concerned[order] for order in one.silent_orders],
            )
            for one in found
        ]


def sentence(pattern: Pattern, labels: Mapping[int, tuple[str, str | None]]) -> str:
    """Say a pattern in one plain sentence.

    Parameters
    ----------
    labels : mapping
        Our id of a product: the shop's id and its name.
    """
    did = _DID.get(pattern.kind) or f"report {pattern.kind.replace('_', ' ')}"
    ratio = f"{pattern.ratio:.1f}×" if pattern.ratio < SAID_RATIO else f"over {SAID_RATIO:.0f}×"
    return (
        f"{pattern.troubled} of {pattern.exposed} buyers {_where(pattern.cell, labels)} {did} "
        f"in the last {pattern.window_days} days, {ratio} expected"
    )


def _where(cell: Cell, labels: Mapping[int, tuple[str, str | None]]) -> str:
    key, name = labels.get(cell.product_id, ("", None)) if cell.product_id is not None else ("", None)
    product = _shown(name or key)
    if cell.dimension is Dimension.LOT:
        return f"of lot {_shown(cell.value)}" + (f" of {product}" if product else "")
    if cell.dimension is Dimension.PRODUCT:
        return f"of {product}"
    return f"from seller {_shown(cell.value)}" if cell.dimension is Dimension.SELLER else f"in {_shown(cell.value)}"


def _shown(name: str) -> str:
    plain = "".join(character if character.isprintable() else " " for character in name)
    return plain if len(plain) <= LONGEST_NAME else f"{plain[: LONGEST_NAME - 1]}…"


def _labels(connection: Connection, found: Sequence[Pattern]) -> dict[int, tuple[str, str | None]]:
    return store.product_labels(connection, [one.cell.product_id for one in found if one.cell.product_id is not None])


def _sighting(pattern: Pattern, labels: Mapping[int, tuple[str, str | None]]) -> Sighting:
    return Sighting(
        cell=pattern.cell.key,
        kind=pattern.kind,
        window_days=pattern.window_days,
        troubled=pattern.troubled,
        exposed=pattern.exposed,
        expected=pattern.expected,
        p_value=pattern.p_value,
        sentence=sentence(pattern, labels),
        silent=len(pattern.silent_orders),
    )


def _concerned(connection: Connection, order_ids: set[int]) -> dict[int, ConcernedOrder]:
    return {
        order_id: ConcernedOrder(
            order_id=order_id, customer_id=customer_id, order_key=order_key, customer_key=customer_key
        )
        for order_id, customer_id, order_key, customer_key in store.order_keys(connection, order_ids)
    }
