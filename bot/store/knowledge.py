"""Articles and their versions: a version is never changed, only followed by the next one.

Reading files is `messages.reading`'s business, searching `messages.knowledge`'s.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from bot.store.once import insert_once
from bot.store.tables import metadata

__all__ = [
    "NewVersion",
    "Saved",
    "StoredArticle",
    "article_ids",
    "article_version",
    "current_articles",
    "current_version",
    "retire",
    "save_version",
    "signature",
    "unused_articles",
]

articles = metadata.tables["articles"]
versions = metadata.tables["article_versions"]
utterances = metadata.tables["utterances"]
outreaches = metadata.tables["outreaches"]


class Saved(StrEnum):
    """What saving a version did."""

    NEW = "new"  # the article was not known
    UPDATED = "updated"  # its content changed: a new version
    UNCHANGED = "unchanged"  # nothing was written


@dataclass(frozen=True, kw_only=True)
class NewVersion:
    """The content of an article as it is to be kept; the validity is half-open, in instants.

    `origin` says where it was written: `files` or `slack`.
    """

    external_id: str
    title: str
    body: str
    questions: Sequence[str]
    tags: Sequence[str]
    locale: str
    products: Sequence[str]
    valid_from: datetime | None
    valid_until: datetime | None
    owner: str | None
    review_by: str | None
    sha256: str
    origin: str = "files"


@dataclass(frozen=True, kw_only=True)
class StoredArticle(NewVersion):
    """One version of an article, with its number and the id that answers and outreaches cite."""

    version_id: int
    version: int
    active: bool
    recorded_at: datetime

    def valid_at(self, now: datetime) -> bool:
        """Say whether customers may be told this at an instant."""
        return (self.valid_from is None or self.valid_from <= now) and (
            self.valid_until is None or now < self.valid_until
        )


def save_version(connection: Connection, new: NewVersion, now: datetime) -> Saved:
    """Keep an article; a new version only where its content changed."""
    created = insert_once(connection, articles, {"external_id": new.external_id, "active": True})
    # The row is locked, so that two imports at once do not number two versions alike.
    row = connection.execute(
        sa.select(articles.c.id, articles.c.active).where(articles.c.external_id == new.external_id).with_for_update()
    ).one()
    latest = connection.execute(
        sa.select(versions.c.version, versions.c.sha256)
        .where(versions.c.article_id == row.id)
        .order_by(versions.c.version.desc())
        .limit(1)
    ).first()
    if not row.active:
        connection.execute(sa.update(articles).where(articles.c.id == row.id).values(active=True))
    if latest is not None and latest.sha256 == new.sha256:
        return Saved.UNCHANGED if row.active else Saved.UPDATED
    values = {name: getattr(new, name) for name in NewVersion.__dataclass_fields__ if name != "external_id"}
    values |= {name: list(values[name]) for name in ("questions", "tags", "products")}
    connection.execute(
        sa.insert(versions).values(
            **values, article_id=row.id, version=1 if latest is None else latest.version + 1, recorded_at=now
        )
    )
    return Saved.NEW if created is not None else Saved.UPDATED


def retire(connection: Connection, external_ids: Collection[str]) -> int:
    """Take articles out of use; their versions stay, because answers cite them."""
    statement = sa.update(articles).where(articles.c.external_id.in_(list(external_ids)), articles.c.active.is_(True))
    return int(connection.execute(statement.values(active=False)).rowcount)


def current_articles(connection: Connection, *, include_retired: bool = False) -> list[StoredArticle]:
    """Return the latest version of every article in use, by id; valid now or not."""
    newest = (
        sa.select(versions.c.article_id, sa.func.max(versions.c.version).label("version"))
        .group_by(versions.c.article_id)
        .subquery()
    )
    statement = (
        _select()
        .join(newest, (newest.c.article_id == versions.c.article_id) & (newest.c.version == versions.c.version))
        .order_by(articles.c.external_id)
    )
    if not include_retired:
        statement = statement.where(articles.c.active.is_(True))
    return [_record(row) for row in connection.execute(statement)]


def article_ids(connection: Connection) -> set[str]:
    """Return the ids of all articles that there are or were."""
    return set(connection.execute(sa.select(articles.c.external_id)).scalars())


def current_version(connection: Connection, external_id: str) -> StoredArticle | None:
    """Return the latest version of one article."""
    newest_first = _select().where(articles.c.external_id == external_id).order_by(versions.c.version.desc())
    row = connection.execute(newest_first.limit(1)).first()
    return None if row is None else _record(row)


def article_version(connection: Connection, version_id: int) -> StoredArticle | None:
    """Return one version of an article."""
    row = connection.execute(_select().where(versions.c.id == version_id)).first()
    return None if row is None else _record(row)


def signature(connection: Connection) -> tuple[int, int, int, int]:
    """Return a value that changes when articles are written, taken out of use or into it again.

    It is asked for at every question: of the versions, which only ever grow, it looks at the newest alone, and of the articles
    at their ids. What becomes valid or ceases to be is the asker's business, who knows the articles.
    """
    # Two sums, because the ids of those that leave and those that come back may add up to the same.
    row = connection.execute(
        sa.select(
            sa.func.count(),
            sa.func.coalesce(sa.func.sum(articles.c.id), 0),
            sa.func.coalesce(sa.func.sum(articles.c.id * (articles.c.id % 1009)), 0),
            sa.select(sa.func.coalesce(sa.func.max(versions.c.id), 0)).scalar_subquery(),
        ).where(articles.c.active.is_(True))
    ).one()
    return int(row[0]), int(row[1]), int(row[2]), int(row[3])


def unused_articles(connection: Connection, since: datetime) -> set[str]:
    """Return the articles in use that are older than an instant and were cited by no answer and no check-in after it."""
    cited = sa.union(
        sa.select(utterances.c.article_version_id).where(
            utterances.c.article_version_id.is_not(None), utterances.c.recorded_at >= since
        ),
        sa.select(outreaches.c.article_version_id).where(
            outreaches.c.article_version_id.is_not(None), outreaches.c.created_at >= since
        ),
    ).subquery()
    statement = (
        sa.select(articles.c.external_id)
        .join(versions, versions.c.article_id == articles.c.id)
        .outerjoin(cited, cited.c.article_version_id == versions.c.id)
        .where(articles.c.active.is_(True))
        .group_by(articles.c.external_id)
        .having(sa.func.count(cited.c.article_version_id) == 0, sa.func.min(versions.c.recorded_at) < since)
    )
    return set(connection.execute(statement).scalars())


def _select() -> sa.Select[Any]:
    names = [name for name in NewVersion.__dataclass_fields__ if name != "external_id"]
    return sa.select(
        versions.c.id.label("version_id"),
        articles.c.external_id,
        articles.c.active,
        versions.c.version,
        versions.c.recorded_at,
        *(versions.c[name] for name in names),
    ).join(articles, articles.c.id == versions.c.article_id)


def _record(row: Any) -> StoredArticle:
    values = dict(row._mapping)
    values |= {name: tuple(values[name] or ()) for name in ("questions", "tags", "products")}
    return StoredArticle(**values)
