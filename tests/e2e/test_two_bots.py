"""Promise 19 over real servers: two Aftercares that are each other's customers write one check-in each, and fall silent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml

from bot.decide.lifecycle import OutreachState
from tests.e2e.test_inbound_mail import Shop
from tests.peers.dovecot import dovecot
from tests.peers.postfix import postfix
from tests.peers.process import until

pytestmark = pytest.mark.peer


@pytest.fixture
def shops(tmp_path: Path) -> Iterator[tuple[Shop, Shop]]:
    with ExitStack() as stack:
        box = stack.enter_context(dovecot())
        post = stack.enter_context(postfix(relay_to=box))
        made = []
        for name in ("one", "other"):
            (tmp_path / name).mkdir()
            made.append(Shop(tmp_path / name, post, box))
            stack.callback(made[-1].database.close)
        _move(made[1], "mail.example")  # at one domain, each would take the other's mail for its own
        yield made[0], made[1]


def _move(shop: Shop, domain: str) -> None:
    """Let a shop write from another domain than the tests' usual one."""
    shop.care = f"{shop.care.partition('@')[0]}@{domain}"
    config = yaml.safe_load(shop.config.read_text(encoding="utf-8"))
    config["email"]["from"] = shop.care
    shop.config.write_text(yaml.safe_dump(config), encoding="utf-8")
    shop.environment["IMAP_URL"] = shop.box.url(shop.care)


def test_two_bots_facing_each_other_stop_after_one_mail_each(shops: tuple[Shop, Shop]) -> None:
    one, other = shops
    with one.run() as first, other.run() as second:
        first.ready()
        second.ready()
        to_other = one.approve("other", email=other.care)
        to_one = other.approve("one", email=one.care)
        one.handled(1)
        other.handled(1)
        assert one.see(to_other).state == OutreachState.SENT
        assert other.see(to_one).state == OutreachState.SENT
        # Whatever either would answer would be on its way by now: the deliveries of both come round once more.
        for shop in (one, other):
            later = shop.approve("later", email=f"later-{shop.care.partition('@')[0]}@mail.example")
            until(lambda shop=shop, later=later: shop.see(later).state == OutreachState.SENT, "another mail leaves")  # type: ignore[misc]
        one.post.wait_until_idle()
        assert first.end() == 0
        assert second.end() == 0
    for shop in shops:
        (mail,) = shop.got(shop.care)
        assert mail["Auto-Submitted"] == "auto-generated"
        (row,) = shop.rows("mails")
        assert row.kind == "auto_reply"
        assert shop.rows("utterances") == []
        assert shop.rows("handoffs") == []
