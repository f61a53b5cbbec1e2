"""What is said to an IMAP server: how to reach it, and how mails are found and fetched without a trace.

The folder is opened for reading only and mails are fetched with BODY.PEEK, so that nothing is marked as read. When to ask
is `mailbox.py`'s business.
"""

from __future__ import annotations

import imaplib
import re
import ssl
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import unquote, urlsplit

from imap_tools import BaseMailBox, MailBox, MailBoxUnencrypted
from imap_tools.errors import ImapToolsError

from bot.errors import ConfigurationError
from bot.store.mails import KEPT_OCTETS, MAX_OCTETS, Fetched

__all__ = [
    "BROKEN",
    "ImapServer",
    "batches",
    "fetch",
    "imap_date",
    "search",
    "sizes",
    "told",
    "what_to_mend",
]

# How long each step of the conversation with the server may take.
STEP_SECONDS = 20.0
# A batch of mails is recorded together: so many octets at most.
BATCH_OCTETS = 4 * 1024 * 1024
# What the library raises when the server, or the line to it, is not as it should be.
BROKEN = (OSError, imaplib.IMAP4.error, ImapToolsError, EOFError, ValueError)

_UID = re.compile(rb"\bUID (\d+)")
_SIZE = re.compile(rb"\bRFC822\.SIZE (\d+)")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@dataclass(frozen=True, kw_only=True)
class ImapServer:
    """Where the mailbox is; without TLS only on this machine, with TLS always verified."""

    host: str
    port: int
    tls: bool
    user: str
    password: str

    def __repr__(self) -> str:  # credentials never reach a log
        return f"ImapServer({self.host}:{self.port}, {'tls' if self.tls else 'plain'})"

    @classmethod
    def from_url(cls, url: str) -> ImapServer:
        """Read `imap://` or `imaps://`, with user and password percent-encoded."""
        try:
            parts = urlsplit(url)
            tls, port = {"imap": (False, 143), "imaps": (True, 993)}[parts.scheme]
            if not parts.hostname or not parts.username:
                raise ValueError
            if not tls and parts.hostname not in ("127.0.0.1", "localhost", "::1"):
                raise ConfigurationError([("IMAP_URL", "without TLS only to this machine; write imaps://")])
            return cls(
                host=parts.hostname,
                port=parts.port or port,
                tls=tls,
                user=unquote(parts.username),
                password=unquote(parts.password or ""),
            )
        except (KeyError, ValueError) as error:
            advice = "write imaps://USER:PASSWORD@HOST:PORT, or imap://USER:PASSWORD@127.0.0.1:PORT"
            raise ConfigurationError([("IMAP_URL", advice)]) from error

    def open(self, folder: str, tls: ssl.SSLContext | None = None, seconds: float = STEP_SECONDS) -> BaseMailBox:
        """Connect, log in and open a folder for reading only.

        Raises
        ------
        OSError, imaplib.IMAP4.error, ImapToolsError
            It cannot be reached, or refuses.
        """
        box: BaseMailBox
        if self.tls:
            context = tls or ssl.create_default_context()
            box = MailBox(self.host, self.port, timeout=seconds, ssl_context=context)
        else:
            box = MailBoxUnencrypted(self.host, self.port, timeout=seconds)
        try:
            login = box.login if f"{self.user}{self.password}".isascii() else box.login_utf8
            login(self.user, self.password, initial_folder=None)
            box.folder.set(folder, readonly=True)
        except BaseException:
            box.client.shutdown()
            raise
        return box


def told(box: BaseMailBox, what: str) -> bytes:
    """Return what the server said when the folder was opened."""
    _, found = box.client.response(what)
    if not found or found[-1] is None:
        raise imaplib.IMAP4.error(f"the server names no {what}")
    value: bytes = found[-1]
    return value


def search(box: BaseMailBox, criteria: str) -> list[int]:
    return sorted(int(uid) for uid in box.uids(criteria, charset=None))


def sizes(box: BaseMailBox, uids: Sequence[int]) -> dict[int, int]:
    """Return the octets of mails, by UID; one that is gone meanwhile is missing."""
    found = {}
    for told, _ in _answers(box, uids, "(UID RFC822.SIZE)"):
        uid, size = _UID.search(told), _SIZE.search(told)
        if uid is not None and size is not None:
            found[int(uid[1])] = int(size[1])
    return dict(sorted(found.items()))


