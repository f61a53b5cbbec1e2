"""Mails that were set aside because they could not be read or their effect broke: looked at, and tried again.

A mail that is tried again has its effect once, as any other: it is worked on by `bot.services.mail.mailroom`.
"""

from __future__ import annotations

import structlog

from bot.clock import Clock
from bot.errors import NotFound, Refused
from bot.store import audit
from bot.store import quarantine as store
from bot.store.database import Database
from bot.store.quarantine import QuarantinedMail

__all__ = ["Quarantine"]

log = structlog.get_logger(__name__)


class Quarantine:
    """Shows mails that were set aside, and puts them back."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def listing(self, limit: int, offset: int = 0) -> tuple[int, list[QuarantinedMail]]:
        """Return how many there are, and the newest of them."""
        with self._database.read() as connection:
            return store.quarantined(connection, limit, offset)

    def show(self, mail_id: int) -> tuple[QuarantinedMail, bytes | None]:
        """Return one of them and what is kept of it.

        Raises
        ------
        NotFound
            No mail of that number is set aside.
        """
        with self._database.read() as connection:
            found = store.quarantined_mail(connection, mail_id)
        if found is None:
            raise NotFound(f"no mail {mail_id} is set aside; `aftercare email list` shows all")
        return found

    def retry(self, mail_id: int, actor: str) -> None:
        """Put a mail back; the next round works on it.

        Raises
        ------
        NotFound
            No mail of that number is set aside.
        Refused
            Not all of it is kept.
        """
        mail, _ = self.show(mail_id)
        with self._database.write() as connection:
            if not store.put_back(connection, mail_id):
                raise Refused(f"not all of mail {mail_id} is kept ({mail.error}); answer it from the mailbox")
            audit.record(
                connection,
                at=self._clock.now(),
                actor=actor,
                action="mail.retried",
                entity="mail",
                entity_id=mail_id,
                detail={"error": mail.error},
            )
        log.info("mail_put_back", mail=mail_id)
