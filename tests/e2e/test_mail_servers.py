"""Mail through a real Postfix into a real Dovecot: refusals, bounces that come back, replies, and what they find."""

from __future__ import annotations

import imaplib
import re
import smtplib
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from email.utils import parseaddr
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from bot.channels.email import Server, SmtpEmailChannel, compose
from bot.channels.email.reading import read_mail
from bot.clock import ManualClock
from bot.decide.lifecycle import OutreachState
from bot.services.delivery.deliverer import Deliverer
from bot.services.mail.inbound import MailKind
from bot.store.consent import is_suppressed
from bot.store.database import Database
from bot.tokens import Purpose
from tests.conftest import NOW
from tests.contract.test_channels import MESSAGE, identity
from tests.integration.delivery_world import Shop
from tests.peers.daemon import self_signed
from tests.peers.dovecot import Dovecot, dovecot
from tests.peers.postfix import Postfix, postfix
from tests.peers.process import until

pytestmark = pytest.mark.peer

S = OutreachState
SHOP = "care@shop.example"  # as `identity` says


@dataclass
class Mailed:
    """A shop that sends through Postfix, and the Dovecot where everybody's mail arrives, its own included."""

    shop: Shop
    deliverer: Deliverer
    server: Postfix
    mailboxes: Dovecot

    def arrived(self, address: str, count: int = 1) -> list[EmailMessage]:
        """Wait until so many mails lie in a mailbox."""
        found = until(lambda: _at_least(count, self.mailboxes.mails(address)), f"{count} mails for {address}")
        return [parsed(content) for content in found]


def _at_least(count: int, mails: list[bytes]) -> list[bytes] | None:
    return mails if len(mails) >= count else None


def parsed(content: bytes) -> EmailMessage:
    mail = message_from_bytes(content, policy=policy.default)
    assert isinstance(mail, EmailMessage)
    return mail


@contextmanager
def mailed(database: Database, server: Postfix, mailboxes: Dovecot) -> Iterator[Mailed]:
    shop = Shop(database)
    channel = SmtpEmailChannel(Server.from_url(server.url), identity(), shop.clock)
    yield Mailed(shop, Deliverer(database, shop.clock, shop.settings, {"email": channel}, shop.catalogue), server, mailboxes)  # fmt: skip
    channel.close()


@pytest.fixture
def mailboxes() -> Iterator[Dovecot]:
    with dovecot() as running:
        yield running


@pytest.fixture
def through_postfix(sqlite_database: Database, mailboxes: Dovecot) -> Iterator[Mailed]:
    with postfix(relay_to=mailboxes) as server, mailed(sqlite_database, server, mailboxes) as made:
        yield made


@pytest.fixture
def to_gone_customers(sqlite_database: Database, mailboxes: Dovecot) -> Iterator[Mailed]:
    """Every customer's mailbox is gone, which only their own server knows."""
    with (
        postfix(relay_to=mailboxes, bouncing_domain="mail.example") as server,
        mailed(sqlite_database, server, mailboxes) as made,
    ):
        yield made


# --- Out -------------------------------------------------------------------------------------------------------


def test_a_hard_refusal_amid_a_batch_hurts_nobody_else_and_ends_mail_to_that_address(through_postfix: Mailed) -> None:
    world = through_postfix
    addresses = [f"c{number}@mail.example" for number in range(20)]
    gone = {"c2@mail.example", "c11@mail.example"}
    world.server.hard |= gone
    ids = {address: world.shop.approve(address.partition("@")[0]) for address in addresses}
    report = world.deliverer.drain()
    assert (report.sent, report.failed) == (18, 2)
    for address, one in ids.items():
        if address in gone:
            assert world.shop.see(one).state == S.FAILED
            assert "5.1.1" in str(world.shop.see(one).refusal)
        else:
            assert world.shop.see(one).state == S.SENT
            (mail,) = world.arrived(address)
            assert mail["X-Aftercare-Key"] == f"outreach:{one}:1"
    with world.shop.database.read() as connection:
        assert is_suppressed(connection, "email", addresses) == gone
    world.shop.clock.advance(timedelta(days=1))
    assert world.deliverer.drain().sent == 0
    assert sorted(world.server.asked) == sorted(addresses)  # nobody was named twice


