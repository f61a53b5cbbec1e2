"""The mailbox at a real Dovecot: every mail is handed on, whatever breaks in between, and nothing there is changed."""

from __future__ import annotations

import ssl
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from imap_tools import BaseMailBox, MailBoxUnencrypted

from bot.channels.email import imap, mailbox
from bot.channels.email.imap import ImapServer
from bot.channels.email.mailbox import Mailbox
from bot.errors import ConfigurationError
from bot.store.database import Database
from bot.store.mails import KEPT_OCTETS, MAX_OCTETS, Fetched, Position
from tests.integration.mail_world import MailWorld
from tests.peers.daemon import self_signed
from tests.peers.dovecot import PASSWORD, Dovecot, dovecot
from tests.peers.process import until

pytestmark = pytest.mark.peer
CARE = "care@shop.test"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("certificate")
    folder.chmod(0o755)
    return self_signed(folder)


@pytest.fixture(scope="module")
def _server(certificate: tuple[Path, Path]) -> Iterator[Dovecot]:
    with dovecot(certificate) as running:
        yield running


@dataclass(frozen=True)
class Place:
    """One mailbox at the server."""

    dovecot: Dovecot
    user: str

    def deliver(self, content: bytes) -> None:
        self.dovecot.deliver(self.user, content, sender="a@b.example")

    def url(self, *, tls: bool = False) -> str:
        return self.dovecot.url(self.user, tls=tls)

    def login(self) -> BaseMailBox:
        return MailBoxUnencrypted("127.0.0.1", self.dovecot.imap_port).login(self.user, PASSWORD)

    def renumber(self) -> None:
        self.dovecot.renumber(self.user)


@pytest.fixture
def server(_server: Place, monkeypatch: pytest.MonkeyPatch) -> Place:
    """An empty mailbox, and a watch that is quick to try again."""
    monkeypatch.setattr(mailbox, "LONGEST_WAIT", mailbox.FIRST_WAIT / 5)
    return Place(_server, f"care-{uuid.uuid4().hex[:8]}@shop.test")


class Taker:
    """Keeps what it is given, as the mailroom does."""

    def __init__(self) -> None:
        self.subjects: list[str] = []
        self.fetched: list[Fetched] = []
        self.known: dict[str, Position] = {}
        self.moods: list[Exception] = []

    def position(self, name: str) -> Position | None:
        return self.known.get(name)

    def take_in(self, name: str, fetched: Sequence[Fetched], position: Position) -> int:
        if self.moods:
            raise self.moods.pop()
        self.known[name] = position
        self.fetched += fetched
        self.subjects += [subject_of(one.content) for one in fetched]
        return len(fetched)


def subject_of(content: bytes) -> str:
    return next(line[9:].decode() for line in content.splitlines() if line.startswith(b"Subject: "))


def mail(subject: str, body: str = "hello") -> bytes:
    return f"From: a@b.example\r\nTo: {CARE}\r\nSubject: {subject}\r\n\r\n{body}\r\n".encode()


@contextmanager
def watched(server: Place, taker: Taker, *, ready: bool = True, **more: ssl.SSLContext | None) -> Iterator[Mailbox]:
    url = server.url(tls=True) if "tls" in more else server.url()
    box = Mailbox(ImapServer.from_url(url), "INBOX", taker, **more)
    box.start()
    try:
        if ready:
            until(box.connected, "the mailbox is watched")
        yield box
    finally:
        assert box.stop(5)


def seen(server: Place) -> list[str]:
    """The subjects of mails that somebody has read."""
    with server.login() as box:
        return [one.subject for one in box.fetch("SEEN", mark_seen=False)]


def test_what_arrives_is_handed_on_by_idle_and_left_as_it_was(server: Place) -> None:
    taker = Taker()
    with watched(server, taker):
        for name in ("one", "two", "three"):
            server.deliver(mail(name))
            until(lambda name=name: name in taker.subjects, name)
    assert taker.subjects == ["one", "two", "three"]
    assert seen(server) == []
    assert len(server.dovecot.mails(server.user)) == 3
    assert taker.fetched[0].octets == len(taker.fetched[0].content)


