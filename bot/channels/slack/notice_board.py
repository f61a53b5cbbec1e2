"""What the bot tells its people by itself, a message each: models that were replaced or refused, experiments that ended, losers.

What is told is written by the services (`bot.store.notices`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from bot.channels.slack.cards import Rendered, section
from bot.channels.slack.text import cut, escape
from bot.clock import Clock
from bot.store.database import Database
from bot.store.notices import notices_since
from bot.store.slack import NOTICE

__all__ = ["NoticeBoard"]

# What was not posted within so long, because Slack was off, is news to nobody.
FRESH = timedelta(days=3)
TEXT_LIMIT = 2500
SIGNS = {"model": "📈", "experiment": "🧪", "retire": "🪫"}


class NoticeBoard:
    """The latest notices."""

    purpose = NOTICE

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def drawn(self) -> Sequence[tuple[int, Rendered]]:
        """Draw each notice; it never changes once it is posted."""
        with self._database.read() as connection:
            found = notices_since(connection, self._clock.now() - FRESH)
        drawn = []
        for one in found:
            text = cut(escape(one.text), TEXT_LIMIT)
            drawn.append(
                (one.id, Rendered(text=text, blocks=[section(f"{SIGNS.get(one.kind, '')} {text}")], shown="told"))
            )
        return drawn

    def posted(self, subject: int) -> None:
        """Nothing is to be noted."""