def test_a_soft_refusal_is_tried_again_later_and_arrives_once_the_server_takes_it(through_postfix: Mailed) -> None:
    world = through_postfix
    world.server.soft.add("c1@mail.example")
    one, other = world.shop.approve("c1"), world.shop.approve("c2")
    report = world.deliverer.drain()
    assert (report.sent, report.retry) == (1, 1)
    waiting = world.shop.see(one)
    assert waiting.state == S.APPROVED
    assert waiting.next_attempt_at is not None
    assert waiting.next_attempt_at > world.shop.clock.now()
    world.server.soft.clear()
    assert world.deliverer.drain().sent == 0  # not before its time
    world.shop.clock.set(waiting.next_attempt_at)
    assert world.deliverer.drain().sent == 1
    (mail,) = world.arrived("c1@mail.example")
    assert mail["X-Aftercare-Key"] == f"outreach:{one}:2"
    assert len(world.arrived("c2@mail.example")) == 1
    assert [world.shop.see(each).state for each in (one, other)] == [S.SENT, S.SENT]
    with world.shop.database.read() as connection:
        assert not is_suppressed(connection, "email", ["c1@mail.example"])


def test_a_mail_server_that_restarts_between_two_drains_loses_and_doubles_nothing(through_postfix: Mailed) -> None:
    world = through_postfix
    world.shop.approve("c1")
    assert world.deliverer.drain().sent == 1
    world.server.wait_until_idle()
    world.server.stop()
    away = world.shop.approve("c2")
    assert world.deliverer.drain().retry == 1
    world.server.start()
    world.shop.clock.set(world.shop.see(away).next_attempt_at or world.shop.clock.now())
    assert world.deliverer.drain().sent == 1
    for customer in ("c1@mail.example", "c2@mail.example"):
        assert len(world.arrived(customer)) == 1


def test_postfix_carries_every_octet_that_we_wrote(mailboxes: Dovecot) -> None:
    message = replace(
        MESSAGE, subject="Größe 42: Ihr Päckchen ist unterwegs – " * 4, text="Hé\n.\n..dots\n" + "x" * 2000
    )
    mail = compose(message, identity(), NOW)
    with postfix(relay_to=mailboxes) as server:
        channel = SmtpEmailChannel(Server.from_url(server.url), identity(), ManualClock(NOW))
        channel.send(message)
        channel.close()
        (content,) = until(lambda: mailboxes.mails(message.address), "the mail")
    assert content.endswith(b"\r\n" + mail.octets())
    added = content.removesuffix(mail.octets())
    assert set(re.findall(rb"(?m)^([A-Za-z-]+):", added)) == {b"Return-Path", b"Delivered-To", b"Received", b"X-Original-To"}  # fmt: skip


# --- What comes back -------------------------------------------------------------------------------------------


def test_a_mail_that_bounces_after_acceptance_comes_back_as_a_delivery_report(to_gone_customers: Mailed) -> None:
    world = to_gone_customers
    one = world.shop.approve("c1")
    assert world.deliverer.drain().sent == 1  # nobody could know yet
    (report,) = world.arrived(SHOP)
    assert report.get_content_type() == "multipart/report"
    assert report.get_param("report-type") == "delivery-status"
    assert report["Return-Path"] == "<>"
    status, returned = report.iter_parts(), None
    fields: dict[str, str] = {}
    for part in status:
        if part.get_content_type() == "message/delivery-status":
            fields = {name: str(value) for block in part.get_payload() for name, value in block.items()}
        elif part.get_content_type() == "message/rfc822":
            returned = part.get_content()
    assert fields["Final-Recipient"] == "rfc822; c1@mail.example"
    assert (fields["Action"], fields["Status"]) == ("failed", "5.1.1")
    assert fields["Diagnostic-Code"].startswith("smtp; 550 5.1.1")
    assert isinstance(returned, EmailMessage)
    assert returned["X-Aftercare-Key"] == f"outreach:{one}:1"
    assert returned["Message-ID"] == world.shop.see(one).evidence["reference"]
    read = read_mail(world.mailboxes.mails(SHOP)[0], own=[SHOP])
    assert (read.kind, read.permanent) == (MailKind.BOUNCE, True)
    assert (read.recipient, read.recipient_status) == ("c1@mail.example", "5.1.1")
    assert read.original_key == f"outreach:{one}:1"
    assert read.original_message_id == returned["Message-ID"]


