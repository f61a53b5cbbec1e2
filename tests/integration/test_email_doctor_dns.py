"""What `aftercare doctor email` finds in DNS, at a real server that the test runs, and prints to be published there."""

from __future__ import annotations

import socket
import socketserver
from collections.abc import Iterator
from contextlib import contextmanager

import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.resolver
import dns.rrset
import dns.zone
import pytest

from bot.channels.email.resolving import DnsNames
from bot.cli import run
from bot.commands import email_checks
from tests.integration.test_email_doctor import Doctor, doctor, plain, serving
from tests.peers.mail import MailSink
from tests.unit.test_mail_signing import rsa

__all__ = ["doctor", "plain"]

DOMAIN = "teeladen.de"


@contextmanager
def dns_with(zone: str, *, public: bool = True) -> Iterator[int]:
    """A small DNS server that knows one zone, written as zone files are, and the root unless its network is closed."""
    root = dns.rrset.from_text(".", 60, "IN", "NS", "a.root-servers.net.")
    known = dns.zone.from_text(
        f"$TTL 60\n@ IN SOA ns hostmaster 1 60 60 60 60\n@ IN NS ns\n{zone}", origin=DOMAIN, relativize=False
    )

    class Answering(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            content, connection = self.request
            question = dns.message.from_wire(content)
            reply = dns.message.make_response(question)
            asked = question.question[0]
            found = known.get_rrset(asked.name, asked.rdtype) if asked.name.is_subdomain(known.origin) else None
            if public and (asked.name, asked.rdtype) == (dns.name.root, dns.rdatatype.NS):
                reply.answer.append(root)
            elif found is None:
                reply.set_rcode(dns.rcode.NXDOMAIN)
            else:
                reply.answer.append(dns.rrset.from_rdata_list(asked.name, found.ttl, list(found)))
            connection.sendto(reply.to_wire(), self.client_address)

    with serving(socketserver.ThreadingUDPServer(("127.0.0.1", 0), Answering)) as port:
        yield port


@pytest.fixture
def signing(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> Doctor:
    """An installation that signs by itself, at a name that could be in DNS."""
    doctor.configure(f"from: care@{DOMAIN}, dkim_selector: care1", web="base_url: https://care.teeladen.de")
    monkeypatch.setenv("AFTERCARE_DKIM_KEY", rsa())
    return doctor


def asking(monkeypatch: pytest.MonkeyPatch, port: int, seconds: float = 3.0) -> None:
    """Let the doctor ask a DNS server of the test's own."""
    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers, resolver.port = ["127.0.0.1"], port
    monkeypatch.setattr(email_checks, "DnsNames", lambda: DnsNames(resolver, seconds))


RECORDS = ("DKIM", "DKIM alignment", "SPF", "DMARC", "MX")
SOUND = '@ IN MX 10 mx\n@ IN TXT "v=spf1 mx ~all"\n_dmarc IN TXT "v=DMARC1; p=reject"\n'


def test_what_the_doctor_says_to_publish_satisfies_it(
    signing: Doctor, plain: MailSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    with dns_with("@ IN MX 10 mx\n") as port:
        asking(monkeypatch, port)
        found = signing.found(plain.url, status=1)
    assert {name: found[name]["state"] for name in RECORDS} == dict(
        zip(RECORDS, ("fail", "ok", "warn", "warn", "ok"), strict=True)
    )
    lines = [found[name]["publish"] for name in ("DKIM", "SPF", "DMARC")]
    assert lines[0].startswith(f'care1._domainkey.{DOMAIN}. IN TXT "v=DKIM1; k=rsa; p=MII')
    with dns_with("@ IN MX 10 mx\n" + "\n".join(lines)) as port:
        asking(monkeypatch, port)
        found = signing.found(plain.url)
    assert {name: found[name]["state"] for name in RECORDS} == dict(
        zip(RECORDS, ("ok", "ok", "ok", "warn", "ok"), strict=True)  # p=none, to begin with
    )
    assert found["DMARC"]["publish"].endswith(f'"v=DMARC1; p=quarantine; rua=mailto:dmarc-reports@{DOMAIN}"')
    assert "publish" not in found["DKIM"]


def test_where_the_answers_go_is_looked_up_too(
    signing: Doctor, plain: MailSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    signing.configure(f"from: care@{DOMAIN}, reply_to: care@antworten.{DOMAIN}")
    with dns_with(SOUND + "antworten IN MX 0 .\n") as port:
        asking(monkeypatch, port)
        found = signing.found(plain.url, status=1)
    assert found["MX"]["state"] == "ok"
    assert "null MX" in found["MX of email.reply_to"]["detail"]


def test_a_key_that_is_not_ours_is_found(signing: Doctor, plain: MailSink, monkeypatch: pytest.MonkeyPatch) -> None:
    with dns_with(
        SOUND + 'care1._domainkey IN TXT "v=DKIM1; p=TUlJQklqQU5CZ2txaGtpRzl3MEJBUUVGQUFPQ0FROEE="\n'
    ) as port:
        asking(monkeypatch, port)
        found = signing.found(plain.url, status=1)
    assert "not the public half of AFTERCARE_DKIM_KEY" in found["DKIM"]["detail"]


def test_dns_that_is_silent_fails_nothing_and_what_to_publish_is_said_all_the_same(
    signing: Doctor, plain: MailSink, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        asking(monkeypatch, silent.getsockname()[1], seconds=0.2)
        found = signing.found(plain.url)
        for name in ("DKIM", "SPF", "DMARC", "MX"):
            assert found[name]["state"] == "warn"
            assert "could not be checked (DNS did not answer in time)" in found[name]["detail"]
        asking(monkeypatch, silent.getsockname()[1], seconds=0.2)
        assert run(["doctor", "email", "--config", str(signing.config)]) == 0
    shown = capsys.readouterr().out.splitlines()
    for name in ("DKIM", "SPF", "DMARC"):
        assert found[name]["publish"] in shown  # on a line of its own, whole


def test_names_that_a_closed_network_does_not_know_prove_nothing(
    signing: Doctor, plain: MailSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    with dns_with(SOUND, public=False) as port:
        asking(monkeypatch, port)
        found = signing.found(plain.url, status=0)
    assert "DNS here knows no public names" in found["DKIM"]["detail"]
    assert (found["DKIM"]["state"], found["SPF"]["state"]) == ("warn", "ok")


def test_a_machine_without_dns_says_so(signing: Doctor, plain: MailSink, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object, **__: object) -> None:
        raise dns.resolver.NoResolverConfiguration

    monkeypatch.setattr(dns.resolver, "Resolver", none)
    assert "NoResolverConfiguration" in signing.found(plain.url)["DKIM"]["detail"]


def test_a_name_for_examples_is_not_asked_about(
    doctor: Doctor, plain: MailSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(*_: object) -> None:
        pytest.fail("DNS was asked")

    monkeypatch.setattr(DnsNames, "_ask", asked)
    found = doctor.found(plain.url)
    assert (found["email.from"]["state"], "reserved name" in found["SPF"]["detail"]) == ("warn", True)
