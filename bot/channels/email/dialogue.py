"""What is said to hand over one mail to one recipient, without reading or writing: whoever has the connection does that.

The envelope is accepted or refused per mail, and what a broken connection means hangs on the step: before the server
answered DATA with 354 nothing was delivered; after the final dot, until its reply, nobody knows. Where the server
allows it (RFC 2920), the three commands of the envelope go out together: one round trip instead of three.
`session.py` says it on one connection and waits, `switchboard.py` on many from one thread.
"""

from __future__ import annotations

import re
import smtplib
from collections.abc import Generator

from bot.channels.base import DeadAddressError
from bot.errors import (
    ChannelError,
    PermanentChannelError,
    TransientChannelError,
    UncertainChannelError,
)

__all__ = ["IDLE_SECONDS", "REPLY_SECONDS", "STEP_SECONDS", "Broken", "Dialogue", "Reply"]

# How long the reply to a command may take.
STEP_SECONDS = 15.0
# RFC 5321 section 4.5.3.2 allows a server ten minutes after the final dot; a minute is what relays need in practice,
# and what takes longer is shown as uncertain rather than blocking everybody behind it.
REPLY_SECONDS = 60.0
# Servers close idle connections after minutes; one older than this is not believed to be there.
IDLE_SECONDS = 20.0
# RFC 3463: bad mailbox, bad system, bad syntax, ambiguous, moved, no MX; 5.1.10 null MX; 5.2.1 disabled.
_DEAD_CODES = re.compile(r"5\.(?:1\.(?:1|2|3|4|6|10)|2\.1)\b")
_ANY_ENHANCED = re.compile(r"[245]\.\d{1,3}\.\d{1,3}\b")
_DEAD_WITHOUT_ENHANCED = frozenset({550, 551, 553})
# Refusals without an enhanced code that are about us, not about the address: Exim's, qmail's and others' words.
_NOT_THE_ADDRESS = re.compile(
    r"relay|sender|authenti|polic|spam|block|denied|prohibit|verif|rcpthosts|#5\.7", re.IGNORECASE
)
_UNPRINTABLE = re.compile(r"[^ -~]+")  # a NUL, say, which PostgreSQL's JSON does not take

Reply = tuple[int, bytes]


class Broken(TransientChannelError):
    """The connection broke before the server took the mail."""


class Dialogue:
    """The dialogue for one mail, on a connection that has greeted.

    Parameters
    ----------
    content : bytes
        The whole mail with CRLF line ends, ending in one.
    sender, recipient : str
        Addresses that were found sound.
    sized, pipelined : bool
        What the server offers: SIZE (RFC 1870), PIPELINING (RFC 2920).

    Attributes
    ----------
    patience : float
        Seconds that the reply to what was yielded last may take.
    usable : bool
        Whether the connection can carry another mail afterwards.
    """

    def __init__(self, content: bytes, sender: str, recipient: str, *, sized: bool, pipelined: bool) -> None:
        self._content = content
        size = f" SIZE={len(content)}" if sized else ""
        self._commands = [
            f"MAIL FROM:<{sender}>{size}\r\n".encode("ascii"),
            f"RCPT TO:<{recipient}>\r\n".encode("ascii"),
            b"DATA\r\n",
        ]
        self._pipelined = pipelined
        self.patience = STEP_SECONDS
        self.usable = True

    def steps(self) -> Generator[bytes, Reply, str]:
        """Yield what is to be sent, perhaps nothing, to be given the next reply; return the server's last words.

        What broke the connection (OSError, SMTPException) is thrown in where a reply was expected.

        Raises
        ------
        ChannelError
            See `bot.channels.base`.
        """
        try:
            yield from self._envelope()
        except ChannelError:
            if self.usable:  # a refusal shall not touch the next recipient
                yield from self._begin_again()
            raise
        except (OSError, smtplib.SMTPException) as error:
            self.usable = False
            raise Broken(
                f"the connection to the mail server broke before it took the mail ({type(error).__name__})"
            ) from error
        self.patience = REPLY_SECONDS
        try:
            code, words = yield _dotted(self._content) + b".\r\n"
        except (OSError, smtplib.SMTPException) as error:
            self.usable = False
            raise UncertainChannelError(
                f"the connection ended after the mail was handed over and before the reply ({type(error).__name__})"
            ) from error
        self.usable = code != 421 and 200 <= code < 600
        if not 200 <= code < 600:
            raise UncertainChannelError(f"the mail server ended with the unknown code {code}")
        _require((code, words), "the mail")
        return f"{code} {_words(words)}"[:200]

    def _envelope(self) -> Generator[bytes, Reply, None]:
        """Bring the dialogue to 354; whatever breaks in here broke before the server took the mail."""
        if not self._pipelined:
            for number, command in enumerate(self._commands):
                self._require_step(number, (yield command))
            return
        replies = [(yield b"".join(self._commands)), (yield b""), (yield b"")]
        if replies[2][0] == 354 and not all(_positive(reply) for reply in replies[:2]):
            # It waits for a mail that it has no recipient for; an ended connection tells it that none comes.
            self.usable = False
        for number, reply in enumerate(replies):
            self._require_step(number, reply)

    def _require_step(self, number: int, reply: Reply) -> None:
        """Raise what the reply to MAIL (0), RCPT (1) or DATA (2) means, unless it lets us go on."""
        step = ("the sender", "the recipient", "the mail")[number]
        code = reply[0]
        if not 200 <= code < 600 or (number == 2 and 200 <= code < 400 and code != 354):
            # Nobody knows what it waits for now; a further command might be taken for words of the mail.
            self.usable = False
            raise TransientChannelError(f"the mail server answered {step} with the unknown code {code}")
        _require(reply, step, whose=number)

    def _begin_again(self) -> Generator[bytes, Reply, None]:
        try:
            code, _ = yield b"RSET\r\n"
            self.usable = code == 250
        except (OSError, smtplib.SMTPException):
            self.usable = False


def _dotted(content: bytes) -> bytes:
    """Double each dot that begins a line (RFC 5321 section 4.5.2)."""
    doubled = content.replace(b"\n.", b"\n..")
    return b"." + doubled if doubled.startswith(b".") else doubled


def _positive(reply: Reply) -> bool:
    return 200 <= reply[0] < 400


def _require(reply: Reply, subject: str, *, whose: int = 2) -> None:
    """Raise what a reply of the server means, unless it is positive (RFC 5321 section 4.2.1).

    Parameters
    ----------
    whose : int
        0: the sender's command, whose refusal says nothing about the recipient; 1: the recipient's; 2: the mail's.
    """
    if _positive(reply):
        return
    code, words = reply
    said = _words(words)
    enhanced = _ANY_ENHANCED.match(said)
    reason = f"the mail server refused {subject}: {code}{f' {enhanced.group()}' if enhanced else ''}"
    if code < 500:
        raise TransientChannelError(reason)
    bare = enhanced is None and code in _DEAD_WITHOUT_ENHANCED and not _NOT_THE_ADDRESS.search(said)
    if whose and (_DEAD_CODES.match(said) or (whose == 1 and bare)):
        raise DeadAddressError(reason)
    raise PermanentChannelError(reason)


def _words(words: bytes) -> str:
    return " ".join(_UNPRINTABLE.sub(" ", words.decode("ascii", "replace")).split())