def test_after_a_restart_of_the_server_it_catches_up(server: Place) -> None:
    taker = Taker()
    with watched(server, taker) as box:
        server.deliver(mail("before"))
        until(lambda: taker.subjects, "the first mail")
        server.dovecot.stop()
        until(lambda: not box.connected(), "the loss is noticed")
        server.dovecot.start()
        server.deliver(mail("after"))
        until(lambda: len(taker.subjects) == 2, "the second mail")
    assert taker.subjects == ["before", "after"]


def test_what_came_while_nobody_watched_is_taken_at_the_next_start(server: Place) -> None:
    taker = Taker()
    with watched(server, taker):
        server.deliver(mail("one"))
        until(lambda: taker.subjects, "the first mail")
    for number in range(120):  # more than a batch
        server.deliver(mail(f"later {number}"))
    with watched(server, taker):
        until(lambda: len(taker.subjects) == 121, "all mails")
    assert taker.subjects == ["one", *(f"later {number}" for number in range(120))]


def test_at_the_first_connection_only_new_unread_mail_is_taken(server: Place) -> None:
    for name in ("read", "unread"):
        server.deliver(mail(name))
    with server.login() as box:
        box.flag([one.uid or "" for one in box.fetch(mark_seen=False) if one.subject == "read"], "\\Seen", True)
    taker = Taker()
    with watched(server, taker):
        server.deliver(mail("new"))
        until(lambda: "new" in taker.subjects, "the new mail")
    assert taker.subjects == ["unread", "new"]


def test_after_a_change_of_uidvalidity_all_is_looked_at_again(server: Place) -> None:
    taker = Taker()
    with watched(server, taker) as box:
        for name in ("one", "two"):
            server.deliver(mail(name))
        until(lambda: len(taker.subjects) == 2, "both mails")
        before = taker.known[box.name].uid_validity
        server.renumber()
        until(lambda: len(taker.subjects) == 4, "both mails again")
        assert taker.known[box.name].uid_validity != before
        server.deliver(mail("three"))
        until(lambda: "three" in taker.subjects, "the third mail")
    assert sorted(taker.subjects) == ["one", "one", "three", "two", "two"]


