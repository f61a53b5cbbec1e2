"""A message that breaks while it is put together fails by itself; nothing left, and the others leave."""

from __future__ import annotations

from typing import Any

import pytest

from bot.services.departure import Departure
from bot.store.answers import PendingAnswer
from bot.store.database import Database
from bot.store.delivery import Claimed
from tests.integration.delivery_world import S, Shop, talk


def test_a_check_in_that_breaks_in_the_rendering_fails_and_the_next_one_leaves(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop(database)
    broken, sound = shop.approve("c1"), shop.approve("c2")
    render = Departure.outreach_message

    def breaks(self: Departure, claimed: Claimed) -> Any:
        if claimed.outreach.id == broken:
            raise RuntimeError("a bug, and it quotes the draft")
        return render(self, claimed)

    monkeypatch.setattr(Departure, "outreach_message", breaks)
    report = shop.deliverer.drain()
    assert (report.sent, report.failed) == (1, 1)
    assert (shop.see(broken).state, shop.see(sound).state) == (S.FAILED, S.SENT)
    assert "quotes the draft" not in str(shop.see(broken).refusal)


def test_an_answer_that_breaks_in_the_rendering_does_not_stay_in_flight_for_ever(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop(database)
    first, second = talk(shop, "Here.", "And there.")
    render = Departure.answer_message

    def breaks(self: Departure, answer: PendingAnswer, key: str) -> Any:
        if answer.utterance_id == first:
            raise RuntimeError("a bug")
        return render(self, answer, key)

    monkeypatch.setattr(Departure, "answer_message", breaks)
    assert shop.deliverer.drain().answers == 1
    assert shop.sent_keys() == [f"utterance:{second}:1"]
