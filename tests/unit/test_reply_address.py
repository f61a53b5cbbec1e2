"""A reply address carries its token where there is room for it; a long name before the @ never stops the mail."""

from __future__ import annotations

from dataclasses import replace
from email.utils import parseaddr

import pytest

from bot.channels.base import Message
from bot.channels.email.message import Identity, compose
from bot.clock import ManualClock
from bot.tokens import Signer
from tests.conftest import NOW

IDENTITY = Identity(sender="care@shop.example", name="Shop", signer=Signer("s", ManualClock(NOW)), secret="s")
MESSAGE = Message(key="outreach:123456:1", address="ana@example.org", subject="Your parcel", text="Hello Ana")
KEYS = ["outreach:1:1", "outreach:123456789:1", "utterance:123456789:1"]
NAMES = ["care", "customer-service-eu", "customer-care-department", "c" * 60]


def reply_to(identity: Identity, key: str) -> str:
    return parseaddr(compose(replace(MESSAGE, key=key), identity, NOW).headers["Reply-To"])[1]


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("name", NAMES)
def test_a_mail_is_put_together_whatever_the_length_of_the_senders_name(name: str, key: str) -> None:
    local, _, domain = reply_to(replace(IDENTITY, sender=f"{name}@shop.example"), key).partition("@")
    assert (local.partition("+")[0], domain) == (name, "shop.example")
    assert len(local) <= 64


def test_a_short_name_has_its_token() -> None:
    assert reply_to(IDENTITY, MESSAGE.key).startswith("care+")


def test_a_long_name_is_answered_to_without_a_token() -> None:
    long = "customer-care-department@shop.example"
    assert reply_to(replace(IDENTITY, sender=long), MESSAGE.key) == long
    assert reply_to(replace(IDENTITY, reply_to=long), MESSAGE.key) == long
