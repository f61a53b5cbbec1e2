"""What went wrong with an order, when it was recorded, how the customer said it, and what it was about.

The words of customers are only matched against the stems of `topics.yaml`: what comes out of here are names of ours,
never a text of theirs. How often trouble is to be expected does not belong here (`predictors.exposure`).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import polars as pl
import yaml

from predictors.labels import BAD_RATING
from predictors.moments import RATING_KINDS
from predictors.snapshot import INSTANT, Schema, Snapshot

__all__ = ["ANY", "EVENTS", "KINDS", "TEXTS", "topics", "topics_of", "trouble_events"]

# How trouble is told: our kind, and the kinds of touchpoints that it is made of (a rating only where it is bad).
KINDS: Mapping[str, tuple[str, ...]] = {
    "ticket": ("ticket_opened",),
    "complaint": ("complaint",),
    "return": ("return_requested", "returned", "refunded"),
    "bad_review": RATING_KINDS,
}
# Trouble of whatever kind.
ANY = "trouble"
# The words that came with a touchpoint, read apart from the snapshot because only patterns need them.
TEXTS: Schema = {"touchpoint_id": pl.Int64, "text": pl.String}
EVENTS: Schema = {"order_id": pl.Int64, "kind": pl.String, "recorded_at": INSTANT}
# A longer text is read so far only.
LONGEST_TEXT = 4_000


def trouble_events(snapshot: Snapshot, texts: pl.DataFrame) -> pl.DataFrame:
    """Return the first time that each kind of trouble with an order was recorded.

    Parameters
    ----------
    snapshot : Snapshot
        What names no order is taken to be about the customer's latest order known by then; a rating is not.
    texts : polars.DataFrame
        `TEXTS`; rows of touchpoints that the snapshot does not hold are ignored.

    Returns
    -------
    polars.DataFrame
        `EVENTS`, one row for each order and kind: the kinds of `KINDS`, the topics that its texts are about, and `ANY`.
    """
    told = {kind: ours for ours, kinds in KINDS.items() for kind in kinds}
    rating = pl.col("told").is_in(list(RATING_KINDS))
    points = (
        snapshot.touchpoints.filter(pl.col("kind").is_in(list(told)))
        .select("touchpoint_id", "customer_id", "order_id", "recorded_at", "value", told="kind")
        .filter(~rating | (pl.col("value") <= BAD_RATING))
        .filter(pl.col("order_id").is_not_null() | ~rating)
        .with_columns(kind=pl.col("told").replace_strict(told, return_dtype=pl.String))
    )
    points = _attached(points, snapshot).select("touchpoint_id", "order_id", "kind", "recorded_at")
    about = points.join(texts.select(TEXTS.keys()).drop_nulls(), on="touchpoint_id")
    about = (
        about.with_columns(topic=topics_of(about["text"]))
        .explode("topic", empty_as_null=True)
        .drop_nulls("topic")
        .select("order_id", "recorded_at", kind="topic")
    )
    named = points.select("order_id", "recorded_at", "kind")
    every = pl.concat(
        [named, about.select(named.columns), named.with_columns(kind=pl.lit(ANY))],
    )
    return every.group_by("order_id", "kind").agg(pl.col("recorded_at").min()).select(EVENTS.keys())


def topics() -> tuple[str, ...]:
    """Return the names of the topics."""
    return tuple(_stems())


def topics_of(texts: pl.Series) -> pl.Series:
    """Return for each text the list of topics that it is about."""
    plain = pl.DataFrame(
        {"text": [_plain(text[:LONGEST_TEXT]) for text in texts.to_list()]}, schema={"text": pl.String}
    )
    hits = [
        pl.when(pl.col("text").str.contains(pattern)).then(pl.lit(name)).alias(name)
        for name, pattern in _patterns().items()
    ]
    return plain.select(pl.concat_list(hits).list.drop_nulls().alias("topic"))["topic"]


def _attached(points: pl.DataFrame, snapshot: Snapshot) -> pl.DataFrame:
    named = points.filter(pl.col("order_id").is_not_null())
    loose = points.filter(pl.col("order_id").is_null()).drop("order_id")
    if not loose.height:
        return named
    known = (
        snapshot.orders.group_by("order_id")
        .agg(pl.col("customer_id").first(), since=pl.max_horizontal("placed_at", "recorded_at").min())
        .sort("since", "order_id")
    )
    loose = (
        loose.sort("recorded_at", "touchpoint_id")
        .join_asof(known, left_on="recorded_at", right_on="since", by="customer_id", check_sortedness=False)
        .filter(pl.col("order_id").is_not_null())
    )
    return pl.concat([named, loose.select(named.columns)])


@cache
def _stems() -> Mapping[str, Sequence[str]]:
    found = yaml.safe_load((Path(__file__).parent / "topics.yaml").read_text(encoding="utf-8"))
    return {str(name): tuple(str(stem) for stem in stems) for name, stems in found.items()}


@cache
def _patterns() -> Mapping[str, str]:
    # Polars' regular expressions take time linear in the text, whatever the text is.
    return {
        name: r"\b(?:" + "|".join(re.escape(_plain(stem)) for stem in stems) + ")" for name, stems in _stems().items()
    }


def _plain(text: str) -> str:
    """Return a text in lower case without accents."""
    parts = unicodedata.normalize("NFKD", text.casefold())
    return "".join(character for character in parts if not unicodedata.combining(character))
