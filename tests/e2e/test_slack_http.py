"""Slack over HTTP: what Slack signed has the effect that Socket Mode would have; anything else has none."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient

from bot.channels.slack import connection as connecting
from bot.channels.slack.http import PATH, answer
from bot.channels.slack.listeners import UNREADABLE
from bot.clock import ManualClock
from bot.decide.lifecycle import OutreachState
from bot.services.mail.opting_out import OptOutDesk
from bot.store.database import Database
from bot.store.decisions import decisions_of
from bot.store.tables import metadata
from bot.web.app import build_app
from bot.web.callbacks import MAX_OCTETS
from tests.integration.shop_rows import propose
from tests.peers.local_slack import REVIEW_CHANNEL, SIGNING_SECRET, TEAM, LocalSlack, until
from tests.slack_requests import FORM, clicked, signed
from tests.slack_world import ADA, MARIA, SlackWorld, slack_world, start_peer

pytestmark = pytest.mark.peer


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalSlack]:
    """Answers the product's calls; what it would send itself, these tests send."""
    running = start_peer(tmp_path_factory.mktemp("slack"))
    yield running
    running.stop()


@pytest.fixture
def world(peer: LocalSlack, sqlite_database: Database, clock: ManualClock) -> Iterator[SlackWorld]:
    peer._control("reset", {})
    # The product's clock stands still, long ago: a signature's age is measured by this machine's.
    with slack_world(peer, sqlite_database, clock, mode="http") as running:
        yield running


@pytest.fixture
def web(world: SlackWorld) -> Iterator[TestClient]:
    opt_out = OptOutDesk(world.database, world.clock, None, "en")
    app = build_app(
        checks=list, opt_out=opt_out, shop_name="Shop", locale="en", callbacks={PATH: world.connection.handle}
    )
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def click(card: Mapping[str, Any], action_id: str, trigger: str = "t.1") -> bytes:
    return clicked(card, action_id, ADA, trigger)


def words(text: str, event_id: str = "Ev1", ts: str = "1700000000.000100") -> bytes:
    """The request of a customer's message."""
    event = {"type": "message", "channel_type": "im", "channel": "D0MARIA", "user": MARIA.id, "text": text, "ts": ts}
    body = {"type": "event_callback", "team_id": TEAM, "event_id": event_id, "event": {**event, "team": TEAM}}
    return json.dumps(body).encode()


def suggested(world: SlackWorld) -> tuple[int, dict[str, Any]]:
    proposed = propose(world.database, world.clock.now())
    world.connection.sync()
    return proposed.id, world.card()


def recorded(world: SlackWorld) -> int:
    with world.database.read() as connection:
        return int(connection.execute(sa.select(sa.func.count()).select_from(metadata.tables["events"])).scalar_one())


def test_a_signed_click_decides_and_the_same_click_again_does_not(world: SlackWorld, web: TestClient) -> None:
    outreach_id, card = suggested(world)
    body = click(card, "outreach_approve")
    assert web.post(PATH, content=body, headers=signed(body)).status_code == 200
    until(lambda: world.present(outreach_id).state is OutreachState.APPROVED, "the decision")
    assert world.present(outreach_id).decided_by == f"slack:{TEAM}:{ADA}"
    again = signed(body) | {"X-Slack-Retry-Num": "1", "X-Slack-Retry-Reason": "http_timeout"}
    assert web.post(PATH, content=body, headers=again).status_code == 200
    with world.database.read() as connection:
        assert len(decisions_of(connection, outreach_id)) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"X-Slack-Signature": ""},
        {"X-Slack-Signature": "v0=" + "0" * 64},
        {"X-Slack-Signature": "v0=é"},
        {"X-Slack-Request-Timestamp": ""},
        {"X-Slack-Request-Timestamp": "soon"},
        {"X-Slack-Request-Timestamp": "9" * 400},
        {"X-Slack-Request-Timestamp": str(2**31)},
    ],
)
def test_a_click_without_a_valid_signature_is_refused_and_changes_nothing(
    world: SlackWorld, web: TestClient, change: dict[str, str]
) -> None:
    outreach_id, card = suggested(world)
    body = click(card, "outreach_approve")
    headers = {name: value.encode("latin-1") for name, value in (signed(body) | change).items() if value}
    assert web.post(PATH, content=body, headers=headers).status_code == 401
    assert world.present(outreach_id).state is OutreachState.SUGGESTED
    assert recorded(world) == 0


