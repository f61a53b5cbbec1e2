"""Whether the mailbox of replies and bounces can be read: connect, log in, open the folder, leave; and what to mend.

Nothing is marked, fetched or changed. How to reach it is `imap.py`'s business, watching it `mailbox.py`'s.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass

from bot.channels.email.imap import BROKEN, ImapServer, what_to_mend
from bot.errors import TransientChannelError

__all__ = ["MailboxProof", "prove_mailbox"]


@dataclass(frozen=True, kw_only=True)
class MailboxProof:
    """What was found.

    Attributes
    ----------
    idle : bool
        The server says by itself when mail arrives (RFC 2177); else it must be asked again and again.
    """

    place: str
    tls: bool
    idle: bool


def prove_mailbox(url: str, folder: str, tls: ssl.SSLContext | None = None, seconds: float = 15.0) -> MailboxProof:
    """Go as far as one can without touching a mail.

    Parameters
    ----------
    url : str
        IMAP_URL.
    seconds : float
        How long each step may take.

    Raises
    ------
    ConfigurationError
        The URL is not usable.
    TransientChannelError
        Saying what to mend.
    """
    server = ImapServer.from_url(url)
    try:
        box = server.open(folder, tls, seconds)
        try:
            _, offered = box.client.capability()  # some servers name IDLE only to those who have logged in
        finally:
            box.client.shutdown()
    except BROKEN as error:
        raise TransientChannelError(what_to_mend(error, server, folder)) from error
    idle = b"IDLE" in b" ".join(one for one in offered if one).upper().split()
    return MailboxProof(place=f"{server.host}:{server.port}", tls=server.tls, idle=idle)
