"""The way of a mail that came in: recorded as it came, before anything else; worked on afterwards; forgotten in time.

A mail is worked on by whoever takes it. What a crash leaves behind is taken again after a while, and every effect is
written together with the word that it is done, so that it happens once. A mail that cannot be read is set aside with
its error and never blocks the others. What a mail does is `mail_replies`' and `mail_reports`' business, reading its
octets and fetching it the email channel's.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

import structlog

from bot.clock import Clock
from bot.config import Settings
from bot.errors import InputError
from bot.services.conversation.conversations import Conversations
from bot.services.mail.effects import Done, Effect, ToAnswer
from bot.services.mail.inbound import InboundMail, MailKind
from bot.services.mail.matching import Matcher
from bot.services.mail.replies import Replies
from bot.services.mail.reports import Reports
from bot.services.review.wording import Wording
from bot.store import mails
from bot.store.database import Connection, Database
from bot.store.mails import KEPT_OCTETS, MAX_OCTETS, Fetched, MailSource, Position, StoredMail
from bot.tokens import Signer
from messages.catalogue import Catalogue

__all__ = ["MailReport", "Mailroom", "mail_key"]

log = structlog.get_logger(__name__)

# So long a mail belongs to whoever took it, times the attempt; a reader that died is followed by the next after it.
LEASE = timedelta(seconds=30)
MAX_ATTEMPTS = 5
# So many mails are worked on at one tick.
AT_ONCE = 100
# The hook takes signatures of five minutes; older ones are refused by their time.
SIGNATURES_KEPT = timedelta(days=1)

_FIELD = re.compile(rb"(message-id|from|to|cc|date|subject):(.*)\Z", re.IGNORECASE | re.DOTALL)
_BLANKS = re.compile(rb"[ \t\n]+")
# The lines above the first empty one, looked at so far.
HEADER_OCTETS = 256 * 1024


@dataclass(kw_only=True)
class MailReport:
    """How many mails of what one round did."""

    done: int = 0
    quarantined: int = 0
    postponed: int = 0


def mail_key(content: bytes) -> str:
    """Return a digest that the same mail has by whichever way it comes, and another mail has not.

    What mail systems add on the way (Received, Delivered-To, the kind of line breaks) does not count; what was written
    does: a forged Message-ID does not hide another mail.
    """
    plain = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    head, _, body = plain.partition(b"\n\n")
    digest = hashlib.sha256()
    lines = head[:HEADER_OCTETS].replace(b"\n ", b" ").replace(b"\n\t", b" ").split(b"\n")
    fields = [
        (found[1].lower(), _BLANKS.sub(b" ", found[2]).strip()) for line in lines if (found := _FIELD.match(line))
    ]
    for name, value in sorted(fields):
        digest.update(name + b":" + value + b"\n")
    digest.update(b"\n" + (body if fields else plain).rstrip())
    return digest.hexdigest()


class Mailroom:
    """Takes mails in and works on them.

    Parameters
    ----------
    read : callable
        Reads the octets of a mail; raises an `InputError` for one that cannot be read.
    message_id : callable
        Returns the Message-ID that a delivery key's mail carries.
    conversations : callable
        Returns the dialogue; asked for when the first mail needs it.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        settings: Settings,
        *,
        read: Callable[[bytes], InboundMail],
        message_id: Callable[[str], str],
        signer: Signer | None,
        conversations: Callable[[], Conversations],
        catalogue: Catalogue | None = None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._settings = settings
        self._read = read
        self._conversations = conversations
        matcher = Matcher(signer, message_id)
        self._replies = Replies(settings, matcher, Wording(catalogue or Catalogue.load(), settings))
        self._reports = Reports(matcher)
        self._stopping = threading.Event()

    def position(self, mailbox: str) -> Position | None:
        """Return how far a mailbox was read."""
        with self._database.read() as connection:
            return mails.position_of(connection, mailbox)

    def take_in(self, mailbox: str, fetched: Sequence[Fetched], position: Position) -> int:
        """Record what was fetched, and how far the mailbox was read now, together; return how many are new."""
        with self._database.write() as connection:
            new = sum(self._record(connection, MailSource.IMAP, one) for one in fetched)
            mails.set_position(connection, mailbox, position, self._clock.now())
        return new

    def take_posted(self, content: bytes, signature: str | None) -> bool:
        """Record what was posted; False says that this very request had come before.

        Parameters
        ----------
        signature : str or None
            What proved the request; it counts once. None: a password did, and the mail alone counts once.
        """
        with self._database.write() as connection:
            if signature is not None:
                digest = hashlib.sha256(signature.encode()).hexdigest()
                if not mails.remember_signature(connection, digest, self._clock.now()):
                    return False
            self._record(connection, MailSource.HOOK, Fetched(content=content, octets=len(content)))
        return True

    def work(self, limit: int = AT_ONCE) -> MailReport:
        """Work on mails that wait, oldest first; return what happened."""
        report = MailReport()
        for _ in range(limit):
            stored = None if self._stopping.is_set() else self._take()
            if stored is None:
                break
            self._handle(stored, report)
        return report

    def forget(self) -> int:
        """Drop the octets of mails that are older than `email.keep_raw_days`; return how many."""
        now = self._clock.now()
        with self._database.write() as connection:
            mails.forget_signatures(connection, now - SIGNATURES_KEPT)
            return mails.forget_raw(connection, now - timedelta(days=self._settings.email.keep_raw_days))

    def stop(self) -> None:
        """Finish the mail in hand and begin no other."""
        self._stopping.set()

    # --- How ---------------------------------------------------------------------------------------

    def _record(self, connection: Connection, source: MailSource, one: Fetched) -> bool:
        large = one.octets > MAX_OCTETS
        content = one.content[:KEPT_OCTETS] if large else one.content
        error = one.error
        key = mail_key(content)
        recorded = mails.record(
            connection,
            source=source,
            key=f"{key}:{one.octets}" if large else key,
            raw=content,
            octets=one.octets,
            now=self._clock.now(),
            error=error,
        )
        if recorded is not None:
            log.info("mail_recorded", mail=recorded, source=source.value, octets=one.octets)
            if error is not None:
                log.warning("mail_quarantined", mail=recorded, error=error)
        return recorded is not None

    def _take(self) -> StoredMail | None:
        now = self._clock.now()
        with self._database.read() as connection:
            if not mails.waiting(connection, now):  # most ticks write nothing
                return None
        with self._database.write() as connection:
            return mails.take(connection, now, LEASE)

    def _handle(self, stored: StoredMail, report: MailReport) -> None:
        if stored.raw is None:
            self._finish(stored, None, Done(effect=Effect.FORGOTTEN))
            return
        if stored.attempts > MAX_ATTEMPTS:
            # Whoever took it so often died over it.
            self._set_aside(stored, f"given up after {MAX_ATTEMPTS} attempts", report)
            return
        try:
            mail = self._read(stored.raw)
        except InputError as error:
            large = stored.octets > MAX_OCTETS
            self._set_aside(stored, _too_large(stored) if large else str(error)[:500], report)
            return
        except Exception as error:  # the edge of one mail: the others are read all the same
            log.exception("mail_reading_broke", mail=stored.id)
            self._set_aside(stored, f"the reading broke: {type(error).__name__}", report)
            return
        try:
            done = self._act(stored, mail)
        except Exception as error:
            log.exception("mail_effect_broke", mail=stored.id, attempt=stored.attempts)
            if stored.attempts == MAX_ATTEMPTS:
                self._set_aside(stored, f"its effect broke: {type(error).__name__}", report)
            else:
                report.postponed += 1  # it comes again when the lease is over
            return
        if done is not None and self._left_over(stored, done):
            report.quarantined += 1
            log.warning("mail_quarantined", mail=stored.id, source=stored.source.value, error=_too_large(stored))
            return
        report.done += 1
        if done is not None:
            log.info("mail_handled", mail=stored.id, kind=mail.kind.value, effect=done.effect.value, about=done.about)

    def _act(self, stored: StoredMail, mail: InboundMail) -> Done | None:
        """Do what a mail asks for; None says that somebody else did."""
        with self._database.write() as connection:
            if not mails.lock_received(connection, stored.id):
                return None
            now = self._clock.now()
            found: Done | ToAnswer
            if mail.kind is MailKind.OWN:
                found = Done(effect=Effect.OWN)
            elif mail.kind is MailKind.BOUNCE:
                found = self._reports.bounce(connection, mail, now)
            elif mail.kind is MailKind.COMPLAINT:
                found = self._reports.complaint(connection, mail, f"email:{stored.key}", now)
            else:
                found = self._replies.take_in(connection, stored, mail, now)
            if isinstance(found, Done):
                left_over = self._left_over(stored, found)
                columns = {"error": _too_large(stored)} if left_over else _columns(mail.kind, found)
                mails.finish(connection, stored.id, now, **columns)
                return found
        # What is decided here is decided once, whoever asks for it and how often.
        self._conversations().receive(found.inbound)
        return found.done if self._finish(stored, mail.kind, found.done) else None

    @staticmethod
    def _left_over(stored: StoredMail, done: Done) -> bool:
        """Whether a mail of which only the beginning is kept did nothing, so that a human should look at it."""
        return stored.octets > MAX_OCTETS and done.effect in (Effect.STRANGER, Effect.UNPROVEN)

    def _finish(self, stored: StoredMail, kind: MailKind | None, done: Done) -> bool:
        with self._database.write() as connection:
            return mails.finish(connection, stored.id, self._clock.now(), **_columns(kind, done))

    def _set_aside(self, stored: StoredMail, error: str, report: MailReport) -> None:
        with self._database.write() as connection:
            mails.finish(connection, stored.id, self._clock.now(), error=error)
        report.quarantined += 1
        log.warning("mail_quarantined", mail=stored.id, source=stored.source.value, error=error)


def _too_large(stored: StoredMail) -> str:
    return f"too large: {stored.octets} octets, {MAX_OCTETS} are read at most"


def _columns(kind: MailKind | None, done: Done) -> dict[str, Any]:
    return {**asdict(done), "effect": done.effect.value, "kind": kind.value if kind is not None else None}
