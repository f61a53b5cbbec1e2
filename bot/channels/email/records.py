"""What DNS says about a sender's domain: SPF, DKIM, DMARC and MX, and what to publish where it says too little.

Each look returns findings, and nothing is changed. Asking DNS is `resolving.py`'s business; SPF, which is a small language,
is judged in `spf.py`.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from bot.channels.email.resolving import Names, Unanswered

__all__ = ["Finding", "Sender", "Standing", "Txt", "dkim_record", "look_at_dkim", "look_at_dmarc", "look_at_mx"]

# RFC 1035 section 3.3: a string in a TXT record.
STRING_OCTETS = 255
# The tree walk of DMARC asks at the name itself and at so many above it.
DMARC_STEPS = 4


class Standing(StrEnum):
    """How things are with one record."""

    FINE = "fine"
    WEAK = "weak"  # mails arrive, less surely than they could
    BROKEN = "broken"  # receivers will doubt or refuse our mails
    UNKNOWN = "unknown"  # DNS did not answer


@dataclass(frozen=True, kw_only=True)
class Txt:
    """A TXT record to publish."""

    name: str
    value: str

    def zone_line(self) -> str:
        """Write it for a zone file, in strings of at most 255 octets."""
        strings = [self.value[start : start + STRING_OCTETS] for start in range(0, len(self.value), STRING_OCTETS)]
        return f"{self.name}. IN TXT " + " ".join(f'"{string}"' for string in strings)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One record that was looked at, and what should stand there."""

    name: str
    standing: Standing
    detail: str
    publish: Txt | None = None


@dataclass(frozen=True, kw_only=True)
class Sender:
    """Whose records are looked at.

    Attributes
    ----------
    domain : str
        The domain of From, and of the envelope.
    signs_as : str
        The `d=` of our signatures; empty where a relay signs.
    """

    domain: str
    signs_as: str = ""


def dkim_record(domain: str, selector: str, kind: str, public: bytes) -> Txt:
    """Return the record that lets receivers verify what we sign (RFC 6376 section 3.6.1)."""
    return Txt(
        name=f"{selector}._domainkey.{domain}",
        value=f"v=DKIM1; k={kind}; p={base64.b64encode(public).decode('ascii')}",
    )


def look_at_dkim(names: Names, ours: Txt) -> Finding:
    """Compare the published key with ours."""

    def finding(standing: Standing, detail: str) -> Finding:
        fine = standing in (Standing.FINE, Standing.WEAK)
        return Finding(name="DKIM", standing=standing, detail=detail, publish=None if fine else ours)

    try:
        found = [text for text in names.texts(ours.name) if "p=" in text]
    except Unanswered as error:
        return finding(Standing.UNKNOWN, unchecked(error, "TXT", ours.name))
    if not found:
        return finding(Standing.BROKEN, f"nothing is published at {ours.name}: nobody can verify what we sign")
    if len(found) > 1:
        return finding(Standing.BROKEN, f"{len(found)} records stand at {ours.name}; leave only this one")
    tags, expected = _tags(found[0]), _tags(ours.value)
    if not tags.get("p"):
        return finding(Standing.BROKEN, f"the key at {ours.name} is revoked (empty p=); take another selector")
    if (tags.get("k") or "rsa") != expected["k"] or not _same_key(tags["p"], expected["p"]):
        advice = "publish ours, or set AFTERCARE_DKIM_KEY to the key that belongs there"
        return finding(
            Standing.BROKEN, f"the key at {ours.name} is not the public half of AFTERCARE_DKIM_KEY; {advice}"
        )
    unfit = tags.get("v", "DKIM1") != "DKIM1" or "sha256" not in tags.get("h", "sha256").split(":")
    if unfit or not {"*", "email"} & set(tags.get("s", "*").split(":")):
        return finding(Standing.BROKEN, f"the tags v=, h= or s= at {ours.name} forbid our signatures; take them out")
    if "y" in tags.get("t", "").split(":"):
        return finding(Standing.WEAK, f"{ours.name} says t=y (a test): receivers ignore the signature; take it out")
    return finding(Standing.FINE, f"{ours.name} holds the public half of our key")


