"""How fast a channel may be used, over all processes: a token bucket a channel, kept in the database.

The row is locked while a claim is made, so that two workers cannot spend the same token. A bucket holds one second's
worth: in any window of W seconds at most `rate · (W + 1)` messages leave. What a channel itself asks for (Retry-After)
empties it until then. Time is real time here: it is the provider who counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy import Connection

from bot.store.once import insert_once
from bot.store.tables import metadata

__all__ = ["Level", "level", "pause", "spend"]

buckets = metadata.tables["buckets"]
# A pause that ends later than this was written by a clock that was wrong.
LONGEST_PAUSE = timedelta(days=1)
CLOCKS_DIFFER = timedelta(seconds=5)


@dataclass(frozen=True, kw_only=True)
class Level:
    """How full a bucket is at an instant, within the transaction that locked it.

    Attributes
    ----------
    messages : int or None
        So many may leave now; None: any number.
    """

    channel: str
    messages: int | None
    tokens: float = 0.0
    filled_at: datetime | None = None


def level(connection: Connection, channel: str, rate: float, now: datetime) -> Level:
    """Return how many messages may leave now, and lock the bucket where there is a limit.

    Parameters
    ----------
    rate : float
        Messages a second; 0 for no limit of ours, a pause that the channel asked for still holds.
    now : datetime
        Real time.
    """
    row = connection.execute(_LOCKED if rate > 0 else _ROW, {"of": channel}).one_or_none()
    if row is None:
        if not rate:
            return Level(channel=channel, messages=None)
        full = {"channel": channel, "tokens": _capacity(rate), "filled_at": now, "paused_until": None}
        insert_once(connection, buckets, full)
        row = connection.execute(_LOCKED, {"of": channel}).one()
    if row.paused_until is not None and now < row.paused_until <= now + LONGEST_PAUSE:
        return Level(channel=channel, messages=0)
    if not rate:
        return Level(channel=channel, messages=None)
    # Machines' clocks differ a little: time that seems to run backwards fills nothing, and takes nothing away. An
    # instant further ahead was written by a clock that was wrong: nobody knows how long ago, so the bucket is full.
    wrong = row.filled_at > now + CLOCKS_DIFFER
    filled_at = now if wrong else row.filled_at
    passed = max((now - filled_at).total_seconds(), 0.0)
    tokens = _capacity(rate) if wrong else min(row.tokens + passed * rate, _capacity(rate))
    # The sum of many small fillings may fall short of a whole token by a rounding error.
    return Level(channel=channel, messages=max(int(tokens + 1e-9), 0), tokens=tokens, filled_at=max(now, filled_at))


def spend(connection: Connection, present: Level, count: int) -> None:
    """Take tokens of a bucket whose level was asked in the same transaction."""
    if present.messages is not None and count:
        connection.execute(
            sa.update(buckets)
            .where(buckets.c.channel == present.channel)
            .values(tokens=present.tokens - count, filled_at=present.filled_at)
        )


def pause(connection: Connection, channel: str, wait: timedelta, now: datetime) -> None:
    """Let nothing leave on a channel for a while; a longer pause stays."""
    insert_once(connection, buckets, {"channel": channel, "tokens": 0.0, "filled_at": now, "paused_until": None})
    until = now + wait
    shorter = buckets.c.paused_until.is_(None) | (buckets.c.paused_until < until)
    statement = sa.update(buckets).where(buckets.c.channel == channel, shorter)
    connection.execute(statement.values(paused_until=until))


def _capacity(rate: float) -> float:
    """One second's worth, and one message at least."""
    return max(rate, 1.0)


# Built once: every claim asks.
_ROW = sa.select(buckets.c.tokens, buckets.c.filled_at, buckets.c.paused_until).where(
    buckets.c.channel == sa.bindparam("of", type_=sa.Text)
)
_LOCKED = _ROW.with_for_update()
