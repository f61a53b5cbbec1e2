"""What every channel promises to the delivery engine, over real servers and the fake."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from bot.channels.base import Channel, DeadAddressError, Evidence, Knowledge, Message
from bot.channels.email import Identity, OutboxEmailChannel, Server, SmtpEmailChannel
from bot.clock import ManualClock
from bot.errors import PermanentChannelError
from bot.tokens import Signer
from tests.conftest import NOW
from tests.exchanging import ByExchange
from tests.fake_channel import FakeChannel
from tests.peers.mail import mail_sink

MESSAGE = Message(
    key="outreach:1:1",
    address="ana@example.org",
    subject="Your parcel",
    text="Hello Ana",
    customer_key="1",
    opt_out_url="https://care.shop.example/u/x",
)


@dataclass
class Rig:
    """A channel and what its other side has seen: the keys of the messages taken, in order."""

    channel: Channel
    keys: Callable[[], list[str]]


def identity() -> Identity:
    return Identity(sender="care@shop.example", name="Shop", signer=Signer("k", ManualClock(NOW)), secret="k")


@contextmanager
def smtp_rig(_folder: Path) -> Iterator[Rig]:
    with mail_sink() as sink:
        channel = SmtpEmailChannel(Server.from_url(sink.url), identity(), ManualClock(NOW))
        yield Rig(channel, sink.keys)
        channel.close()


@contextmanager
def driven_smtp_rig(folder: Path) -> Iterator[Rig]:
    with smtp_rig(folder) as rig:
        yield Rig(ByExchange(rig.channel), rig.keys)


@contextmanager
def outbox_rig(folder: Path) -> Iterator[Rig]:
    def keys() -> list[str]:
        files = sorted((folder / "outbox").glob("*.eml"), key=lambda file: file.stat().st_mtime_ns)
        return [file.stem.replace("-", ":") for file in files]

    yield Rig(OutboxEmailChannel(folder / "outbox", identity(), ManualClock(NOW)), keys)


@contextmanager
def fake_rig(_folder: Path) -> Iterator[Rig]:
    channel = FakeChannel()
    yield Rig(channel, lambda: [message.key for message in channel.taken])


@pytest.fixture(params=[smtp_rig, driven_smtp_rig, outbox_rig, fake_rig], ids=["smtp", "driven", "outbox", "fake"])
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    with request.param(tmp_path) as made:
        yield made


@pytest.fixture(params=[smtp_rig, driven_smtp_rig, outbox_rig], ids=["smtp", "driven", "outbox"])
def email_rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    with request.param(tmp_path) as made:
        yield made


def test_evidence_names_the_message_and_its_thread(rig: Rig) -> None:
    evidence = rig.channel.send(MESSAGE)
    assert isinstance(evidence, Evidence)
    assert evidence.reference
    assert evidence.thread
    assert rig.keys() == ["outreach:1:1"]


def test_an_answer_stays_in_its_thread(rig: Rig) -> None:
    first = rig.channel.send(MESSAGE)
    answer = replace(MESSAGE, key="utterance:1:1", thread=first.thread, proactive=False)
    assert rig.channel.send(answer).thread == first.thread


def test_the_message_carries_its_key_and_each_goes_out_once(rig: Rig) -> None:
    for number in range(1, 4):
        rig.channel.send(replace(MESSAGE, key=f"outreach:{number}:1"))
    assert rig.keys() == ["outreach:1:1", "outreach:2:1", "outreach:3:1"]


def test_what_was_sent_is_found_or_unknown_but_never_absent(rig: Rig) -> None:
    evidence = rig.channel.send(MESSAGE)
    found = rig.channel.find(MESSAGE)
    assert found == Knowledge.UNKNOWN or (isinstance(found, Evidence) and found.reference == evidence.reference)


def test_what_was_never_sent_is_never_found(rig: Rig) -> None:
    rig.channel.send(MESSAGE)
    assert rig.channel.find(replace(MESSAGE, key="outreach:2:1")) in (Knowledge.ABSENT, Knowledge.UNKNOWN)


def test_it_says_whether_it_can_be_used_and_can_be_closed_twice(rig: Rig) -> None:
    assert rig.channel.connected() is True
    rig.channel.close()
    rig.channel.close()


@pytest.mark.parametrize("address", ["", "ana@example.org, eve@evil.example", "ana@example.org\r\nBcc: eve@x.org"])
def test_an_email_channel_takes_exactly_one_address(email_rig: Rig, address: str) -> None:
    with pytest.raises(DeadAddressError):
        email_rig.channel.send(replace(MESSAGE, address=address))
    assert email_rig.keys() == []


def test_an_email_channel_refuses_an_empty_message(email_rig: Rig) -> None:
    with pytest.raises(PermanentChannelError, match="empty"):
        email_rig.channel.send(replace(MESSAGE, text="  "))