def batches(octets_of: dict[int, int]) -> Iterator[dict[int, int]]:
    """Cut mails into batches of a few megabytes; of one that is too large, only its beginning counts."""
    batch: dict[int, int] = {}
    octets = 0
    for uid, size in octets_of.items():
        weight = min(size, MAX_OCTETS)
        if batch and octets + weight > BATCH_OCTETS:
            yield batch
            batch, octets = {}, 0
        batch[uid] = size
        octets += weight
    if batch:
        yield batch


def fetch(box: BaseMailBox, wanted: dict[int, int], validity: int) -> list[Fetched]:
    """Fetch mails, without marking them as read; a mail that the server will not give out is named instead."""
    whole = [uid for uid, size in wanted.items() if size <= MAX_OCTETS]
    contents: dict[int, bytes] = {}
    try:
        contents |= _contents(box, whole, "(UID BODY.PEEK[])")
    except ImapToolsError:  # the server said NO: one of them is broken there, which one shows below
        for uid in whole:
            contents |= _contents_or_none(box, uid)
    for uid in wanted.keys() - set(whole):
        contents |= _contents(box, [uid], f"(UID BODY.PEEK[]<0.{KEPT_OCTETS}>)")
    found = []
    for uid, size in wanted.items():
        if uid in contents:
            # The size that a server names may be off by the line breaks.
            octets = size if size > MAX_OCTETS else len(contents[uid])
            found.append(Fetched(content=contents[uid], octets=octets))
        elif uid in whole and not sizes(box, [uid]):
            continue  # deleted meanwhile
        else:
            name = f"UIDVALIDITY {validity}, UID {uid}"
            error = f"the mail server does not give it out ({name}); look at it there"
            found.append(Fetched(content=name.encode(), octets=size, error=error))
    return found


def _contents_or_none(box: BaseMailBox, uid: int) -> dict[int, bytes]:
    try:
        return _contents(box, [uid], "(UID BODY.PEEK[])")
    except ImapToolsError:
        return {}


def _contents(box: BaseMailBox, uids: Sequence[int], parts: str) -> dict[int, bytes]:
    found = {}
    for told, content in _answers(box, uids, parts):
        uid = _UID.search(told)
        if uid is not None and content is not None:
            found[int(uid[1])] = content
    return found


def _answers(box: BaseMailBox, uids: Sequence[int], parts: str) -> list[tuple[bytes, bytes | None]]:
    """Fetch by UID; return what the server said of each mail, and the octets that came with it."""
    if not uids:
        return []
    status, lines = box.client.uid("FETCH", ",".join(str(uid) for uid in uids), parts)
    if status != "OK":
        raise ImapToolsError(f"FETCH was answered with {status}")
    answers: list[tuple[bytes, bytes | None]] = []
    for line in lines:
        if isinstance(line, tuple):
            answers.append((line[0], line[1]))
        elif isinstance(line, bytes) and line.strip() == b")":
            continue
        elif isinstance(line, bytes) and answers and answers[-1][1] is not None and not line[:1].isdigit():
            answers[-1] = (answers[-1][0] + line, answers[-1][1])  # what follows the octets of the same mail
        elif isinstance(line, bytes):
            answers.append((line, None))
    return answers


def imap_date(instant: datetime) -> str:
    return f"{instant.day}-{_MONTHS[instant.month - 1]}-{instant.year}"


def what_to_mend(error: BaseException, server: ImapServer, folder: str) -> str:
    """Return a sentence that names no credentials."""
    where = f"{server.host}:{server.port}"
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"the certificate of {where} is not valid for it ({error.verify_message}); mend it, or the host in IMAP_URL"
        )
    kind = type(error).__name__
    if "Login" in kind or "AUTHENTICATIONFAILED" in str(error):
        return f"{where} refuses the login; check user and password in IMAP_URL"
    if "FolderSelect" in kind:
        return f"there is no folder {folder} at {where}; write email.mailbox as the server calls it"
    if isinstance(error, OSError):
        return f"{where} cannot be reached ({error.strerror or kind}); check IMAP_URL and that the server runs"
    return f"{where} broke off the conversation ({kind})"
