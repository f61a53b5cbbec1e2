"""What DNS says about a sender is judged as receivers judge it, and what to publish can be pasted as it stands."""

from __future__ import annotations

import base64
import shlex
from dataclasses import dataclass, field

import dns.name
import dns.rdata
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.channels.email.records import (
    Finding,
    Sender,
    Standing,
    Txt,
    dkim_record,
    look_at_alignment,
    look_at_dkim,
    look_at_dmarc,
    look_at_mx,
)
from bot.channels.email.resolving import SilentNames, Unanswered
from bot.channels.email.spf import MOST_LOOKUPS, look_at_spf

DOMAIN = "teeladen.de"
SPKI = bytes(range(1, 250)) + bytes(45)  # as long as an RSA key of 2048 bits
OURS = dkim_record(DOMAIN, "care1", "rsa", SPKI)
SENDER = Sender(domain=DOMAIN, signs_as=DOMAIN)


@dataclass
class Zone:
    """DNS, invented."""

    records: dict[str, list[str]] = field(default_factory=dict)
    mail: dict[str, list[str]] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)

    def texts(self, name: str) -> list[str]:
        self.asked.append(name)
        if name in self.silent:
            raise Unanswered("DNS did not answer in time")
        return self.records.get(name, [])

    def exchanges(self, name: str) -> list[str]:
        return self.mail.get(name, [])


def dkim(*published: str) -> Finding:
    return look_at_dkim(Zone({OURS.name: list(published)}), OURS)


def dmarc(*published: str, sender: Sender = SENDER, place: str = f"_dmarc.{DOMAIN}") -> Finding:
    return look_at_dmarc(Zone({place: list(published)}), sender)


def spf(*published: str, relay: str = "mail.relay.example", **others: str) -> Finding:
    names = {name.replace("_", "."): [text] for name, text in others.items()}
    return look_at_spf(Zone({DOMAIN: list(published), **names}), DOMAIN, relay)


# --- What to publish --------------------------------------------------------------------------------------------------


@given(value=st.text(alphabet=st.characters(codec="ascii", exclude_characters='"\\', categories=["L", "N", "P"]), min_size=1, max_size=900))  # fmt: skip
def test_a_line_for_a_zone_file_is_read_by_dns_as_it_was_meant(value: str) -> None:
    name, internet, kind, *strings = shlex.split(Txt(name="a.teeladen.de", value=value).zone_line())
    assert (name, internet, kind) == ("a.teeladen.de.", "IN", "TXT")
    assert all(0 < len(string) <= 255 for string in strings)
    line = Txt(name="a.teeladen.de", value=value).zone_line()
    read = dns.rdata.from_text("IN", "TXT", line.partition(" TXT ")[2])
    assert b"".join(read.strings).decode() == value


def test_our_record_names_selector_domain_kind_and_key() -> None:
    assert OURS.name == "care1._domainkey.teeladen.de"
    assert OURS.value == f"v=DKIM1; k=rsa; p={base64.b64encode(SPKI).decode()}"
    assert OURS.zone_line().count('"') == 4  # longer than one string


# --- DKIM -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "published",
    [
        OURS.value,
        OURS.value.replace("; ", ";"),
        OURS.value.replace("k=rsa; ", ""),
        OURS.value.replace("p=AQ", "t=s; p=AQ"),
        OURS.value[:80] + " " + OURS.value[80:],
        f"v=DKIM1; p={base64.b64encode(SPKI[24:]).decode()}",  # the key without what names its algorithm
    ],
)
def test_our_key_is_recognised_as_it_may_be_written(published: str) -> None:
    assert dkim(published, "unrelated").standing is Standing.FINE