def test_the_mailroom_recognises_what_it_knows(
    server: Place, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = MailWorld(database, tmp_path, monkeypatch)
    _, sent = world.send()
    reply = world.reply(sent, "Where is my order?")
    with watched(server, world.mailroom) as box:  # type: ignore[arg-type]
        server.deliver(reply)
        until(lambda: world.rows("mails"), "the reply")
        validity = world.rows("mailboxes")[0].uid_validity
        server.renumber()
        until(lambda: world.rows("mailboxes")[0].uid_validity != validity, "the new numbers")
        until(box.connected, "the mailbox is watched again")
    world.mailroom.work()
    assert world.effects() == ["answered"]
    # It was found by Dovecot's traces in it to be the very mail that the hook brings without them.
    world.mailroom.take_posted(reply, "v1=x")
    assert len(world.rows("mails")) == 1


def test_of_a_mail_that_is_too_large_only_the_beginning_is_fetched(server: Place) -> None:
    taker = Taker()
    with watched(server, taker):
        server.deliver(mail("large", "x" * 76 + "\r\n" * 1) * 1 + b"y" * 78 * 40_000)
        server.deliver(mail("small"))
        until(lambda: "small" in taker.subjects, "the mail behind it")
    large = next(one for one in taker.fetched if subject_of(one.content) == "large")
    assert large.octets > MAX_OCTETS
    assert len(large.content) == KEPT_OCTETS


def test_what_could_not_be_recorded_comes_again(server: Place) -> None:
    taker = Taker()
    with watched(server, taker):
        taker.moods = [ZeroDivisionError(), OSError("the database is away")]
        server.deliver(mail("one"))
        until(lambda: taker.subjects, "the mail, in spite of all")
    assert taker.subjects == ["one"]


def test_a_server_without_idle_is_asked_now_and_then(server: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = ImapServer.open

    def without_idle(self: ImapServer, *arguments: object) -> BaseMailBox:
        box = opened(self, *arguments)  # type: ignore[arg-type]
        box.client.capabilities = tuple(one for one in box.client.capabilities if one != "IDLE")
        return box

    monkeypatch.setattr(ImapServer, "open", without_idle)
    monkeypatch.setattr(mailbox, "POLL_SECONDS", 0.1)
    taker = Taker()
    with watched(server, taker):
        server.deliver(mail("one"))
        until(lambda: taker.subjects, "the mail")


def test_an_idle_is_renewed(server: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mailbox, "IDLE_SECONDS", 0.2)
    monkeypatch.setattr(mailbox, "NOTICE_SECONDS", 0.1)
    rounds = []
    caught_up = Mailbox._catch_up
    monkeypatch.setattr(Mailbox, "_catch_up", lambda *arguments: (rounds.append(1), caught_up(*arguments))[1])
    taker = Taker()
    with watched(server, taker):
        until(lambda: len(rounds) > 4, "some rounds")
        server.deliver(mail("one"))
        until(lambda: taker.subjects, "the mail")
    assert taker.subjects == ["one"]


def test_the_end_comes_in_time_from_an_idle_and_from_a_server_that_says_nothing(
    server: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    with watched(server, Taker()) as box:
        assert box.stop(2.5)
    waiting = []

    def mute(self: Mailbox, box: BaseMailBox) -> int:
        waiting.append(1)
        box.client._get_response()  # what was never asked for never comes
        return 0

    monkeypatch.setattr(Mailbox, "_highest", mute)
    with watched(server, Taker(), ready=False) as box:
        until(lambda: waiting, "it waits")
        assert box.stop(5)


def test_a_wrong_password_is_said_without_saying_it(server: Place, capsys: pytest.CaptureFixture[str]) -> None:
    url = server.url().replace(PASSWORD, "wrong-secret")
    box = Mailbox(ImapServer.from_url(url), "INBOX", Taker())
    box.start()
    said = ""

    def told() -> bool:
        nonlocal said
        said += "".join(capsys.readouterr())  # where it is told hangs on who ran before
        return "refuses the login" in said

    until(told, "the advice")
    assert not box.connected()
    assert box.stop(5)
    assert "wrong-secret" not in "".join([said, *capsys.readouterr()])
    assert "wrong-secret" not in repr(ImapServer.from_url(url))


def test_tls_is_verified(server: Place, certificate: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    with watched(server, Taker(), ready=False, tls=None) as box:
        until(lambda: "is not valid for it" in "".join(capsys.readouterr()), "the refusal")
        assert not box.connected()
    taker = Taker()
    with watched(server, taker, tls=ssl.create_default_context(cafile=str(certificate[0]))):
        server.deliver(mail("one"))
        until(lambda: taker.subjects, "the mail")


def test_a_mail_that_the_server_will_not_give_out_blocks_nobody(server: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = imap._contents

    def refused(box: BaseMailBox, uids: Sequence[int], parts: str) -> dict[int, bytes]:
        if 2 in uids and "BODY" in parts:
            raise imap.ImapToolsError("NO")
        return contents(box, uids, parts)

    monkeypatch.setattr(imap, "_contents", refused)
    for name in ("one", "two", "three"):
        server.deliver(mail(name))

    class Naming(Taker):
        def take_in(self, name: str, fetched: Sequence[Fetched], position: Position) -> int:
            self.fetched += fetched
            return len(fetched)

    taker = Naming()
    with watched(server, taker):
        assert [one.error is None for one in taker.fetched] == [True, False, True]
    assert "UID 2" in str(taker.fetched[1].error)


@pytest.mark.parametrize(
    "url",
    [
        "imap://care:x@mail.example:143",
        "smtp://care:x@127.0.0.1",
        "imaps://mail.example",
        "imaps://care:x@mail.example:x",
    ],
)
def test_an_address_that_is_not_usable_is_a_configuration_error(url: str) -> None:
    with pytest.raises(ConfigurationError, match="IMAP_URL"):
        ImapServer.from_url(url)
