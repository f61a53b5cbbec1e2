"""A signed opt-out link becomes the end of contact on one channel.

Pages are `bot.web`'s business; what is written, `bot.store.optout`'s.
"""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from bot.clock import Clock
from bot.store.database import Database
from bot.store.optout import end_contact
from bot.store.shop import Customer, customer
from bot.tokens import InvalidToken, Purpose, Signer

__all__ = ["OptOutDesk", "OptOutLink"]

log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True)
class OptOutLink:
    """What a link says: which customer, which channel, and the language to answer in."""

    customer_id: int
    channel: str
    locale: str


class OptOutDesk:
    """Reads opt-out links and acts on them."""

    def __init__(self, database: Database, clock: Clock, signer: Signer | None, default_locale: str = "en") -> None:
        self._database = database
        self._clock = clock
        self._signer = signer
        self._default_locale = default_locale

    def read(self, token: str) -> OptOutLink:
        """Say what a link means; changes nothing.

        Raises
        ------
        InvalidToken
            It is not ours, altered, expired, or its customer is gone.
        """
        return self._read(token)[0]

    def confirm(self, token: str, origin: str) -> OptOutLink:
        """End contact as the link says; a second time changes nothing; raises as `read` does."""
        link, person = self._read(token)
        with self._database.write() as connection:
            new = end_contact(connection, person, link.channel, origin=origin, evidence=None, now=self._clock.now())
        log.info("opted_out", customer=person.id, channel=link.channel, origin=origin, new=new)
        return link

    def _read(self, token: str) -> tuple[OptOutLink, Customer]:
        if self._signer is None:
            raise InvalidToken
        channel, _, number = self._signer.read(Purpose.OPT_OUT, token).partition(".")
        with self._database.read() as connection:
            person = customer(connection, int(number)) if number.isdigit() and len(number) < 19 else None
        if person is None:
            raise InvalidToken
        locale = person.locale or self._default_locale
        return OptOutLink(customer_id=person.id, channel=channel, locale=locale), person
