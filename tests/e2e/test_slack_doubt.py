"""A message that Slack took without our hearing of it: shown as uncertain, found by its key, never sent again."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bot.channels.slack import api
from bot.clock import ManualClock
from bot.decide.lifecycle import OutreachState
from bot.settings import Database as DatabaseSettings
from bot.store.outreach import outreach
from bot.store.shop import link_slack_user
from bot.wiring import App
from tests.integration.shop_rows import propose
from tests.peers.local_slack import TEAM, LocalSlack, shown_text
from tests.peers.slack_proxy import FaultProxy
from tests.slack_world import ADA, MARIA, slack_settings

pytestmark = pytest.mark.peer
NOON = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)


@pytest.fixture
def app(
    peer: LocalSlack, proxy: FaultProxy, tmp_path: Path, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[App]:
    monkeypatch.setattr(api, "TIMEOUT_SECONDS", 1)
    peer._control("reset", {})
    proxy.reset()
    own = {"database": DatabaseSettings(url=sqlite_url), "home": tmp_path}
    running = App(slack_settings(peer, api_url=proxy.api_url).model_copy(update=own), ManualClock(NOON))
    assert running.slack is not None
    running.slack.start()
    yield running
    running.slack.stop()
    running.close()
    assert proxy.problems() == []


@pytest.mark.parametrize(
    ("fault", "meanwhile"),
    [
        ({"do": "late", "seconds": 3}, OutreachState.UNCERTAIN),
        ({"do": "lost"}, OutreachState.UNCERTAIN),
        ({"do": "fail_after"}, OutreachState.UNCERTAIN),
        ({"do": "cut"}, OutreachState.UNCERTAIN),
        ({"do": "limit", "seconds": 0}, OutreachState.APPROVED),
    ],
    ids=lambda value: str(value["do"]) if isinstance(value, dict) else "",
)
def test_a_customer_gets_one_message_whatever_becomes_of_slacks_answer(
    app: App, peer: LocalSlack, proxy: FaultProxy, fault: dict[str, Any], meanwhile: OutreachState
) -> None:
    clock = app.clock
    assert isinstance(clock, ManualClock)
    proposed = propose(app.database, clock.now(), channel="slack")
    with app.database.write() as connection:
        link_slack_user(connection, proposed.customer_id, TEAM, MARIA.id)
    app.review.approve(proposed.id, proposed.version, f"slack:{TEAM}:{ADA}")
    clock.advance(timedelta(seconds=31))
    proxy.rules({"method": "chat.postMessage", **fault})
    app.deliver()
    assert state(app, proposed.id) is meanwhile
    proxy.rules()
    for _ in range(3):  # asked after half a minute, sent again where it surely had not arrived
        clock.advance(timedelta(minutes=20))
        app.deliver()
    assert state(app, proposed.id) is OutreachState.SENT
    said = [m for m in peer.messages(peer.dm(MARIA.id)) if m.get("bot_id")]
    assert ["your parcel is late" in shown_text(one) for one in said] == [True]


def state(app: App, outreach_id: int) -> OutreachState:
    with app.database.read() as connection:
        return outreach(connection, outreach_id).state
