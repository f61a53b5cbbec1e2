"""Asking the channels about what is in doubt: all of it, one broken question at a time, and not at every turn."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from bot.channels.base import Evidence, Knowledge, Message
from bot.errors import TransientChannelError, UncertainChannelError
from bot.services.delivery.deliverer import SETTLES_AFTER, Deliverer
from bot.services.delivery.reconciling import ASK_AGAIN
from bot.store.bulk import insert_rows
from bot.store.database import Database
from bot.store.tables import metadata
from tests.fake_channel import FakeChannel
from tests.integration.delivery_world import NOON, S, Shop, fails, talk

outreaches = metadata.tables["outreaches"]
# Once only the 500 most urgent were looked at.
MANY = 600


class MuteChannel(FakeChannel):
    """Cannot tell what became of anything, as SMTP."""

    def find(self, message: Message) -> Evidence | Knowledge:
        self.asked.append(message.key)
        return Knowledge.UNKNOWN


@pytest.fixture
def shop(database: Database) -> Shop:
    return Shop(database)


def leave_in_doubt(shop: Shop, *keys: str) -> list[int]:
    ids = [shop.approve(key) for key in keys]
    shop.channel.doubt = fails(UncertainChannelError("cut"))
    shop.deliverer.drain()
    shop.channel.doubt = None
    shop.clock.advance(SETTLES_AFTER)
    return ids


def copy_in_doubt(shop: Shop, one: int, count: int) -> None:
    """Write so many more mails in doubt, each younger than the one they are copied from."""
    with shop.database.write() as connection:
        row: dict[str, Any] = dict(
            connection.execute(sa.select(outreaches).where(outreaches.c.id == one)).one()._mapping
        )
        del row["id"]
        insert_rows(
            connection,
            outreaches,
            [
                {**row, "dedupe_key": f"copy-{number}", "updated_at": row["updated_at"] + timedelta(seconds=number)}
                for number in range(count)
            ],
        )


def test_many_mails_that_nobody_can_tell_about_do_not_hide_one_that_slack_can(shop: Shop) -> None:
    slack, mail = shop.approve("s1", channel="slack", urgent=False), shop.approve("c1")
    with shop.database.write() as connection:
        doubt = {"state": S.UNCERTAIN.value, "attempts": 1, "updated_at": NOON - timedelta(hours=1)}
        connection.execute(sa.update(outreaches).values(doubt))
    copy_in_doubt(shop, mail, MANY)
    mute, knowing = MuteChannel(), FakeChannel("slack")
    channels = {"email": mute, "slack": knowing}
    deliverer = Deliverer(shop.database, shop.clock, shop.settings, channels, shop.catalogue)
    assert deliverer.reconcile() == 1
    assert knowing.asked == [f"outreach:{slack}:1"]
    assert shop.see(slack).state == S.APPROVED  # Slack says that it is not there


@pytest.mark.parametrize("error", [KeyError("ts"), TransientChannelError("busy")])
def test_a_question_that_breaks_does_not_end_the_round(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    broken, other = leave_in_doubt(shop, "c1", "c2")
    find = shop.channel.find

    def breaks(message: Message) -> Evidence | Knowledge:
        if message.key == f"outreach:{broken}:1":
            raise error
        return find(message)

    monkeypatch.setattr(shop.channel, "find", breaks)
    assert shop.deliverer.reconcile() == 1
    assert (shop.see(broken).state, shop.see(other).state) == (S.UNCERTAIN, S.SENT)


def test_a_question_about_an_answer_that_breaks_does_not_end_the_round(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, _ = talk(shop, "Here.", "And there.")
    leave_in_doubt(shop)
    find = shop.channel.find

    def breaks(message: Message) -> Evidence | Knowledge:
        if message.key == f"utterance:{broken}:1":
            raise KeyError("ts")
        return find(message)

    monkeypatch.setattr(shop.channel, "find", breaks)
    assert shop.deliverer.reconcile() == 1


def test_who_could_not_tell_is_not_asked_again_at_once(shop: Shop) -> None:
    shop.channel = mute = MuteChannel()
    shop.deliverer = shop.new_deliverer()
    (said,) = talk(shop, "Here.")
    (one,) = leave_in_doubt(shop, "c1")
    both = [f"outreach:{one}:1", f"utterance:{said}:1"]
    for _ in range(3):
        assert shop.deliverer.reconcile() == 0
    assert sorted(mute.asked) == both
    shop.clock.advance(ASK_AGAIN)
    shop.deliverer.reconcile()
    assert sorted(mute.asked) == sorted(2 * both)
