"""Who says that nothing came, whatever was recorded."""

from __future__ import annotations

import pytest

from bot.services.conversation.order_news import says_not_received


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("Tracking says delivered but I never got my parcel!", True),
        ("my order hasn’t arrived", True),
        ("It says delivered, nothing has been delivered here", True),
        ("I still have not received it", True),
        ("the parcel is nowhere to be found", True),
        ("Mein Paket ist nicht angekommen", True),
        ("ich habe nichts bekommen", True),
        ("Wo ist mein Paket? Es ist immer noch nicht da", True),
        ("Where is my order?", False),
        ("has my order been delivered?", False),
        ("Wann kommt meine Bestellung?", False),
        ("I got it, thanks", False),
        ("not " * 20_000, False),
    ],
)
def test_who_says_that_nothing_came(words: str, expected: bool) -> None:
    assert says_not_received(words) is expected
