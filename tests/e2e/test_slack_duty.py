"""At a real Slack peer: whose turn a hand-over is stands on its card, and two processes remind once, in its thread."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from bot.channels.slack.api import SlackApi
from bot.channels.slack.connection import SlackConnection
from bot.clock import ManualClock
from bot.services.conversation.conversations import Inbound
from bot.services.conversation.duty import DutyRoster
from bot.services.delivery.stopping import Stopping
from bot.services.planning.playbooks import Playbooks
from bot.services.review.desk import ReviewDesk
from bot.store.database import Database
from tests.peers.local_slack import REVIEW_CHANNEL, LocalSlack, shown_text, until
from tests.slack_world import ADA, BEN, ScriptedConversations, slack_settings

pytestmark = pytest.mark.peer


def test_two_processes_remind_once_in_the_thread_and_the_card_says_whose_turn_it_is(
    peer: LocalSlack, sqlite_database: Database, clock: ManualClock
) -> None:
    settings = slack_settings(peer, agents=(ADA, BEN))
    talks = ScriptedConversations(sqlite_database, clock)

    def connect() -> SlackConnection:
        return SlackConnection(
            api=SlackApi.from_settings(settings),
            database=sqlite_database,
            clock=clock,
            settings=settings,
            review=ReviewDesk(sqlite_database, clock, settings),
            conversations=talks,  # type: ignore[arg-type]
            send_utterance=lambda _: None,
            stopping=Stopping(sqlite_database, clock),
            playbooks=lambda: Playbooks([]),
            duty=DutyRoster(sqlite_database, clock, settings),
        )

    def messages(key: str, says: str = "") -> list[dict[str, Any]]:
        return [
            one
            for one in peer.messages(REVIEW_CHANNEL)
            if one.get("blocks")
            and str(one["blocks"][0].get("block_id", "")).startswith(f"{key}:")
            and says in shown_text(one)
        ]

    both = (connect(), connect())

    def look() -> None:
        for one in (*both, *both):
            one.sync()

    try:
        for one in both:
            one.start()
        now = clock.now()
        talks.receive(Inbound(source="slack", external_id="D1:1", channel="slack", thread="D1", customer_id=None, sender="slack:T:U", text="a human please", occurred_at=now))  # fmt: skip
        look()
        (card,) = messages("handoff", f"<@{ADA}> is asked to take it, an answer is due Tue 10 Mar 17:00")
        clock.advance(timedelta(minutes=236))
        look()
        (said,) = messages("reminder", f"<@{ADA}>, it is your turn: A customer waits since Tue 10 Mar 13:00")
        assert said["thread_ts"] == card["ts"]
        clock.advance(timedelta(minutes=4))
        look()
        assert len(messages("reminder")) == 2
        assert messages("reminder", f"<@{BEN}>, it is your turn")
        (card,) = messages("handoff", f"<@{BEN}> is asked to take it")
        with peer.browser() as browser:
            peer.open_home(BEN)
            home = shown_text(browser.home(BEN, "1 customer waits for a human"))
            assert f"A customer, due Tue 10 Mar 21:00 · asked: <@{BEN}>" in home
            clock.advance(timedelta(minutes=1))
            peer.click(ADA, card, "handoff_reply")
            browser.modal("handoff_reply")
        until(lambda: messages("handoff", f"<@{ADA}> has it"), "Ada has it")
        look()
        assert len(messages("reminder")) == 2
    finally:
        for one in both:
            one.stop()