@pytest.mark.parametrize(
    ("published", "standing", "advice"),
    [
        ([], Standing.BROKEN, "nothing is published"),
        ([OURS.value, "v=DKIM1; p=AAAA"], Standing.BROKEN, "2 records"),
        (["v=DKIM1; k=rsa; p="], Standing.BROKEN, "revoked"),
        ([OURS.value.replace("p=AQ", "p=BQ")], Standing.BROKEN, "not the public half"),
        ([OURS.value.replace("rsa", "ed25519")], Standing.BROKEN, "not the public half"),
        (["v=DKIM1; p=%%%"], Standing.BROKEN, "not the public half"),
        ([OURS.value.replace("v=DKIM1", "v=DKIM2")], Standing.BROKEN, "forbid"),
        ([f"{OURS.value}; h=sha1"], Standing.BROKEN, "forbid"),
        ([f"{OURS.value}; s=tlsrpt"], Standing.BROKEN, "forbid"),
        ([f"{OURS.value}; t=y:s"], Standing.WEAK, "a test"),
    ],
)
def test_a_key_that_receivers_would_not_use_is_named(published: list[str], standing: Standing, advice: str) -> None:
    found = dkim(*published)
    assert found.standing is standing
    assert advice in found.detail
    assert (found.publish == OURS) == (standing is Standing.BROKEN)


# --- DMARC and alignment ------------------------------------------------------------------------------------------------


def test_without_a_policy_one_to_start_with_is_given() -> None:
    found = dmarc()
    assert found.standing is Standing.WEAK
    assert found.publish == Txt(
        name="_dmarc.teeladen.de", value="v=DMARC1; p=none; rua=mailto:dmarc-reports@teeladen.de"
    )


def test_a_policy_that_only_counts_is_shown_stricter_and_otherwise_unchanged() -> None:
    found = dmarc("v=DMARC1; p = none; sp=none; rua=mailto:x@teeladen.de")
    assert found.standing is Standing.WEAK
    assert found.publish is not None
    assert found.publish.value == "v=DMARC1; p=quarantine; sp=none; rua=mailto:x@teeladen.de"


@pytest.mark.parametrize("policy", ["quarantine", "reject", "REJECT"])
def test_a_policy_in_force_is_fine(policy: str) -> None:
    found = dmarc(f"v=DMARC1; p={policy}; adkim=s", "another text")
    assert found.standing is Standing.FINE
    assert "aligned" in found.detail


def test_two_policies_and_one_without_p_are_none() -> None:
    assert dmarc("v=DMARC1; p=reject", "v=DMARC1; p=none").standing is Standing.BROKEN
    assert dmarc("v=DMARC1; rua=mailto:x@y.de").standing is Standing.BROKEN


def test_a_subdomain_takes_the_policy_above_it() -> None:
    sender = Sender(domain="care.mail.teeladen.de", signs_as="care.mail.teeladen.de")
    assert dmarc("v=DMARC1; p=reject", sender=sender).standing is Standing.FINE
    weak = dmarc("v=DMARC1; p=reject; sp=none", sender=sender)
    assert weak.standing is Standing.WEAK
    assert weak.publish is not None
    assert weak.publish.name == "_dmarc.care.mail.teeladen.de"
    zone = Zone()
    look_at_dmarc(zone, Sender(domain="a.b.c.d.e.f.teeladen.de"))
    assert len(zone.asked) <= 5
    assert "_dmarc.de" not in zone.asked


def test_a_signature_of_another_domain_does_not_count() -> None:
    assert look_at_alignment(SENDER).standing is Standing.FINE
    assert look_at_alignment(Sender(domain="mail.teeladen.de", signs_as=DOMAIN)).standing is Standing.FINE
    assert look_at_alignment(Sender(domain=DOMAIN, signs_as="evilteeladen.de")).standing is Standing.BROKEN
    assert "d=teeladen.de" in look_at_alignment(Sender(domain=DOMAIN)).detail
    strict = dmarc("v=DMARC1; p=reject; adkim=s", sender=Sender(domain=f"a.{DOMAIN}", signs_as=DOMAIN))
    assert "exactly" in strict.detail


# --- SPF and MX -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("relay", "value"),
    [
        ("smtp.gmail.com", "v=spf1 include:_spf.google.com ~all"),
        ("smtp.office365.com", "v=spf1 include:spf.protection.outlook.com ~all"),
        ("notgmail.com", "v=spf1 a:notgmail.com ~all"),
        ("localhost", "v=spf1 mx ~all"),
    ],
)
def test_without_spf_the_relay_decides_what_to_publish(relay: str, value: str) -> None:
    found = spf("google-site-verification=x", "v=spf10 -all", relay=relay)
    assert found.standing is Standing.WEAK
    assert found.publish == Txt(name=DOMAIN, value=value)


