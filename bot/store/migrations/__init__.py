"""Bringing a database to this version's tables, by Alembic; the steps are in `versions/`."""

from bot.store.migrations.upgrading import current_revision, knows, latest_revision, upgrade

__all__ = ["current_revision", "knows", "latest_revision", "upgrade"]
