"""Mail addresses: exactly one, plain, and nothing that could become a second recipient or a header.

Quoted local parts and comments are legal in RFC 5322 and refused here: no shop's customer has one, and they
are how a second recipient hides. Whether an address is alive is not known here.
"""

from __future__ import annotations

import re
from functools import lru_cache

from bot.channels.base import DeadAddressError

# RFC 5321 section 4.5.3.1: 64 octets of local part, 254 in all (RFC 3696 erratum 1690).
LOCAL_OCTETS, ADDRESS_OCTETS = 64, 254
_LOCAL = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*\Z")
_LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\Z")


# The sender's own addresses are asked for with every mail.
@lru_cache(maxsize=256)
def one_address(text: str) -> str:
    """Return the one plain address in `text`, its domain in ASCII.

    Raises
    ------
    DeadAddressError
        It is not exactly one address that mail can be sent to.
    """
    local, _, domain = text.strip(" ").partition("@")
    try:
        ascii_domain = domain.encode("idna").decode("ascii") if not domain.isascii() else domain
    except UnicodeError:
        raise DeadAddressError("the address has no valid domain; correct it at the customer") from None
    labels = ascii_domain.split(".")
    if (
        not _LOCAL.match(local)
        or len(local) > LOCAL_OCTETS
        or len(local) + 1 + len(ascii_domain) > ADDRESS_OCTETS
        or not all(_LABEL.match(label) for label in labels)
    ):
        raise DeadAddressError("the address is not exactly one plain mail address; correct it at the customer")
    return f"{local}@{ascii_domain}"


def domain_of(address: str) -> str:
    """Return the domain of an address."""
    return address.rpartition("@")[2]


def with_detail(address: str, detail: str) -> str:
    """Return `local+detail@domain` (RFC 5233 sub-addressing)."""
    local, _, domain = address.rpartition("@")
    return f"{local}+{detail}@{domain}"
