"""The memory of emergent patterns, and the words of trouble that finding them reads.

No customer and no order stands in a pattern's row: who is concerned is computed anew whenever it is asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl
import sqlalchemy as sa
from sqlalchemy import Connection

from bot.decide.emergence import PatternState
from bot.decide.lifecycle import OutreachState
from bot.store.enums import PatternAnswer
from bot.store.once import insert_once
from bot.store.tables import metadata
from predictors.moments import RATING_KINDS
from predictors.trouble import KINDS, TEXTS

__all__ = [
    "Sighting",
    "StoredPattern",
    "answer_pattern",
    "check_ins_for",
    "close_pattern",
    "mark_told",
    "open_pattern",
    "order_keys",
    "pattern",
    "patterns_at",
    "patterns_to_show",
    "product_labels",
    "read_texts",
    "see_pattern",
]

patterns = metadata.tables["patterns"]
# SQLite takes so many values in one statement, and more.
IDS_A_TIME = 10_000
_TOLD_WITH_WORDS = tuple({kind for kinds in KINDS.values() for kind in kinds} | set(RATING_KINDS))


@dataclass(frozen=True, kw_only=True)
class Sighting:
    """What one look saw of a pattern."""

    cell: str
    kind: str
    window_days: int
    troubled: int
    exposed: int
    expected: float
    p_value: float
    sentence: str
    silent: int


@dataclass(frozen=True, kw_only=True)
class StoredPattern:
    """A pattern as remembered.

    Attributes
    ----------
    sentence, silent : str or None, int or None
        How it was said at the latest look, and how many orders had not complained; None: an earlier version looked.
    answer, answered_by, answered_at : optional
        What an agent said to it.
    news_at, news_troubled : datetime, int
        When it was last new or grown, and how many customers had trouble then.
    told_at : datetime or None
        When people were last told; before `news_at`, or None: they have not heard the latest.
    """

    id: int
    cell: str
    kind: str
    state: PatternState
    window_days: int
    troubled: int
    exposed: int
    expected: float
    p_value: float
    first_seen_at: datetime
    last_seen_at: datetime
    closed_at: datetime | None
    news_at: datetime
    news_troubled: int
    told_at: datetime | None
    sentence: str | None
    silent: int | None
    answer: PatternAnswer | None
    answered_by: str | None
    answered_at: datetime | None

    @property
    def identity(self) -> tuple[str, str]:
        """The place and the kind."""
        return self.cell, self.kind


def patterns_at(connection: Connection, at: datetime) -> list[StoredPattern]:
    """Return the patterns that were open at an instant, the longest known first."""
    columns = patterns.c
    was_open = (columns.first_seen_at <= at) & (columns.closed_at.is_(None) | (columns.closed_at > at))
    rows = connection.execute(sa.select(patterns).where(was_open).order_by(columns.first_seen_at, columns.id))
    return [_stored(row) for row in rows]


def open_pattern(connection: Connection, sighting: Sighting, now: datetime) -> bool:
    """Remember a new pattern; False says that another process has just done so."""
    values = {
        **_figures(sighting),
        "cell": sighting.cell,
        "kind": sighting.kind,
        "state": PatternState.OPEN.value,
        "first_seen_at": now,
        "last_seen_at": now,
        "news_at": now,
        "news_troubled": sighting.troubled,
    }
    return insert_once(connection, patterns, values) is not None


def see_pattern(connection: Connection, sighting: Sighting, now: datetime, *, is_news: bool) -> None:
    """Write down that an open pattern is still there."""
    news = {"news_at": now, "news_troubled": sighting.troubled} if is_news else {}
    connection.execute(
        sa.update(patterns)
        .where(*_open(sighting.cell, sighting.kind))
        .values(**_figures(sighting), last_seen_at=now, **news)
    )


def close_pattern(connection: Connection, cell: str, kind: str, now: datetime) -> None:
    """End an open pattern."""
    connection.execute(
        sa.update(patterns).where(*_open(cell, kind)).values(state=PatternState.CLOSED.value, closed_at=now)
    )


def mark_told(connection: Connection, pattern_id: int, now: datetime) -> None:
    """Write down that people were told of a pattern as it is now."""
    connection.execute(sa.update(patterns).where(patterns.c.id == pattern_id).values(told_at=now))


def pattern(connection: Connection, pattern_id: int) -> StoredPattern | None:
    """Return one pattern; None where there is none."""
    row = connection.execute(sa.select(patterns).where(patterns.c.id == pattern_id)).one_or_none()
    return None if row is None else _stored(row)


def patterns_to_show(connection: Connection, since: datetime) -> list[StoredPattern]:
    """Return the patterns that people may want to see: the open ones, and those they knew that ended since an instant."""
    columns = patterns.c
    ended = (columns.closed_at >= since) & columns.told_at.is_not(None)
    shown = columns.sentence.is_not(None) & (columns.closed_at.is_(None) | ended)
    return [_stored(row) for row in connection.execute(sa.select(patterns).where(shown).order_by(columns.id))]


def answer_pattern(connection: Connection, pattern_id: int, answer: PatternAnswer, actor: str, now: datetime) -> bool:
    """Write down what an agent says to an open pattern; False: it is over, or this was said already."""
    columns = patterns.c
    statement = (
        sa.update(patterns)
        .where(columns.id == pattern_id, columns.state == PatternState.OPEN.value)
        .where(columns.answer.is_(None) | (columns.answer != answer.value))
        .values(answer=answer.value, answered_by=actor, answered_at=now)
    )
    return connection.execute(statement).rowcount == 1


def check_ins_for(
    connection: Connection, pattern_ids: Iterable[int]
) -> dict[int, list[tuple[int, int, OutreachState]]]:
    """Return (id, version, state) of the check-ins that were proposed for the sake of patterns, by pattern."""
    columns = metadata.tables["outreaches"].c
    query = (
        sa.select(columns.pattern_id, columns.id, columns.version, columns.state)
        .where(columns.pattern_id.in_(list(pattern_ids)))
        .order_by(columns.id)
    )
    found: dict[int, list[tuple[int, int, OutreachState]]] = {}
    for row in connection.execute(query):
        found.setdefault(row.pattern_id, []).append((row.id, row.version, OutreachState(row.state)))
    return found


def read_texts(connection: Connection, *, since: datetime, until: datetime) -> pl.DataFrame:
    """Return `predictors.trouble.TEXTS` of what was recorded after `since` and by `until`."""
    touchpoints = metadata.tables["touchpoints"]
    columns = touchpoints.c
    query = sa.select(columns.id, columns.text).where(
        columns.kind.in_(_TOLD_WITH_WORDS),
        columns.text.is_not(None),
        columns.recorded_at > since,
        columns.recorded_at <= until,
    )
    rows = [tuple(row) for row in connection.execute(query)]
    return pl.DataFrame(rows, schema=dict(TEXTS), orient="row")


def product_labels(connection: Connection, product_ids: list[int]) -> dict[int, tuple[str, str | None]]:
    """Return the shop's own id and the name of products by our ids."""
    products = metadata.tables["products"]
    query = sa.select(products.c.id, products.c.external_id, products.c.name).where(products.c.id.in_(product_ids))
    return {int(row.id): (str(row.external_id), row.name) for row in connection.execute(query)}


