"""How many there are of what: small numbers for health pages and `doctor`."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Connection

from bot.store.tables import articles

__all__ = ["active_articles"]


def active_articles(connection: Connection) -> int:
    """Return how many articles the knowledge base answers from."""
    return int(
        connection.execute(sa.select(sa.func.count()).select_from(articles).where(articles.c.active)).scalar_one()
    )
