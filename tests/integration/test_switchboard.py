"""Many mails at once, driven by one thread: none waits for another, and being late is the server's fault alone."""

from __future__ import annotations

import asyncio
import io
import itertools
import select
import smtplib
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.channels.email import Server, dialogue
from bot.channels.email.switchboard import Switchboard
from bot.channels.email.wires import Mail, take_reply
from bot.errors import TransientChannelError, UncertainChannelError
from tests.peers.mail import MailSink, mail_sink

# Only a failing test waits so long.
PATIENCE = 60.0


@pytest.fixture
def sink() -> Iterator[MailSink]:
    with mail_sink() as running:
        yield running


@pytest.fixture
def board(sink: MailSink) -> Iterator[Switchboard]:
    made = Switchboard(Server.from_url(sink.url))
    yield made
    made.close()


def mail(number: int, words: str = "Hello") -> Mail:
    key = f"outreach:{number}:1"
    content = f"X-Aftercare-Key: {key}\r\n\r\n{words}\r\n".encode()
    return Mail(key=key, content=content, sender="care@shop.example", recipient=f"c{number}@example.org")


def until(board: Switchboard, wanted: int) -> dict[str, str | Exception]:
    """Drive it until so many have ended."""
    found: dict[str, str | Exception] = {}
    while len(found) < wanted:
        found.update(board.ended(PATIENCE))
    return found


def hang_on(sink: MailSink, recipient: str, monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Let the server say nothing to one recipient until the event."""
    go_on, receive = threading.Event(), sink.handle_RCPT

    async def hangs(server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:
        if address == recipient:
            await asyncio.get_running_loop().run_in_executor(None, go_on.wait, PATIENCE)
        return await receive(server, session, envelope, address, options)

    monkeypatch.setattr(sink, "handle_RCPT", hangs)
    return go_on


def test_many_mails_are_under_way_at_once_and_connections_are_reused(sink: MailSink, board: Switchboard) -> None:
    for first in (0, 5):
        for number in range(first, first + 5):
            board.begin(mail(number))
        found = until(board, 5)
        assert set(found.values()) == {"250 2.0.0 taken"}
    assert sorted(sink.keys()) == [f"outreach:{number}:1" for number in range(10)]
    assert sink.sessions == 5


def test_one_that_hangs_holds_up_no_other(sink: MailSink, board: Switchboard, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = hang_on(sink, "c0@example.org", monkeypatch)
    board.begin(mail(0))
    for number in range(1, 9):
        board.begin(mail(number))
    assert set(until(board, 8)) == {f"outreach:{number}:1" for number in range(1, 9)}
    go_on.set()
    assert set(until(board, 1)) == {"outreach:0:1"}


def test_one_that_hangs_is_given_up_when_its_own_patience_ends(
    sink: MailSink, board: Switchboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = hang_on(sink, "c0@example.org", monkeypatch)
    monkeypatch.setattr(dialogue, "STEP_SECONDS", 0.3)
    board.begin(mail(0))
    (result,) = until(board, 1).values()
    go_on.set()
    assert isinstance(result, TransientChannelError)


def test_what_came_while_the_caller_was_busy_came_in_time(sink: MailSink, board: Switchboard) -> None:
    sink.hold = threading.Event()
    board.begin(mail(0))
    while not sink.accepted:
        board.ended(0.01)
    sink.hold.set()
    (line,) = board._lines
    assert select.select([line.socket], [], [], PATIENCE)[0]  # the reply is there
    line.deadline = board._earliest = 0.0  # and the caller comes back too late
    assert until(board, 1) == {"outreach:0:1": "250 2.0.0 taken"}


def test_a_cut_ends_what_hangs_by_its_step_and_says_nothing_more(sink: MailSink, board: Switchboard) -> None:
    sink.hold = threading.Event()
    board.begin(mail(0))
    while not sink.accepted:
        board.ended(0.01)
    closing = threading.Thread(target=board.close)
    closing.start()
    (result,) = until(board, 1).values()
    closing.join(PATIENCE)
    sink.hold.set()
    assert isinstance(result, UncertainChannelError)
    assert not board.is_connected


def test_a_cut_connection_is_made_anew_for_the_next_mail(sink: MailSink, board: Switchboard) -> None:
    for number in range(2):
        board.begin(mail(number))
        until(board, 1)
        board.close()
    assert sink.sessions == 2


def test_it_is_woken_by_others(board: Switchboard, sink: MailSink) -> None:
    sink.hold = threading.Event()
    board.begin(mail(0))
    while not sink.accepted:
        board.ended(0.01)
    board.wake()
    assert board.ended(PATIENCE) == []  # at once, or the test takes a minute
    sink.hold.set()
    until(board, 1)


def test_a_mail_that_is_longer_than_the_connection_takes_at_once_arrives_whole(
    sink: MailSink, board: Switchboard
) -> None:
    words = "\r\n".join(f".{number} and a line of words" for number in range(60_000))
    board.begin(mail(0, words))
    until(board, 1)
    assert sink.accepted[0].content.endswith(words.encode() + b"\r\n")


class _Replies(smtplib.SMTP):
    """smtplib's own reading of replies, over octets in memory."""

    def __init__(self, octets: bytes) -> None:
        super().__init__()
        self.file = io.BytesIO(octets)
        self.sock = None


@given(
    st.lists(
        st.sampled_from([b"250 ok\r\n", b"250-first\r\n", b"354\n", b"421 4.3.2 bye \t\r\n", b"\r\n", b"hello\r\n", b"25\r\n", b"2a0 x\n", b"550-\r\n"])
        | st.binary(max_size=20).map(lambda some: some + b"\n"),
        max_size=8,
    ),
    st.lists(st.integers(0, 200)),
)  # fmt: skip
def test_replies_are_read_as_smtplib_reads_them_however_they_come_in_pieces(
    lines: list[bytes], cuts: list[int]
) -> None:
    octets = b"".join(lines)
    theirs = _Replies(octets)
    expected = []
    while True:
        try:
            expected.append(theirs.getreply())
        except smtplib.SMTPServerDisconnected:
            break
    heard, found = bytearray(), []
    edges = sorted({0, len(octets), *(cut for cut in cuts if cut < len(octets))})
    for begin, end in itertools.pairwise(edges):
        heard += octets[begin:end]
        while (reply := take_reply(heard)) is not None:
            found.append(reply)
    assert found == expected


def test_an_endless_line_is_no_reply() -> None:
    with pytest.raises(smtplib.SMTPResponseException):
        take_reply(bytearray(b"2" * 10_000))


def test_nothing_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    board = Switchboard(Server.from_url(f"smtp://127.0.0.1:{port}"))
    board.begin(mail(0))
    (result,) = until(board, 1).values()
    board.close()
    assert isinstance(result, TransientChannelError)
