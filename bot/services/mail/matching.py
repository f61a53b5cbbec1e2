"""To which of our own mails one that came in belongs, and how surely: nothing that a stranger could have made up counts.

A signed reply token proves it, and so does a Message-ID of ours: it carries a hash that only its reader can know. A key
such as `outreach:12:1` proves nothing, since anybody can count.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from bot.services.mail.inbound import InboundMail, MailKind
from bot.store.database import Connection
from bot.store.letters import Letter, letter
from bot.tokens import InvalidToken, Purpose, Signer

__all__ = ["Match", "Matcher", "Proof"]

# What `bot.channels.email.message` writes.
_OUR_ID = re.compile(r"<(outreach|utterance)\.([0-9]{1,18})\.[0-9a-f]{20}@[!-;=?-~]{1,200}>\Z", re.IGNORECASE)


class Proof(StrEnum):
    """What shows that a mail belongs to one of ours."""

    TOKEN = "token"  # noqa: S105 - a signed token in an address that it was sent to
    REFERENCE = "reference"  # a Message-ID that we gave


@dataclass(frozen=True, kw_only=True)
class Match:
    """One of our own mails, and what proves that it is meant."""

    letter: Letter
    proof: Proof
    message_id: str


class Matcher:
    """Finds our own mails.

    Parameters
    ----------
    message_id : callable
        Returns the Message-ID that a delivery key's mail carries.
    """

    def __init__(self, signer: Signer | None, message_id: Callable[[str], str]) -> None:
        self._signer = signer
        self._message_id = message_id

    def match(self, connection: Connection, mail: InboundMail) -> Match | None:
        """Return the mail of ours that is meant; None where nothing proves one."""
        if (one := self._by_token(connection, mail.token)) is not None:
            return self._match(one, Proof.TOKEN)
        for identifier in _identifiers(mail):
            if (one := self._by_reference(connection, identifier)) is not None:
                return self._match(one, Proof.REFERENCE)
        return None

    def _match(self, one: Letter, proof: Proof) -> Match:
        return Match(letter=one, proof=proof, message_id=one.reference or self._message_id(one.key))

    def _by_token(self, connection: Connection, token: str | None) -> Letter | None:
        if token is None or self._signer is None:
            return None
        try:
            return letter(connection, self._signer.read(Purpose.REPLY, token))
        except InvalidToken:
            return None

    def _by_reference(self, connection: Connection, identifier: str) -> Letter | None:
        found = _OUR_ID.match(identifier)
        one = letter(connection, f"{found[1].lower()}.{found[2]}") if found is not None else None
        if one is None:
            return None
        # What was recorded at the sending counts; where nothing was, as of a mail in doubt, what it must have carried.
        known = one.reference or self._message_id(one.key)
        return one if known.casefold() == identifier.casefold() else None


def _identifiers(mail: InboundMail) -> Iterable[str]:
    if mail.kind in (MailKind.BOUNCE, MailKind.COMPLAINT):
        # In a report, the threading headers are the report's own; only the mail that came back counts.
        return [mail.original_message_id] if mail.original_message_id else []
    latest_first = (mail.in_reply_to, *reversed(mail.references), mail.original_message_id)
    return dict.fromkeys(identifier for identifier in latest_first if identifier)
