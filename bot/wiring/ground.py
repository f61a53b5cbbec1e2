"""What every part stands on: settings, clock, database, and what is read from files; the ground of `bot.wiring`.

Everything is built on first use. Nothing here decides anything.
"""

from __future__ import annotations

from functools import cached_property

from bot.clock import Clock, clock_from_environment
from bot.config import Settings
from bot.services.planning.playbooks import Playbooks, load_playbooks
from bot.store.backup import require_current, upgrade_safely
from bot.store.database import Database, open_database
from bot.store.jobs import attach_jobs
from bot.store.queue_schema import require_queue
from bot.tokens import Signer
from messages.catalogue import Catalogue

__all__ = ["Ground"]


class Ground:
    """Settings and what they name; the parts build on it by inheritance, so that each may ask for the others."""

    def __init__(self, settings: Settings, clock: Clock | None = None) -> None:
        self.settings = settings
        self.clock = clock or clock_from_environment()

    @cached_property
    def database(self) -> Database:
        """The database; an embedded one is brought up to date here, after a backup where it holds anything."""
        database = open_database(self.settings.database.url, home=self.settings.home)
        try:
            if database.embedded:
                upgrade_safely(database, self.settings.path(self.settings.database.backups), self.clock.now())
            else:
                require_current(database)
            if self.settings.delivery.by_workers:
                require_queue(database)
                attach_jobs(database, self.settings.delivery.batch_size)
        except Exception:
            database.close()
            raise
        return database

    @cached_property
    def catalogue(self) -> Catalogue:
        """The messages, in every language they are written in."""
        return Catalogue.load()

    @cached_property
    def playbooks(self) -> Playbooks:
        """The shipped playbooks and the shop's own."""
        return load_playbooks(self.settings, self.catalogue.names)

    @cached_property
    def signer(self) -> Signer | None:
        """Signs the links in mails; None without AFTERCARE_SECRET_KEY."""
        secret = self.settings.secrets.secret_key
        return Signer(secret.get_secret_value()) if secret is not None else None
