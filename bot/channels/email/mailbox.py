"""The mailbox at `IMAP_URL`, watched: every new mail is handed on once, whatever breaks in between.

Nothing in the mailbox is changed: it is opened for reading only, mails are not marked as read, moved or deleted. The
position (RFC 3501: UIDs under a UIDVALIDITY) is written by whoever takes the mails, together with them. The server
says by IDLE (RFC 2177) that something came; one that has no IDLE is asked now and then. How to fetch is `imap.py`'s
business, what a mail means `bot.services.mail.mailroom`'s.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Protocol

import structlog
from imap_tools import BaseMailBox

from bot.channels.email.imap import (
    BROKEN,
    ImapServer,
    batches,
    fetch,
    imap_date,
    search,
    sizes,
    told,
    what_to_mend,
)
from bot.clock import SystemClock
from bot.decide import backoff
from bot.store.mails import Fetched, Position

__all__ = ["MailTaker", "Mailbox"]

log = structlog.get_logger(__name__)

# An IDLE is begun anew after this: far under the 29 minutes of RFC 2177, and soon enough to notice a dead line.
IDLE_SECONDS = 30.0
# A server without IDLE is asked this often.
POLL_SECONDS = 20.0
# How soon the end of the process is noticed while waiting.
NOTICE_SECONDS = 0.5
# After a failure: twice as long each time, with jitter, and at most this.
FIRST_WAIT, LONGEST_WAIT = timedelta(seconds=1), timedelta(seconds=30)
# So many mails are asked for at once.
BATCH_MAILS = 50
# The first time, unread mails of so many days are taken; older ones had their answer. After a change of UIDVALIDITY, all
# mails of so many days are looked at again: those that are known are recognised.
FIRST_DAYS, AGAIN_DAYS = 1, 30


class MailTaker(Protocol):
    """Who takes the mails, and remembers how far the mailbox was read."""

    def position(self, mailbox: str) -> Position | None:
        """Return how far a mailbox was read."""

    def take_in(self, mailbox: str, fetched: Sequence[Fetched], position: Position) -> int:
        """Record mails and the position together; return how many are new."""


class Mailbox:
    """Watches one folder in a thread of its own, from `start` to `stop`.

    Parameters
    ----------
    seed : str
        Makes the jitter of this process its own.
    """

    def __init__(
        self, server: ImapServer, folder: str, taker: MailTaker, *, tls: ssl.SSLContext | None = None, seed: str = ""
    ) -> None:
        self._server = server
        self._folder = folder
        self._taker = taker
        self._tls = tls
        self._seed = f"mailbox:{seed}"
        self._stopping = threading.Event()
        self._connected = threading.Event()
        self._box: BaseMailBox | None = None
        self._thread: threading.Thread | None = None

    @property
    def name(self) -> str:
        """The name under which the position is kept."""
        return f"{self._server.user}@{self._server.host}/{self._folder}"

    def start(self) -> None:
        """Begin to watch."""
        self._thread = threading.Thread(target=self._watch, name="mailbox", daemon=True)
        self._thread.start()

    def connected(self) -> bool:
        """Say whether the mailbox is being watched at this moment."""
        return self._connected.is_set()

    def stop(self, seconds: float) -> bool:
        """End the watch; False where it did not end in time, which loses nothing."""
        self._stopping.set()
        if self._thread is None:
            return True
        self._thread.join(min(seconds / 2, 2 * NOTICE_SECONDS))
        if self._thread.is_alive() and (box := self._box) is not None:
            # Whatever waits for the server's next word wakes up. Only the socket: its file is the watching thread's.
            with contextlib.suppress(OSError):
                box.client.sock.shutdown(socket.SHUT_RDWR)
        self._thread.join(seconds / 2)
        return not self._thread.is_alive()

    # --- The watch ---------------------------------------------------------------------------------

    def _watch(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                self._session()
            except BROKEN as error:
                if not self._stopping.is_set():
                    what = what_to_mend(error, self._server, self._folder)
                    log.warning("mailbox_disconnected", error=type(error).__name__, advice=what)
            except Exception:  # the edge of the thread: a database that is away, or a bug, ends no watch
                log.exception("mailbox_broke")
            finally:
                self._connected.clear()
                self._close()
            if time.monotonic() - began > LONGEST_WAIT.total_seconds():
                failures = 0  # it had worked
            failures += 1
            wait = min(backoff.delay(self._seed, failures, FIRST_WAIT), LONGEST_WAIT)
            self._stopping.wait(wait.total_seconds())

    def _session(self) -> None:
        box = self._box = self._server.open(self._folder, self._tls)
        position = self._begin(box)
        has_idle = "IDLE" in box.client.capabilities
        log.info("mailbox_connected", idle=has_idle)
        while not self._stopping.is_set():
            position = self._catch_up(box, position)
            self._connected.set()
            if has_idle:
                self._idle(box)
            else:
                self._stopping.wait(POLL_SECONDS)
            if not self._stopping.is_set():
                box.client.noop()

    def _begin(self, box: BaseMailBox) -> Position:
        """Return from where on to read; what must be looked at again after a change of UIDVALIDITY is taken here."""
        validity = int(told(box, "UIDVALIDITY"))
        known = self._taker.position(self.name)
        if known is not None and known.uid_validity == validity:
            return known
        since = imap_date(SystemClock().now() - timedelta(days=FIRST_DAYS if known is None else AGAIN_DAYS))
        wanted = f"UNSEEN SINCE {since}" if known is None else f"SINCE {since}"
        # What comes from now on is above this; found before the search, so that nothing falls between.
        highest = self._highest(box)
        uids = [uid for uid in search(box, wanted) if uid <= highest]
        log.info("mailbox_read_from_the_start", known=known is not None, mails=len(uids))
        self._take(box, validity, uids, end=highest)
        return Position(uid_validity=validity, last_uid=highest)

    def _highest(self, box: BaseMailBox) -> int:
        every = search(box, "UID *")
        return max(every, default=0)

    def _catch_up(self, box: BaseMailBox, position: Position) -> Position:
        """Take every mail above the position; return the new one."""
        first = position.last_uid + 1
        # `n:*` always names the last mail, though its UID be below n (RFC 3501 section 6.4.8).
        uids = [uid for uid in search(box, f"UID {first}:*") if uid >= first]
        if uids:
            self._take(box, position.uid_validity, uids, end=uids[-1])
            return Position(uid_validity=position.uid_validity, last_uid=uids[-1])
        return position

    def _take(self, box: BaseMailBox, validity: int, uids: Sequence[int], end: int) -> None:
        """Fetch mails in batches and hand each batch on with the position that it reaches."""
        last = None
        for start in range(0, len(uids), BATCH_MAILS):
            for batch in batches(sizes(box, uids[start : start + BATCH_MAILS])):
                if self._stopping.is_set():
                    raise ConnectionAbortedError("the end was asked for")
                fetched = fetch(box, batch, validity)
                last = max(batch)
                new = self._taker.take_in(self.name, fetched, Position(uid_validity=validity, last_uid=last))
                log.info("mailbox_read", mails=len(fetched), new=new)
        if last != end:
            self._taker.take_in(self.name, [], Position(uid_validity=validity, last_uid=end))

    def _idle(self, box: BaseMailBox) -> None:
        """Wait until the server says something, the IDLE is due to be renewed, or the end."""
        until = time.monotonic() + IDLE_SECONDS
        idle: Any = box.idle
        idle.start()
        try:
            while not self._stopping.is_set() and time.monotonic() < until:
                began = time.monotonic()
                if idle.poll(timeout=NOTICE_SECONDS):
                    break
                if time.monotonic() - began < NOTICE_SECONDS / 2:
                    break  # readable and yet silent: the line is dead, as the next command will tell
        finally:
            idle.stop()

    def _close(self) -> None:
        box, self._box = self._box, None
        if box is not None:
            with contextlib.suppress(*BROKEN):
                box.client.shutdown()
