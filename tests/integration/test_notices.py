"""What the bot tells by itself is told once, while it is news, and never as a template."""

from __future__ import annotations

from datetime import timedelta

from bot.channels.slack.notice_board import FRESH, NoticeBoard
from bot.clock import ManualClock
from bot.store.database import Database
from bot.store.notices import add_notice, notices_since


def test_the_same_thing_is_told_once(database: Database, clock: ManualClock) -> None:
    with database.write() as connection:
        assert add_notice(connection, "model", "model:m2", "m2 scores from now on instead of m1: better.", clock.now())
        assert not add_notice(connection, "model", "model:m2", "again", clock.now())
    with database.read() as connection:
        (found,) = notices_since(connection, clock.now())
    assert (found.kind, found.text) == ("model", "m2 scores from now on instead of m1: better.")


def test_the_channel_gets_what_is_news_and_words_are_escaped(sqlite_database: Database, clock: ManualClock) -> None:
    with sqlite_database.write() as connection:
        add_notice(connection, "retire", "old", "Long ago.", clock.now() - FRESH - timedelta(seconds=1))
        add_notice(connection, "experiment", "new", "<!channel> long & short", clock.now())
    ((subject, shown),) = NoticeBoard(sqlite_database, clock).drawn()
    assert subject == 2
    assert shown.text == "&lt;!channel&gt; long &amp; short"
    assert shown.blocks[0]["text"]["text"] == "🧪 &lt;!channel&gt; long &amp; short"
