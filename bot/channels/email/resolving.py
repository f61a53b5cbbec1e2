"""Questions to DNS, with one time limit for all of them together. What the answers mean is `records.py`'s business."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any, Protocol

import dns.exception
import dns.resolver

__all__ = ["DnsNames", "Names", "SilentNames", "Unanswered"]

# Somebody waits for the doctor; where DNS does not answer at all, this is what they wait.
PATIENCE_SECONDS = 3.0
# Anybody may write anything into DNS; what we print of it is plain and short.
_ODD = re.compile(r"[^ -~]+")
LONGEST = 4096


class Unanswered(Exception):
    """DNS did not answer; the message says why."""


class Names(Protocol):
    """What can be asked about a name; a name that is not there has no records."""

    def texts(self, name: str) -> list[str]:
        """Return the TXT records, the strings of each joined (RFC 7208 section 3.3)."""

    def exchanges(self, name: str) -> list[str]:
        """Return the hosts of the MX records; an empty one means that no mail is taken (RFC 7505)."""


class DnsNames:
    """Asks the resolvers of this machine.

    A name that is absent is only believed of a resolver that knows the root of the public DNS: in a closed network every
    name outside is absent, which says nothing about what receivers see.

    Parameters
    ----------
    resolver : dns.resolver.Resolver, optional
        Else what the system is set up with.
    seconds : float
        How long all questions together may take, from the first one on.
    """

    def __init__(self, resolver: dns.resolver.Resolver | None = None, seconds: float = PATIENCE_SECONDS) -> None:
        self._resolver = resolver
        self._seconds = seconds
        self._until: float | None = None
        self._public: bool | None = None

    def texts(self, name: str) -> list[str]:
        return self._ask(name, "TXT", lambda record: b"".join(record.strings).decode("utf-8", "replace"))

    def exchanges(self, name: str) -> list[str]:
        return self._ask(name, "MX", lambda record: str(record.exchange).rstrip("."))

    def _ask(self, name: str, kind: str, words: Callable[..., str]) -> list[str]:
        found = self._records(name, kind)
        if not found:
            if self._public is None:
                self._public = bool(self._records("", "NS") or self._records(name.rpartition(".")[2], "NS"))
            if not self._public:
                raise Unanswered("DNS here knows no public names")
        return sorted(_ODD.sub("?", words(record))[:LONGEST] for record in found)

    def _records(self, name: str, kind: str) -> list[Any]:
        self._until = self._until or time.monotonic() + self._seconds
        left = self._until - time.monotonic()
        if left <= 0:
            raise Unanswered("DNS did not answer in time")
        try:
            self._resolver = self._resolver or dns.resolver.Resolver()
            return list(self._resolver.resolve(f"{name.rstrip('.')}.", kind, lifetime=left, search=False))
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return []
        except dns.exception.Timeout as error:
            raise Unanswered("DNS did not answer in time") from error
        except (dns.exception.DNSException, OSError, ValueError) as error:
            raise Unanswered(f"DNS could not be asked: {type(error).__name__}") from error


class SilentNames:
    """Stands where asking is of no use."""

    def __init__(self, why: str) -> None:
        self._why = why

    def texts(self, name: str) -> list[str]:
        raise Unanswered(self._why)

    def exchanges(self, name: str) -> list[str]:
        raise Unanswered(self._why)