def test_two_spf_records_are_joined_into_one() -> None:
    found = spf("v=spf1 mx include:a.example -all", "v=spf1 include:b.example mx ~all")
    assert found.standing is Standing.BROKEN
    assert found.publish is not None
    assert found.publish.value == "v=spf1 mx include:a.example include:b.example ~all"


@pytest.mark.parametrize(
    ("record", "value"),
    [
        ("v=spf1 mx +all", "v=spf1 mx ~all"),
        ("v=spf1 mx all", "v=spf1 mx ~all"),
        ("v=spf1 mx ?all", "v=spf1 mx ~all"),
        ("v=spf1 mx", "v=spf1 mx ~all"),
    ],
)
def test_a_record_that_keeps_nobody_out_is_shown_with_an_end(record: str, value: str) -> None:
    found = spf(record)
    assert found.standing is Standing.WEAK
    assert found.publish == Txt(name=DOMAIN, value=value)


def test_a_sound_record_is_fine_and_a_missing_relay_is_named() -> None:
    assert spf("v=spf1 mx -all").standing is Standing.FINE
    assert spf("V=SPF1 redirect=spf.relay.de").standing is Standing.FINE
    missing = spf("v=spf1 mx -all", relay="smtp.gmail.com")
    assert missing.standing is Standing.WEAK
    assert missing.publish is not None
    assert missing.publish.value == "v=spf1 include:_spf.google.com mx -all"
    nested = spf(
        "v=spf1 include:all.relay.de -all", relay="smtp.gmail.com", all_relay_de="v=spf1 include:_spf.google.com -all"
    )
    assert nested.standing is Standing.FINE


def test_more_questions_than_receivers_ask_are_counted_through_includes_and_circles_end() -> None:
    wide = " ".join(f"a:host{number}.example" for number in range(MOST_LOOKUPS - 1))
    assert spf(f"v=spf1 include:in.relay.de {wide} -all").standing is Standing.FINE
    over = spf(f"v=spf1 include:in.relay.de {wide} -all", in_relay_de="v=spf1 mx -all")
    assert over.standing is Standing.BROKEN
    assert "11 questions" in over.detail
    assert spf("v=spf1 include:in.relay.de -all", in_relay_de=f"v=spf1 include:{DOMAIN} -all").standing is Standing.FINE


@given(st.lists(st.text(max_size=300), max_size=3))
def test_whatever_strangers_publish_is_judged_and_never_an_error(texts: list[str]) -> None:
    texts += [f"v=spf1 {text}" for text in texts] + [f"v=DMARC1;{text}" for text in texts]
    zone = Zone({DOMAIN: texts, f"_dmarc.{DOMAIN}": texts, OURS.name: [*texts, *(f"p={text}" for text in texts)]})
    for found in (look_at_spf(zone, DOMAIN, "smtp.gmail.com"), look_at_dmarc(zone, SENDER), look_at_dkim(zone, OURS)):
        assert found.detail


def test_a_domain_that_takes_no_mail_is_named() -> None:
    assert look_at_mx(Zone(mail={DOMAIN: ["mx.teeladen.de"]}), DOMAIN).standing is Standing.FINE
    assert look_at_mx(Zone(), DOMAIN).standing is Standing.WEAK
    assert look_at_mx(Zone(mail={DOMAIN: [""]}), DOMAIN).standing is Standing.BROKEN


def test_silence_is_no_fault_and_says_what_to_run_and_to_publish() -> None:
    silent = SilentNames("DNS did not answer in time")
    found = [
        look_at_dkim(silent, OURS),
        look_at_dmarc(silent, SENDER),
        look_at_spf(silent, DOMAIN, "smtp.gmail.com"),
        look_at_mx(silent, DOMAIN),
    ]
    assert {one.standing for one in found} == {Standing.UNKNOWN}
    assert all("dig +short" in one.detail and "could not be checked" in one.detail for one in found)
    assert [one.publish is not None for one in found] == [True, True, True, False]
    partly = Zone({DOMAIN: ["v=spf1 include:far.relay.de -all"]}, silent={"far.relay.de"})
    assert (
        look_at_spf(partly, DOMAIN, "smtp.gmail.com").standing is Standing.FINE
    )  # nothing is claimed about what is unseen
