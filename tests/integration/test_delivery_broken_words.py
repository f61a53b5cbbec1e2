"""A message that breaks while it is put together fails by itself; nothing left, and the others leave."""

from __future__ import annotations

from typing import Any

import pytest

from bot.services.delivery.departure import Departure
from bot.store.answers import PendingAnswer
from bot.store.claiming import Claimed
from bot.store.database import Database
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


def test_what_was_sent_is_written_down_though_the_next_one_cannot_be_claimed(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop(database)
    sent, broken = shop.approve("c1"), shop.approve("c2")
    verdicts = Departure.verdicts

    def breaks(self: Departure, connection: Any, pairs: Any, *given: Any) -> Any:
        if any(outreach.id == broken for outreach, _ in pairs):
            raise RuntimeError("a bug in the policy's facts")
        return verdicts(self, connection, pairs, *given)

    monkeypatch.setattr(Departure, "verdicts", breaks)
    with pytest.raises(RuntimeError):
        shop.deliverer.drain()
    assert (shop.see(sent).state, shop.see(broken).state) == (S.SENT, S.APPROVED)
    assert shop.sent_keys() == [f"outreach:{sent}:1"]