def test_another_secret_another_body_and_an_old_request_are_refused(world: SlackWorld, web: TestClient) -> None:
    outreach_id, card = suggested(world)
    body = click(card, "outreach_approve")
    for headers in (
        signed(body, secret="another"),
        signed(body + b" "),
        signed(body, age=6 * 60),
        signed(body, age=-6 * 60),
        signed(b"ssl_check=1", age=6 * 60),
    ):
        assert web.post(PATH, content=body, headers=headers).status_code == 401
    assert web.post(PATH, content=b"ssl_check=1", headers={"Content-Type": FORM}).status_code == 401
    assert web.post(PATH, content=b'{"type": "url_verification", "challenge": "x"}').status_code == 401
    assert world.present(outreach_id).state is OutreachState.SUGGESTED
    assert recorded(world) == 0
    fresh = signed(body, age=4 * 60)  # the same bytes, signed in time: it was the signature that was refused
    assert web.post(PATH, content=body, headers=fresh).status_code == 200
    until(lambda: world.present(outreach_id).state is OutreachState.APPROVED, "the decision")


def test_the_challenge_is_answered_and_odd_bodies_are_refused(world: SlackWorld, web: TestClient) -> None:
    body = b'{"type": "url_verification", "challenge": "3eZbrw1aB", "token": "x"}'
    answered = web.post(PATH, content=body, headers=signed(body, content_type="application/json"))
    assert (answered.status_code, answered.json()) == (200, {"challenge": "3eZbrw1aB"})
    for odd in (b"{", b"[1]", b"payload=%7B", b'{"a":' * 100_000):
        given = web.post(PATH, content=odd, headers=signed(odd, content_type="application/json"))
        assert given.status_code == 400
    assert web.post(PATH, content=b"\xff", headers=signed(b"\xff")).status_code == 401
    assert web.post(PATH, content=b"x" * (MAX_OCTETS + 1), headers=signed(b"")).status_code == 413
    assert recorded(world) == 0


def test_a_repeated_event_has_one_effect(world: SlackWorld, web: TestClient) -> None:
    body = words("Where is my parcel?")
    headers = signed(body, content_type="application/json")
    assert web.post(PATH, content=body, headers=headers).status_code == 200
    until(lambda: world.conversations.received, "the message at the dialogue")
    for number in ("1", "2"):
        assert web.post(PATH, content=body, headers=headers | {"X-Slack-Retry-Num": number}).status_code == 200
    world.connection.stop()  # everything begun is finished
    assert [inbound.text for inbound in world.conversations.received] == ["Where is my parcel?"]


def test_a_command_over_http_is_done_once_and_one_that_cannot_be_read_says_so(
    world: SlackWorld, web: TestClient
) -> None:
    fields = {
        "command": "/aftercare",
        "text": "stop too many",
        "user_id": ADA,
        "team_id": TEAM,
        "channel_id": REVIEW_CHANNEL,
    }
    body = urlencode(fields | {"trigger_id": "t.7"}).encode()
    for _ in range(2):
        assert web.post(PATH, content=body, headers=signed(body)).status_code == 200
    until(lambda: world.whispers(ADA), "the answer")
    odd = urlencode(fields).encode()
    given = web.post(PATH, content=odd, headers=signed(odd))
    assert (given.status_code, given.text) == (200, UNREADABLE)
    world.connection.stop()  # everything begun is finished
    assert len(world.whispers(ADA)) == 1  # no response_url came with it: said in the channel
    assert "Nothing leaves" in world.whispers(ADA)[0]


def test_before_slack_is_connected_a_signed_request_is_asked_to_come_again() -> None:
    body = words("Hello")
    assert answer(None, SIGNING_SECRET, body, signed(body))[0] == 503
    assert answer(None, SIGNING_SECRET, body, {})[0] == 401


def test_health_over_http_follows_what_slack_says(
    tmp_path: Path, sqlite_database: Database, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    short_lived = start_peer(tmp_path / "slack")
    try:
        with slack_world(short_lived, sqlite_database, clock, mode="http") as world:
            assert world.connection.connected()
            monkeypatch.setattr(connecting, "PROOF_SECONDS", 0.0)
            assert world.connection.connected()
            short_lived.stop()
            assert not world.connection.connected()
    finally:
        if short_lived.process.poll() is None:
            short_lived.stop()
