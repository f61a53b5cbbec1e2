"""What `aftercare doctor` looks at on the email side: whether mails leave, replies are read, and receivers believe us.

Nothing is sent unless asked for. DNS that does not answer is said and never a failure: receivers ask their own.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import urlsplit

from bot.channels.base import Message
from bot.channels.email import Identity, Server, prove
from bot.channels.email.addresses import domain_of, one_address
from bot.channels.email.mailbox_proof import prove_mailbox
from bot.channels.email.records import (
    Finding,
    Sender,
    Standing,
    dkim_record,
    look_at_alignment,
    look_at_dkim,
    look_at_dmarc,
    look_at_mx,
)
from bot.channels.email.resolving import DnsNames, Names, SilentNames
from bot.channels.email.spf import look_at_spf
from bot.commands.checks import Check, State, check_folder
from bot.config import Settings
from bot.errors import AftercareError, ConfigurationError
from bot.store.database import open_database
from bot.store.migrations import current_revision, latest_revision
from bot.store.quarantine import quarantined
from bot.wiring import App

__all__ = ["check_email"]

# Somebody waits for the doctor's answer; each step gets this long.
REACH_SECONDS = 5.0
STATES = {
    Standing.FINE: State.OK,
    Standing.WEAK: State.WARN,
    Standing.BROKEN: State.FAIL,
    Standing.UNKNOWN: State.WARN,
}
# RFC 2606 and RFC 6762: names that no public DNS knows; one of them is the default of email.from.
RESERVED = (".example", ".test", ".invalid", ".localhost", ".local", ".example.com", ".example.net", ".example.org")
SUBJECT = "A test of your mail server"
TEXT = (
    "Hello,\n\n`aftercare doctor email --send` wrote this. Look at the header Authentication-Results of this mail: it "
    "should say spf=pass, dkim=pass and dmarc=pass, with header.d={domain}."
)


def check_email(settings: Settings, *, send: bool = False, names: Names | None = None) -> Iterator[Check]:
    """Look at the server, the mailbox, the records in DNS and the opt-out link.

    Parameters
    ----------
    send : bool
        Send a mail to `email.from` as well.
    names : Names, optional
        Answers in place of DNS.
    """
    if not settings.email.enabled:
        yield _ok("email.enabled", "email is switched off")
        return
    leaving = _leaving(settings)
    yield leaving
    yield _mailbox(settings)
    yield from _set_aside(settings)
    try:
        identity = App(settings).email_identity
    except ConfigurationError as error:
        yield from (_fail(place, advice) for place, advice in error.problems)
        return
    yield from _signing(settings, identity)
    for finding in _records(settings, identity, names or DnsNames()):
        yield Check(
            name=finding.name,
            state=STATES[finding.standing],
            detail=finding.detail,
            publish=finding.publish.zone_line() if finding.publish is not None else None,
        )
    yield _one_click(settings.web.base_url)
    if send and leaving.state is State.OK:
        yield _sent(settings, identity)


def _leaving(settings: Settings) -> Check:
    if settings.email.outbox or settings.secrets.smtp_url is None:
        return check_folder("email.outbox", settings.path(settings.email.outbox))
    try:
        server = Server.from_url(settings.secrets.smtp_url.get_secret_value())
        prove(server, seconds=REACH_SECONDS)
    except AftercareError as error:
        return _fail("SMTP_URL", str(error))
    how = {"plain": "without TLS, on this machine", "starttls": "with STARTTLS, verified", "tls": "with TLS, verified"}
    login = "logged in" if server.user is not None else "without a login"
    return _ok("SMTP_URL", f"{server.host}:{server.port} answers {how[server.security]}, {login}")


def _mailbox(settings: Settings) -> Check:
    url, folder = settings.secrets.imap_url, settings.email.mailbox
    if url is None:
        if settings.secrets.mail_hook_secret is not None:
            return _ok("IMAP_URL", "not set; mails come in at /hooks/mail")
        return _warn("IMAP_URL", "not set: replies, bounces and opt-outs by mail are read by nobody; set imaps://…")
    try:
        proof = prove_mailbox(url.get_secret_value(), folder, seconds=REACH_SECONDS)
    except AftercareError as error:
        return _fail("IMAP_URL", str(error))
    how = "with TLS, verified" if proof.tls else "without TLS, on this machine"
    said = f"{proof.place} answers {how}, logged in, {folder} opens"
    if not proof.idle:
        return _warn("IMAP_URL", f"{said}; it offers no IDLE, so replies are seen late")
    return _ok("IMAP_URL", f"{said}, IDLE is offered")


def _set_aside(settings: Settings) -> Iterator[Check]:
    """Name the mails that could not be read; a database that is not there yet has none."""
    try:
        database = open_database(settings.database.url, home=settings.home)
    except AftercareError:
        return  # `aftercare doctor` says what is wrong with it
    try:
        if database.file is not None and not database.file.exists():
            return
        if current_revision(database) != latest_revision():
            return
        with database.read() as connection:
            count, newest = quarantined(connection, 3)
    except AftercareError:
        return
    finally:
        database.close()
    if count:
        which = "; ".join(f"number {one.id} of {one.received_at:%Y-%m-%d}: {one.error}" for one in newest)
        yield _warn(
            "mails",
            f"{count} set aside unread, the newest {which}; look with `aftercare email list`, try again with `aftercare email retry`",
        )


def _signing(settings: Settings, identity: Identity) -> Iterator[Check]:
    if identity.dkim is not None and identity.dkim.key.kind == "ed25519":
        yield _warn(
            "AFTERCARE_DKIM_KEY",
            "Ed25519, which many receivers do not verify yet; RSA of 2048 bits is known everywhere",
        )
    elif identity.dkim is not None:
        yield _ok("AFTERCARE_DKIM_KEY", f"signs as {identity.dkim.selector}._domainkey.{identity.dkim.domain}")
    elif settings.secrets.dkim_key is not None:
        yield _warn("email.dkim_selector", "empty, so AFTERCARE_DKIM_KEY signs nothing; write the selector's name")


def _records(settings: Settings, identity: Identity, names: Names) -> Iterator[Finding]:
    domain, signer = identity.domain.lower(), identity.dkim
    if f".{domain}".endswith(RESERVED):
        names = SilentNames(f"{domain} is a reserved name")
        detail = f"{domain} is a name for examples and tests; write the address that your customers know"
        yield Finding(name="email.from", standing=Standing.WEAK, detail=detail)
    sender = Sender(domain=domain, signs_as=signer.domain if signer is not None else "")
    if signer is not None:
        record = dkim_record(signer.domain, signer.selector, signer.key.kind, signer.key.public)
        yield look_at_dkim(names, record)
    yield look_at_alignment(sender)
    url = settings.secrets.smtp_url
    relay = "" if settings.email.outbox or url is None else urlsplit(url.get_secret_value()).hostname or ""
    dmarc = look_at_dmarc(names, sender)
    yield look_at_mx(names, domain)
    replies = domain_of(one_address(settings.email.reply_to or identity.sender)).lower()
    if replies != domain:
        yield replace(look_at_mx(names, replies), name="MX of email.reply_to")
    yield look_at_spf(names, domain, relay)  # last to ask: it may lead to many more names
    yield dmarc


def _one_click(base_url: str) -> Check:
    """RFC 8058 section 3.1, and what Gmail and Yahoo ask of whoever sends to many."""
    parts = urlsplit(base_url)
    host = parts.hostname or ""
    try:
        public = ipaddress.ip_address(host).is_global
    except ValueError:
        public = "." in host and not f".{host.lower()}".endswith((*RESERVED, ".internal", ".lan", ".home.arpa"))
    if parts.scheme == "https" and public:
        return _ok("web.base_url", f"{base_url}: one-click unsubscribe can reach us")
    return _warn(
        "web.base_url",
        f"{base_url} is not https at a public name: the opt-out link and one-click unsubscribe, which Gmail and Yahoo ask "
        "for, do not work for customers",
    )


def _sent(settings: Settings, identity: Identity) -> Check:
    app = App(settings)
    channel = app.email
    assert channel is not None  # email is switched on, else nobody would be here
    try:
        now = app.clock.now()
        evidence = channel.send(
            Message(
                key=f"doctor:{int(now.timestamp())}:1",
                address=identity.sender,
                subject=SUBJECT,
                text=TEXT.replace("{domain}", identity.domain),
                campaign="doctor",
                # Nobody's check-in: the link shows the page that says so.
                opt_out_url=f"{settings.web.base_url.rstrip('/')}/u/test",
            )
        )
    except AftercareError as error:
        return _fail("test mail", str(error))
    finally:
        channel.close()
    taken = ", ".join(str(value) for value in evidence.detail.values())
    return _ok(
        "test mail", f"handed over for {identity.sender} ({taken}); look at Authentication-Results when it arrives"
    )


def _ok(name: str, detail: str) -> Check:
    return Check(name=name, state=State.OK, detail=detail)


def _warn(name: str, detail: str) -> Check:
    return Check(name=name, state=State.WARN, detail=detail)


def _fail(name: str, detail: str) -> Check:
    return Check(name=name, state=State.FAIL, detail=detail)
