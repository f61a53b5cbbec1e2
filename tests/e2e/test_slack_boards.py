"""At a real Slack peer: what goes out by itself and is stopped, drafts to copy, offers of autonomy, and cards of patterns."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from bot.channels.slack.api import SlackApi
from bot.channels.slack.board_actions import Desks
from bot.channels.slack.connection import SlackConnection
from bot.clock import ManualClock
from bot.decide.lifecycle import OutreachState
from bot.decide.playbook import Audience, Autonomy, PatternNeed, Playbook
from bot.services.delivery.stopping import Stopping
from bot.services.planning.pattern_desk import PatternDesk
from bot.services.planning.playbooks import SHIPPED, PlaybookFile, Playbooks
from bot.settings import Settings
from bot.store import patterns as store
from bot.store.database import Database
from bot.store.enums import PatternAnswer
from bot.store.patterns import Sighting
from bot.wiring import App
from tests.fake_channel import FakeChannel
from tests.integration.autonomy_world import DELAY, OPEN_HOURS, Office, playbook
from tests.integration.shop_rows import propose
from tests.peers.local_slack import REVIEW_CHANNEL, LocalSlack, shown_text, until
from tests.slack_world import ADA, BEN, STRANGER, ScriptedConversations, slack_settings

pytestmark = pytest.mark.peer
S, MINUTE = OutreachState, timedelta(minutes=1)
NEVER_SEEN = Sighting(
    cell="lot:1:B7", kind="charging", window_days=28, troubled=31, exposed=117, expected=7.4, p_value=1e-9,
    sentence="31 of 117 buyers of lot <!channel> & B7 report charging, 4.2× expected", silent=2,
)  # fmt: skip


class NoPatterns:
    def report(self) -> list[Any]:
        return []


class Channel:
    """The office of `autonomy_world`, with a running Slack."""

    def __init__(self, peer: LocalSlack, office: Office, connection: SlackConnection) -> None:
        self.peer, self.office, self.connection = peer, office, connection

    def messages(self, purpose: str) -> list[dict[str, Any]]:
        return [
            one
            for one in self.peer.messages(REVIEW_CHANNEL)
            if one.get("blocks") and str(one["blocks"][0].get("block_id", "")).startswith(f"{purpose}:")
        ]

    def one(self, purpose: str, says: str = "") -> dict[str, Any]:
        """Wait for the only message of a kind to say something."""

        def found() -> dict[str, Any] | None:
            (message,) = self.messages(purpose)
            return message if says in shown_text(message) else None

        return until(found, f"a {purpose} that says {says!r}")

    def let_pass(self, span: timedelta) -> None:
        """Let time pass with Slack connected."""
        until_then = self.office.now + span
        while self.office.now < until_then:
            self.office.clock.set(min(self.office.now + MINUTE, until_then))
            self.connection.sync()

    def whispers(self, user: str) -> list[str]:
        found = self.peer.messages(REVIEW_CHANNEL)
        return [str(m["text"]) for m in found if m.get("subtype") == "ephemeral" and m["ephemeral_to"] == user]


def labels(message: dict[str, Any]) -> list[str]:
    return [
        element["text"]["text"]
        for block in message["blocks"]
        for element in block.get("elements", [])
        if element["type"] == "button"
    ]


@contextmanager
def channel(peer: LocalSlack, database: Database, clock: ManualClock, *found: Playbook) -> Iterator[Channel]:
    peer._control("reset", {})
    settings = slack_settings(peer)
    autonomy = {"decisions": 10, "as_written": 0.7, "sample": 0.000001}
    office = Office(database, clock, *found, review={"autonomy": autonomy, "undo_seconds": 60})
    playbooks = Playbooks([PlaybookFile(playbook=one, path=Path(), shipped=True) for one in found])
    desk = PatternDesk(
        database, clock, office.settings, office.desk, playbooks,
        patterns=NoPatterns, planner=lambda: pytest.fail("nothing is to be planned"),  # type: ignore[arg-type]
    )  # fmt: skip
    connection = SlackConnection(
        api=SlackApi.from_settings(settings),
        database=database,
        clock=clock,
        settings=settings,
        review=office.desk,
        conversations=ScriptedConversations(database, clock),  # type: ignore[arg-type]
        send_utterance=lambda _: None,
        stopping=Stopping(database, clock),
        playbooks=lambda: playbooks,
        desks=Desks(earning=office.earning, patterns=desk),
        unasked=lambda: office.pilot.run(),
    )
    try:
        connection.start()
        yield Channel(peer, office, connection)
    finally:
        connection.stop()


def test_a_card_says_when_it_goes_out_and_an_agent_stops_it(
    peer: LocalSlack, sqlite_database: Database, clock: ManualClock
) -> None:
    with channel(peer, sqlite_database, clock, playbook(Autonomy.AUTO_AFTER)) as world:
        office = world.office
        one = office.propose()
        world.connection.sync()
        world.connection.sync()
        card = world.one("card", "Goes out by itself at 13:20")
        assert labels(card) == ["Stop", "Edit", "Approve now", "Snooze"]
        updates = len(peer.calls("chat.update"))
        world.let_pass(5 * MINUTE)
        assert len(peer.calls("chat.update")) == updates  # the time still holds: nothing is drawn anew

        office.clock.advance(timedelta(hours=1))  # nobody could look meanwhile: the time begins anew
        world.connection.sync()
        card = world.one("card", "Goes out by itself at 14:25")
        peer.click(STRANGER.id, card, "outreach_stop")
        until(lambda: world.whispers(STRANGER.id), "the stranger is told")
        assert office.see(one).version == 1
        peer.click(ADA, card, "outreach_stop")
        until(lambda: office.see(one).version == 2, "it is stopped")
        card = until(lambda: next((m for m in world.messages("card") if labels(m)[0] == "Approve"), None), "ordinary")
        world.let_pass(2 * DELAY)
        assert office.see(one).state is S.SUGGESTED
        assert "by itself" not in shown_text(card)


def test_the_wired_product_sends_what_nobody_stopped(
    peer: LocalSlack, sqlite_url: str, clock: ManualClock, tmp_path: Path
) -> None:
    peer._control("reset", {})
    shipped = yaml.safe_load((SHIPPED / "delivery_at_risk.yaml").read_text())
    (tmp_path / "own.yaml").write_text(yaml.safe_dump({**shipped, "autonomy": "auto_after", "auto_after": "20m"}))
    settings = slack_settings(peer).model_copy(
        update={
            "database": Settings.model_validate({"database": {"url": sqlite_url}}).database,
            "playbooks": Settings.model_validate({"playbooks": {"dir": str(tmp_path)}}).playbooks,
            "policy": Settings.model_validate({"policy": OPEN_HOURS}).policy,
            "home": tmp_path,
        }
    )
    app = App(settings, clock)
    channel = FakeChannel()
    app.__dict__["channels"] = {"email": channel}
    try:
        assert app.slack is not None
        app.slack.start()
        version = app.playbooks.get("delivery_at_risk").playbook.version
        propose(app.database, clock.now(), autonomy=Autonomy.AUTO_AFTER, playbook_version=version)
        app.tick()
        for _ in range(20):
            clock.advance(MINUTE)
            app.tick()
            app.deliver()
        assert channel.taken == []  # the undo window runs
        clock.advance(MINUTE)
        app.deliver()
        assert len(channel.taken) == 1
    finally:
        if app.slack is not None:
            app.slack.stop()
        app.close()


def test_what_nobody_stopped_is_approved_and_can_be_undone(
    peer: LocalSlack, sqlite_database: Database, clock: ManualClock
) -> None:
    with channel(peer, sqlite_database, clock, playbook(Autonomy.AUTO_AFTER)) as world:
        one = world.office.propose()
        world.connection.sync()
        world.connection.sync()
        world.let_pass(DELAY)
        assert world.office.see(one).state is S.APPROVED
        world.connection.sync()
        card = world.one("card", "Approved by Aftercare, unasked")
        assert labels(card) == ["Undo"]
        peer.click(BEN, card, "outreach_undo")
        until(lambda: world.office.see(one).state is S.SUGGESTED, "it is taken back")
        world.let_pass(DELAY)
        assert world.office.see(one).state is S.SUGGESTED


def test_a_draft_is_copied_and_closed_and_never_approved(
    peer: LocalSlack, sqlite_database: Database, clock: ManualClock
) -> None:
    with channel(peer, sqlite_database, clock, playbook(Autonomy.DRAFT)) as world:
        one = world.office.propose("c1", Autonomy.DRAFT)
        world.connection.sync()
        card = world.one("card", "nothing is ever sent")
        assert labels(card) == ["Copy text", "Close"]
        with peer.browser() as browser:
            peer.click(ADA, card, "outreach_copy")
            modal = browser.modal("aftercare_notice")
            assert modal["blocks"][0]["element"]["initial_value"] == one.draft
            peer.open_home(ADA)
            home = browser.home(ADA, "nothing is ever sent")
            assert "Open" in labels(home)
            assert "Approve" not in labels(home)
        # An older card, or a tool, may still ask for it.
        old = {"type": "button", "action_id": "outreach_approve", "block_id": "decide", "value": f"{one.id}:1"}
        peer.interact(BEN, card, old)
        (told,) = until(lambda: world.whispers(BEN), "Ben is told")
        assert "draft only" in told
        assert world.office.see(one) == one
        peer.click(ADA, card, "outreach_close")
        until(lambda: world.office.see(one).state is S.CLOSED, "it is closed")
        world.one("card", "Closed unsent by")


def test_an_offer_is_taken_with_a_click_and_given_back_with_another(
    peer: LocalSlack, sqlite_database: Database, clock: ManualClock
) -> None:
    with channel(peer, sqlite_database, clock, playbook(Autonomy.AUTO)) as world:
        office = world.office
        for number in range(12):
            one = office.propose(f"c{number}", Autonomy.AUTO)
            office.show(one)
            office.desk.approve(one.id, one.version, f"slack:T01CARE:{ADA}")
        office.clock.advance(2 * MINUTE)
        world.connection.sync()
        world.connection.sync()
        offer = world.one("offer", "12")
        assert labels(offer) == ["Let it send at once"]
        assert office.earning.record("delivery_at_risk").level is Autonomy.APPROVE
        peer.click(STRANGER.id, offer, "autonomy_accept")
        until(lambda: world.whispers(STRANGER.id), "the stranger is told")
        peer.click(ADA, offer, "autonomy_accept")
        offer = until(
            lambda: next((m for m in world.messages("offer") if labels(m) == ["Ask about each again"]), None), "taken"
        )
        assert f"<@{ADA}> let it send at once" in shown_text(offer)
        assert office.earning.record("delivery_at_risk").level is Autonomy.AUTO
        peer.click(BEN, offer, "autonomy_back")
        until(lambda: office.earning.record("delivery_at_risk").level is Autonomy.APPROVE, "given back")
        offer = world.one("offer", f"<@{BEN}> went back")
        assert labels(offer) == []


def test_a_pattern_has_one_card_with_its_drafts_in_the_thread(
    peer: LocalSlack, sqlite_database: Database, clock: ManualClock
) -> None:
    pattern = playbook(Autonomy.APPROVE, id="quality_pattern", audience=Audience(pattern=PatternNeed()))
    with channel(peer, sqlite_database, clock, pattern) as world:
        office = world.office
        with sqlite_database.write() as connection:
            store.open_pattern(connection, NEVER_SEEN, clock.now())
            (known,) = store.patterns_at(connection, clock.now())
        world.connection.sync()
        assert world.connection.sync() == 0
        card = world.one("pattern", "2 orders of the same have had no complaint")
        assert "lot &lt;!channel&gt; &amp; B7" in shown_text(card)
        assert labels(card) == ["Propose check-ins", "Acknowledge", "Not a problem"]
        with sqlite_database.read() as connection:
            assert store.patterns_at(connection, clock.now())[0].told_at is not None

        peer.click(ADA, card, "pattern_propose")
        (told,) = until(lambda: world.whispers(ADA), "Ada is told")
        assert "not to be seen at present" in told
        drafts = [office.propose(f"c{number}", Autonomy.APPROVE, pattern_id=known.id) for number in range(2)]
        world.connection.sync()
        world.connection.sync()
        assert all(message.get("thread_ts") == card["ts"] for message in world.messages("card"))
        card = world.one("pattern", "2 proposed (2 suggested)")
        office.desk.claim(drafts[0].id, 1, f"slack:T01CARE:{BEN}")
        peer.click(ADA, card, "pattern_approve")  # drawn before Ben claimed one
        until(lambda: len(world.whispers(ADA)) == 2, "Ada is told that something changed")
        assert [office.see(one).state for one in drafts] == [S.SUGGESTED, S.SUGGESTED]
        card = until(
            lambda: next((m for m in world.messages("pattern") if m["blocks"] != card["blocks"]), None), "drawn anew"
        )
        peer.click(BEN, card, "pattern_approve")
        until(lambda: {office.see(one).state for one in drafts} == {S.APPROVED}, "both are approved")

        peer.click(ADA, world.one("pattern", "2 approved"), "pattern_acknowledge")
        card = world.one("pattern", f"Looked after by <@{ADA}>")
        assert labels(card) == ["Propose check-ins", "Not a problem"]
        peer.click(ADA, card, "pattern_dismiss")
        card = world.one("pattern", f"Called no problem by <@{ADA}>")
        assert labels(card) == []
        with sqlite_database.write() as connection:
            assert store.patterns_at(connection, clock.now())[0].answer is PatternAnswer.DISMISSED
            store.close_pattern(connection, known.cell, known.kind, clock.now())
        world.connection.sync()
        world.one("pattern", "This trouble is over")
