"""Slack as a way to a customer: evidence, or one of three errors that say what may be done next."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from bot.channels.base import DeadAddressError, Evidence, Knowledge, Message
from bot.channels.slack import api as slack_api
from bot.channels.slack.api import Pace, SlackApi, SlackUnauthorized
from bot.channels.slack.channel import SlackChannel, linkable_hosts
from bot.channels.slack.doctor import check_slack, needed_scopes
from bot.errors import ChannelError, PermanentChannelError, TransientChannelError, UncertainChannelError
from bot.settings import Settings, Shop, Web
from tests.peers import free_port
from tests.peers.local_slack import LocalSlack, shown_text
from tests.scripted_slack import ScriptedSlack, error, healthy, scripted_slack, settings_for
from tests.slack_world import MARIA, slack_settings, start_peer

MESSAGE = Message(key="outreach:7:1", address=MARIA.id, subject="", text="Hello **Maria**, it is late.")


@pytest.fixture
def scripted() -> Iterator[ScriptedSlack]:
    with scripted_slack() as server:
        server.answers["conversations.open"] = (200, {"ok": True, "channel": {"id": "D1"}}, {})
        server.answers["chat.postMessage"] = (200, {"ok": True, "channel": "D1", "ts": "1.2"}, {})
        yield server


def channel_at(url: str) -> SlackChannel:
    settings = settings_for(url)
    return SlackChannel(SlackApi.from_settings(settings), settings)


def test_a_message_carries_its_key_and_neither_unfurls_nor_mentions(scripted: ScriptedSlack) -> None:
    sent = channel_at(scripted.url).send(MESSAGE)
    assert (sent.reference, sent.thread) == ("1.2", "D1")
    body = json.loads(scripted.calls[-1][1])
    assert body["blocks"][0]["block_id"] == "outreach:7:1"
    assert body["metadata"] == {"event_type": "aftercare_message", "event_payload": {"key": "outreach:7:1"}}
    assert body["blocks"][0]["text"] == {"type": "mrkdwn", "text": "Hello *Maria*, it is late.", "verbatim": True}
    assert (body["unfurl_links"], body["unfurl_media"]) == (False, False)
    assert body["text"] == "Hello **Maria**, it is late."


@pytest.mark.parametrize(
    ("method", "answer", "expected"),
    [
        ("conversations.open", error("user_not_found"), DeadAddressError),
        ("conversations.open", error("user_disabled"), DeadAddressError),
        ("conversations.open", error("internal_error"), TransientChannelError),
        ("chat.postMessage", error("channel_not_found"), PermanentChannelError),
        ("chat.postMessage", error("is_archived"), PermanentChannelError),
        ("chat.postMessage", error("msg_too_long"), PermanentChannelError),
        ("chat.postMessage", error("ratelimited", 429, **{"Retry-After": "7"}), TransientChannelError),
        ("chat.postMessage", error("invalid_auth"), SlackUnauthorized),
        ("chat.postMessage", error("missing_scope"), SlackUnauthorized),
        ("chat.postMessage", error("account_inactive"), SlackUnauthorized),
        ("chat.postMessage", error("fatal_error"), UncertainChannelError),
        ("chat.postMessage", error("x", 500), UncertainChannelError),
        ("chat.postMessage", error("x", 503), UncertainChannelError),
    ],
)
def test_each_refusal_says_what_may_be_done_next(
    scripted: ScriptedSlack, method: str, answer: Any, expected: type[ChannelError]
) -> None:
    scripted.answers[method] = answer
    with pytest.raises(expected) as caught:
        channel_at(scripted.url).send(MESSAGE)
    assert [name for name, _ in scripted.calls].count("chat.postMessage") <= 1  # never sent twice
    if answer[0] == 429:
        assert isinstance(caught.value, TransientChannelError)
        assert caught.value.retry_after == 7


def drop(handler: BaseHTTPRequestHandler) -> None:
    handler.close_connection = True


def half(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("content-length", "100")
    handler.end_headers()
    handler.wfile.write(b'{"ok"')


@pytest.mark.parametrize("behave", [drop, half])
def test_a_connection_that_breaks_after_the_send_is_uncertain_and_not_repeated(
    scripted: ScriptedSlack, behave: Callable[[BaseHTTPRequestHandler], None]
) -> None:
    scripted.answers["chat.postMessage"] = behave
    with pytest.raises(UncertainChannelError):
        channel_at(scripted.url).send(MESSAGE)
    assert [name for name, _ in scripted.calls].count("chat.postMessage") == 1


def test_no_answer_in_time_is_uncertain(scripted: ScriptedSlack, monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    scripted.answers["chat.postMessage"] = lambda handler: release.wait(10)
    monkeypatch.setattr(slack_api, "TIMEOUT_SECONDS", 0.2)
    try:
        with pytest.raises(UncertainChannelError):
            channel_at(scripted.url).send(MESSAGE)
    finally:
        release.set()


def test_a_slack_that_is_not_there_got_nothing() -> None:
    with pytest.raises(TransientChannelError):
        channel_at(f"http://127.0.0.1:{free_port()}/api/").send(Message(**{**vars_of(MESSAGE), "thread": "D1"}))


def vars_of(message: Message) -> dict[str, Any]:
    return {name: getattr(message, name) for name in Message.__dataclass_fields__}


def test_what_became_of_a_message_is_found_by_its_key(scripted: ScriptedSlack) -> None:
    channel = channel_at(scripted.url)

    def history(*messages: dict[str, Any], more: bool = False) -> None:
        scripted.answers["conversations.history"] = (200, {"ok": True, "messages": messages, "has_more": more}, {})

    history(
        {"ts": "1.1", "blocks": [{"block_id": "outreach:6:1"}]}, {"ts": "1.2", "blocks": [{"block_id": MESSAGE.key}]}
    )
    found = channel.find(MESSAGE)
    assert isinstance(found, Evidence)
    assert (found.reference, found.thread) == ("1.2", "D1")
    history({"ts": "1.3", "metadata": {"event_type": "aftercare_message", "event_payload": {"key": MESSAGE.key}}})
    found = channel.find(MESSAGE)
    assert isinstance(found, Evidence)
    assert found.reference == "1.3"
    history({"ts": "1.1", "text": "something else"})
    assert channel.find(MESSAGE) is Knowledge.ABSENT
    history({"ts": "1.1", "text": "something else"}, more=True)
    assert channel.find(MESSAGE) is Knowledge.UNKNOWN
    scripted.answers["conversations.history"] = error("unknown_method")
    assert channel.find(MESSAGE) is Knowledge.UNKNOWN


def test_only_the_shops_own_addresses_become_links() -> None:
    settings = Settings(shop=Shop(url="https://www.shop.example/en"), web=Web(base_url="http://127.0.0.1:8080"))
    assert set(linkable_hosts(settings)) == {"www.shop.example"}


def test_posts_to_one_channel_keep_their_distance_and_a_stop_ends_the_wait() -> None:
    pace = Pace(60)
    pace.wait("C1")
    pace.wait("C2")  # another channel does not wait
    waiting = threading.Thread(target=pace.wait, args=("C1",))
    waiting.start()
    assert waiting.is_alive()
    pace.stop()
    waiting.join(5)
    assert not waiting.is_alive()


def test_only_slack_itself_is_paced() -> None:
    assert Pace.for_address("https://slack.com/api/")._seconds > 1
    assert Pace.for_address("http://127.0.0.1:1/api/")._seconds == 0


# --- The doctor -----------------------------------------------------------------------------------------------


def test_the_doctor_finds_nothing_wrong_with_a_sound_installation(scripted: ScriptedSlack) -> None:
    healthy(scripted, ",".join(needed_scopes()))
    found = check_slack(settings_for(scripted.url))
    assert all(finding.ok for finding in found)
    assert {finding.name for finding in found} >= {"scopes", "slack.review_channel", "slack.agents", "SLACK_APP_TOKEN"}


def test_the_doctor_names_what_is_missing(scripted: ScriptedSlack) -> None:
    healthy(scripted, "chat:write,im:write")
    scripted.answers["conversations.info"] = (200, {"ok": True, "channel": {"id": "C1", "is_member": False}}, {})
    scripted.answers["users.info"] = error("user_not_found")
    scripted.answers["apps.connections.open"] = error("invalid_auth")
    wrong = {finding.name: finding.advice for finding in check_slack(settings_for(scripted.url)) if not finding.ok}
    assert "users:read" in wrong["scopes"]
    assert "chat:write" not in wrong["scopes"]
    assert "/invite" in wrong["slack.review_channel"]
    assert "U1" in wrong["slack.agents"]
    assert "connections:write" in wrong["SLACK_APP_TOKEN"]


def test_the_doctor_warns_of_a_review_channel_that_customers_could_read(scripted: ScriptedSlack) -> None:
    healthy(scripted, ",".join(needed_scopes()))
    for private, warned in ((True, False), (False, True)):
        channel = {"id": "C1", "is_member": True, "is_private": private}
        scripted.answers["conversations.info"] = (200, {"ok": True, "channel": channel}, {})
        found = {finding.name: finding for finding in check_slack(settings_for(scripted.url))}
        assert found["slack.review_channel"].ok  # not every shop has its customers in the workspace
        assert ("can read the cards" in found["slack.review_channel"].advice) == warned


def test_the_doctor_says_when_the_token_is_refused_or_slack_is_off(scripted: ScriptedSlack) -> None:
    scripted.answers["auth.test"] = error("token_revoked")
    (finding,) = check_slack(settings_for(scripted.url))
    assert not finding.ok
    assert "token_revoked" in finding.advice
    assert check_slack(Settings())[0].ok


# --- At a real peer -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalSlack]:
    running = start_peer(tmp_path_factory.mktemp("slack"))
    yield running
    running.stop()


@pytest.mark.peer
def test_a_real_slack_takes_it_and_says_so_when_asked(peer: LocalSlack) -> None:
    settings = slack_settings(peer)
    channel = SlackChannel(SlackApi.from_settings(settings), settings)
    assert channel.find(MESSAGE) is Knowledge.ABSENT
    sent = channel.send(MESSAGE)
    found = channel.find(MESSAGE)
    assert isinstance(found, Evidence)
    assert (found.reference, found.thread) == (sent.reference, sent.thread)
    (message,) = peer.messages(peer.dm(MARIA.id))
    assert shown_text(message) == "Hello *Maria*, it is late."


@pytest.mark.peer
def test_ten_thousand_characters_arrive_whole(peer: LocalSlack) -> None:
    settings = slack_settings(peer)
    channel = SlackChannel(SlackApi.from_settings(settings), settings)
    text = " ".join(f"word{n}" for n in range(1_200))
    sent = channel.send(Message(key="outreach:8:1", address=MARIA.id, subject="", text=text))
    message = next(m for m in peer.messages(peer.dm(MARIA.id)) if m["ts"] == sent.reference)
    assert shown_text(message).split() == text.split()


@pytest.mark.peer
def test_the_doctor_accepts_a_real_peer(peer: LocalSlack) -> None:
    assert all(finding.ok for finding in check_slack(slack_settings(peer)))