def look_at_dmarc(names: Names, sender: Sender) -> Finding:
    """Read the policy for From's domain, its own or that of a domain above it (RFC 7489 and its successor)."""
    own = f"_dmarc.{sender.domain}"
    first = Txt(name=own, value=f"v=DMARC1; p=none; rua=mailto:dmarc-reports@{sender.domain}")

    def finding(standing: Standing, detail: str, publish: Txt | None = None) -> Finding:
        return Finding(name="DMARC", standing=standing, detail=detail, publish=publish)

    try:
        place, found = _policy(names, sender.domain)
    except Unanswered as error:
        return finding(Standing.UNKNOWN, unchecked(error, "TXT", own, "v=DMARC1"), first)
    if not found:
        return finding(
            Standing.WEAK,
            f"none at {own}; Gmail and Yahoo ask for one. Start by watching, to an address you read",
            first,
        )
    if len(found) > 1:
        return finding(Standing.BROKEN, f"{len(found)} policies stand at {place}, which counts as none; leave one")
    tags = _tags(found[0])
    policy = (tags.get("sp") if place != own else None) or tags.get("p", "")
    if policy.lower() not in ("none", "quarantine", "reject"):
        return finding(Standing.BROKEN, f"{place} has no valid p=; write p=none, p=quarantine or p=reject", first)
    if policy.lower() == "none":
        stricter = Txt(name=own, value=re.sub(r"\bp\s*=\s*none\b", "p=quarantine", found[0], count=1, flags=re.I))
        return finding(
            Standing.WEAK,
            f"{place} says p=none: forged mails in your name are only counted. Once the reports show that your own mails "
            "pass, publish",
            stricter,
        )
    part = f" for {tags['pct']} % of mails" if tags.get("pct", "100") != "100" else ""
    return finding(Standing.FINE, f"{place} says p={policy.lower()}{part}; {_alignment(sender, tags)}")


def look_at_alignment(sender: Sender) -> Finding:
    """Compare whom the signature names with whom the reader sees."""
    if not sender.signs_as:
        return Finding(
            name="DKIM",
            standing=Standing.FINE,
            detail=f"we do not sign; the relay must, with d={sender.domain}. `aftercare doctor email --send` shows: look "
            f"for dkim=pass header.d={sender.domain} in what arrives, or set email.dkim_selector and AFTERCARE_DKIM_KEY",
        )
    if _related(sender.signs_as, sender.domain):
        return Finding(name="DKIM alignment", standing=Standing.FINE, detail=f"From and d= are both {sender.domain}")
    return Finding(
        name="DKIM alignment",
        standing=Standing.BROKEN,
        detail=f"From says {sender.domain}, signatures say d={sender.signs_as}: DMARC does not count them",
    )


def look_at_mx(names: Names, domain: str) -> Finding:
    """See whether replies and bounces can arrive."""
    try:
        hosts = names.exchanges(domain)
    except Unanswered as error:
        return Finding(name="MX", standing=Standing.UNKNOWN, detail=unchecked(error, "MX", domain))
    if hosts == [""]:
        detail = f"{domain} says that it takes no mail (null MX, RFC 7505): replies and bounces are lost and receivers refuse us"
        return Finding(name="MX", standing=Standing.BROKEN, detail=detail)
    if not hosts:
        detail = f"{domain} names no mail server: replies and bounces will hardly arrive; publish an MX record"
        return Finding(name="MX", standing=Standing.WEAK, detail=detail)
    return Finding(name="MX", standing=Standing.FINE, detail=f"mail to {domain} goes to {', '.join(hosts[:3])}")


def unchecked(why: Unanswered, kind: str, name: str, start: str = "") -> str:
    """Say what to run where DNS answers, and that a record may stand there already."""
    said = f"could not be checked ({why}); where DNS answers, run `dig +short {kind} {name}`"
    return f"{said} and publish only if nothing there starts with {start}" if start else said


def _policy(names: Names, domain: str) -> tuple[str, list[str]]:
    """Return where a policy stands, nearest first, and what stands there."""
    for above in _upwards(domain):
        found = [text for text in names.texts(f"_dmarc.{above}") if re.match(r"v\s*=\s*DMARC1\s*(?:;|\Z)", text)]
        if found:
            return f"_dmarc.{above}", found
    return f"_dmarc.{domain}", []


def _upwards(domain: str) -> Iterator[str]:
    labels = domain.split(".")
    for start in range(max(1, min(len(labels) - 1, DMARC_STEPS + 1))):
        yield ".".join(labels[start:])


def _alignment(sender: Sender, tags: dict[str, str]) -> str:
    if not sender.signs_as:
        return f"the relay's signature counts with d={sender.domain} only" + (
            "" if tags.get("adkim") == "s" else " (or a domain above or below)"
        )
    if tags.get("adkim") == "s" and sender.signs_as != sender.domain:
        return f"but it asks for d={sender.domain} exactly, and we sign as {sender.signs_as}"
    return "our signatures are aligned with From"


def _related(one: str, other: str) -> bool:
    return one == other or one.endswith(f".{other}") or other.endswith(f".{one}")


def _same_key(published: str, ours: str) -> bool:
    try:
        theirs, expected = base64.b64decode(published), base64.b64decode(ours)
    except (binascii.Error, ValueError):
        return False
    # RFC 6376 lets RSA keys be published without the wrapping that names the algorithm; it is the end of the wrapped form.
    return theirs == expected or (len(theirs) >= STRING_OCTETS and expected.endswith(theirs))


def _tags(text: str) -> dict[str, str]:
    """Read a tag list (RFC 6376 section 3.2); spaces inside values mean nothing."""
    pairs = (part.partition("=") for part in text.split(";"))
    return {name.strip().lower(): "".join(value.split()) for name, _, value in reversed(list(pairs))}
