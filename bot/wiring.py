"""The only composition root: settings become an engine, channels, predictors, services and a scheduler.

Everything is built on first use, so that `aftercare ask` opens no mail connection. Only this module picks
concrete parts.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from bot.clock import Clock, clock_from_environment
from bot.config import Settings, load_settings
from bot.services.importing import Importer
from bot.services.privacy import Privacy
from bot.store.backup import require_current, upgrade_safely
from bot.store.database import Database, open_database


class App:
    """One running Aftercare: its settings and, on demand, its parts."""

    def __init__(self, settings: Settings, clock: Clock | None = None) -> None:
        self.settings = settings
        self.clock = clock or clock_from_environment()

    @classmethod
    def from_config(cls, path: Path | None = None) -> App:
        """Read the configuration and wire an application on it."""
        return cls(load_settings(path))

    @cached_property
    def database(self) -> Database:
        """The database; an embedded one is brought up to date here, after a backup where it holds anything."""
        database = open_database(self.settings.database.url, home=self.settings.home)
        if database.embedded:
            upgrade_safely(database, self.settings.path(self.settings.database.backups), self.clock.now())
        else:
            require_current(database)
        return database

    @cached_property
    def importer(self) -> Importer:
        """Brings canonical files into the store."""
        return Importer(self.database, self.clock, self.settings)

    @cached_property
    def privacy(self) -> Privacy:
        """Shows, exports and erases customers."""
        return Privacy(self.database, self.clock)

    def close(self) -> None:
        """Give back what was opened."""
        if "database" in self.__dict__:
            self.database.close()