def test_a_mail_that_is_held_up_is_reported_as_delayed_and_not_as_failed(mailboxes: Dovecot) -> None:
    with postfix(relay_to=mailboxes, delaying_domain="example.org") as server:
        channel = SmtpEmailChannel(Server.from_url(server.url), identity(), ManualClock(NOW))
        channel.send(MESSAGE)
        channel.close()
        (content,) = until(lambda: mailboxes.mails(SHOP), "the warning")
    assert b"\r\nAction: delayed\r\nStatus: 4.2.2\r\n" in content
    read = read_mail(content, own=[SHOP])
    assert (read.kind, read.permanent) == (MailKind.BOUNCE, False)
    assert (read.action, read.recipient_status, read.original_key) == ("delayed", "4.2.2", "outreach:1:1")


def test_a_reply_reaches_our_mailbox_and_tells_which_mail_it_answers(through_postfix: Mailed) -> None:
    world = through_postfix
    one = world.shop.approve("c1")
    world.deliverer.drain()
    (mail,) = world.arrived("c1@mail.example")
    address = parseaddr(str(mail["Reply-To"]))[1]
    reply = EmailMessage(policy=policy.SMTP)
    reply["From"], reply["To"], reply["Subject"] = "c1@mail.example", str(mail["Reply-To"]), f"Re: {mail['Subject']}"
    reply["In-Reply-To"] = str(mail["Message-ID"])
    reply.set_content("Thank you, it came today.")
    with smtplib.SMTP("127.0.0.1", world.server.port) as customers_server:
        customers_server.sendmail("c1@mail.example", [address], reply.as_bytes())
    (read,) = world.arrived(SHOP)
    assert read["Delivered-To"] == read["X-Original-To"] == address
    token = str(read["Delivered-To"]).partition("+")[2].partition("@")[0]
    assert identity().signer.read(Purpose.REPLY, token) == f"outreach.{one}"
    understood = read_mail(world.mailboxes.mails(SHOP)[0], own=[SHOP])
    assert (understood.kind, understood.sender) == (MailKind.REPLY, "c1@mail.example")
    assert (understood.token, understood.text) == (token, "Thank you, it came today.")
    assert understood.in_reply_to == mail["Message-ID"]


# --- The mailbox -----------------------------------------------------------------------------------------------


def logged_in(url: str, tls: ssl.SSLContext | None = None) -> imaplib.IMAP4:
    """Open a mailbox's INBOX as `IMAP_URL` says."""
    parts = urlsplit(url)
    assert parts.hostname and parts.port and parts.username and parts.password  # noqa: PT018
    if parts.scheme == "imaps":
        imap: imaplib.IMAP4 = imaplib.IMAP4_SSL(parts.hostname, parts.port, ssl_context=tls, timeout=10)
    else:
        imap = imaplib.IMAP4(parts.hostname, parts.port, timeout=10)
    imap.login(unquote(parts.username), unquote(parts.password))
    imap.select()
    return imap


def uid_validity(imap: imaplib.IMAP4) -> int:
    return int(imap.response("UIDVALIDITY")[1][0] or b"0")


