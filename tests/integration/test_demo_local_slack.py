"""The demo's own way into local-slack, at the real program."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.demo.local_slack import AGENTS, REVIEW_CHANNEL, LocalSlack, Person, shown_text, until
from bot.demo.ui_socket import UiSocket
from bot.errors import ChannelError
from tests.peers import missing_peer
from tests.peers.local_slack import BINARY

pytestmark = pytest.mark.peer
CUSTOMER = Person(id="U0CUSTOMER", name="Anna Adler", email="anna@example.com")


@pytest.fixture
def slack(tmp_path: Path) -> Iterator[LocalSlack]:
    if not BINARY.is_file():
        missing_peer("local-slack is not installed: run `npm ci` in tests/peers/slack")
    running = LocalSlack.start(BINARY, tmp_path / "slack", [CUSTOMER])
    yield running
    running.stop()


def test_a_customer_writes_and_it_is_read_back_in_the_direct_messages(slack: LocalSlack) -> None:
    slack.say(CUSTOMER.id, "Wo ist mein Paket? – 😀")
    (message,) = until(lambda: slack.direct_messages(CUSTOMER.id), "message")
    assert shown_text(message) == "Wo ist mein Paket? – 😀"
    assert message["user"] == CUSTOMER.id
    assert slack.messages(REVIEW_CHANNEL) == []


def test_the_page_shows_a_large_state_and_what_happens_next(slack: LocalSlack) -> None:
    for number in range(30):
        slack.say(CUSTOMER.id, f"{number} " + "long words " * 300)
    with UiSocket(slack.base_url) as page:
        first = page.receive()
        assert first["t"] == "init"
        assert len(first["state"]["users"]) == 1 + len(AGENTS) + 1
        page.send({"t": "post_message", "channel": CUSTOMER.id, "user": CUSTOMER.id, "text": "ä" * 70_000})
        frames = iter(page.receive, None)
        message = next(frame["message"] for frame in frames if frame["t"] == "message")
    assert message["text"] == "ä" * 70_000


def test_a_click_on_what_is_not_shown_is_refused(slack: LocalSlack) -> None:
    slack.say(CUSTOMER.id, "no buttons here")
    (message,) = slack.direct_messages(CUSTOMER.id)
    with pytest.raises(ChannelError, match="shows no outreach_approve"):
        slack.click(AGENTS[0].id, message, "outreach_approve")


def test_a_program_that_is_no_local_slack_is_an_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(ChannelError, match="did not start"):
        LocalSlack.start(Path("/bin/true"), tmp_path, [])
    with pytest.raises(ChannelError, match="cannot be started"):
        LocalSlack.start(tmp_path / "absent", tmp_path, [])