def order_keys(connection: Connection, order_ids: Iterable[int]) -> Iterator[tuple[int, int, str, str]]:
    """Return our ids of orders and of their customers, and the shop's own of both."""
    orders, customers = metadata.tables["orders"], metadata.tables["customers"]
    query = sa.select(orders.c.id, customers.c.id, orders.c.external_id, customers.c.external_id).join_from(
        orders, customers
    )
    ids = sorted(order_ids)
    for first in range(0, len(ids), IDS_A_TIME):
        for row in connection.execute(query.where(orders.c.id.in_(ids[first : first + IDS_A_TIME]))):
            yield int(row[0]), int(row[1]), str(row[2]), str(row[3])


def _figures(sighting: Sighting) -> dict[str, Any]:
    return {
        "window_days": sighting.window_days,
        "troubled": sighting.troubled,
        "exposed": sighting.exposed,
        "expected": sighting.expected,
        "p_value": sighting.p_value,
        "sentence": sighting.sentence,
        "silent": sighting.silent,
    }


def _open(cell: str, kind: str) -> tuple[sa.ColumnElement[bool], ...]:
    return patterns.c.cell == cell, patterns.c.kind == kind, patterns.c.state == PatternState.OPEN.value


def _stored(row: Any) -> StoredPattern:
    answer = None if row.answer is None else PatternAnswer(row.answer)
    return StoredPattern(**{**row._mapping, "state": PatternState(row.state), "answer": answer})