def test_an_idle_connection_is_told_of_a_mail_that_comes_in(mailboxes: Dovecot) -> None:
    with logged_in(mailboxes.url(SHOP)) as imap:
        imap.send(b"t1 IDLE\r\n")
        assert imap.readline().startswith(b"+ idling")
        mailboxes.deliver("care+token@shop.example", b"Subject: hello\r\n\r\nthere\r\n")
        assert imap.readline() == b"* 1 EXISTS\r\n"
        imap.send(b"DONE\r\n")
        while not imap.readline().startswith(b"t1 OK"):
            pass
        _, answers = imap.uid("FETCH", "1:*", "(BODY.PEEK[])")
        assert answers[0][1] == mailboxes.mails(SHOP)[0]
        assert parsed(answers[0][1])["Delivered-To"] == "care+token@shop.example"
        imap.create("Done")
        imap.uid("MOVE", "1", "Done")
        assert mailboxes.mails(SHOP) == []
        assert mailboxes.mails(SHOP, "Done") == [answers[0][1]]


def test_a_restart_cuts_connections_and_keeps_numbers_while_a_restored_mailbox_has_new_ones(mailboxes: Dovecot) -> None:
    mailboxes.deliver(SHOP, b"Subject: one\r\n\r\n1\r\n")
    mailboxes.deliver(SHOP, b"Subject: two\r\n\r\n2\r\n")
    assert [parsed(mail)["Subject"] for mail in mailboxes.mails(SHOP)] == ["one", "two"]
    before = logged_in(mailboxes.url(SHOP))
    numbered = uid_validity(before)
    mailboxes.restart()
    with pytest.raises((imaplib.IMAP4.abort, OSError)):
        before.noop()
    before.shutdown()
    with logged_in(mailboxes.url(SHOP)) as imap:
        assert uid_validity(imap) == numbered
    mailboxes.renumber(SHOP)
    with logged_in(mailboxes.url(SHOP)) as imap:
        assert uid_validity(imap) > numbered
        assert imap.uid("SEARCH", "ALL")[1] == [b"1 2"]
    mailboxes.recreate(SHOP)
    assert mailboxes.mails(SHOP) == []
    with logged_in(mailboxes.url(SHOP)) as imap:
        assert uid_validity(imap) > numbered
        assert imap.uid("SEARCH", "ALL")[1] == [b""]


def test_both_servers_speak_tls_with_a_certificate_that_the_client_must_trust(tmp_path: Path) -> None:
    certificate = self_signed(tmp_path)
    trusting = ssl.create_default_context(cafile=certificate[0])
    with dovecot(certificate) as mailboxes, postfix(relay_to=mailboxes, certificate=certificate) as server:
        channel = SmtpEmailChannel(
            Server.from_url(f"smtp+starttls://localhost:{server.port}"), identity(), ManualClock(NOW), tls=trusting
        )
        channel.send(MESSAGE)
        channel.close()
        until(lambda: mailboxes.mails(MESSAGE.address), "the mail")
        with logged_in(mailboxes.url(MESSAGE.address, tls=True), trusting) as imap:
            assert imap.uid("SEARCH", "ALL")[1] == [b"1"]
        with pytest.raises(ssl.SSLCertVerificationError):
            logged_in(mailboxes.url(MESSAGE.address, tls=True), ssl.create_default_context())


def test_the_servers_leave_no_process_and_no_file(tmp_path: Path) -> None:
    with dovecot() as mailboxes, postfix(relay_to=mailboxes) as server:
        folders = [mailboxes.folder, server.folder]
        assert processes_in(folders)
    assert [folder for folder in folders if folder.exists()] == []
    assert processes_in(folders) == []


def processes_in(folders: list[Path]) -> list[str]:
    """Return the ids of the processes whose environment or arguments name one of the folders."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            known = process.joinpath("cmdline").read_bytes() + process.joinpath("environ").read_bytes()
        except OSError:
            continue
        if any(str(folder).encode() in known for folder in folders):
            found.append(process.name)
    return found
