"""The Channel contract: what the delivery engine asks of Slack, email and whatever comes next.

A channel either returns `Evidence` that the other side took the message, or raises one of three errors that
say what may be done next: `PermanentChannelError` (never again), `TransientChannelError` (it was certainly
not delivered; later), `UncertainChannelError` (nobody knows; never silently again). Everything odd about a
provider ends inside its channel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable

from bot.errors import PermanentChannelError, TransientChannelError

__all__ = [
    "Channel",
    "ChannelShutError",
    "DeadAddressError",
    "Evidence",
    "Exchange",
    "Knowledge",
    "ManyAtOnce",
    "Message",
]


class DeadAddressError(PermanentChannelError):
    """The recipient cannot be reached at this address, now or later: nothing more may be sent there."""


class ChannelShutError(TransientChannelError):
    """The channel refuses us altogether, such as by a revoked token: nothing leaves on it until somebody mends that."""


@dataclass(frozen=True, kw_only=True)
class Message:
    """One rendered message for exactly one recipient.

    Attributes
    ----------
    key : str
        `outreach:ID:ATTEMPT` or `utterance:ID:ATTEMPT`; travels with the message so that the channel can be
        asked for it later.
    address : str
        A mail address or a Slack user id; exactly one.
    text : str
        The approved words, in plain Markdown.
    html, plain : str or None
        The two rendered parts of a mail, each with its footer; other channels ignore them.
    thread : str or None
        The channel's own name of the conversation (a Slack channel id, a first Message-ID); None starts one.
    in_reply_to : str or None
        The channel's reference of the message that this one answers.
    references : tuple of str
        Earlier messages of the thread, oldest first.
    customer_key : str
        Stable, meaningless id of the customer, signed into reply and opt-out tokens.
    proactive : bool
        We write first (a check-in); False for an answer.
    automatic : bool
        No human wrote these words just now; False for an agent's own reply.
    opt_out_url : str
        The customer's own page to end contact; empty where there is none.
    campaign : str
        The playbook, for feedback loops.
    choices : mapping of str to str
        What the reader may choose by a button (name → label), in order; a channel without buttons leaves them out.
    """

    key: str
    address: str
    subject: str
    text: str
    locale: str = "en"
    html: str | None = None
    plain: str | None = None
    thread: str | None = None
    in_reply_to: str | None = None
    references: tuple[str, ...] = ()
    customer_key: str = ""
    proactive: bool = True
    automatic: bool = True
    opt_out_url: str = ""
    campaign: str = ""
    choices: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Proof that the other side took a message: its own reference and thread."""

    reference: str
    thread: str | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)


class Knowledge(StrEnum):
    """What a channel can say about a message whose fate is unknown."""

    ABSENT = "absent"  # it certainly is not there: sending again is safe
    UNKNOWN = "unknown"  # the channel cannot tell


class Channel(Protocol):
    """A way to one customer."""

    name: str

    def send(self, message: Message) -> Evidence:
        """Hand the message over; return evidence or raise a ChannelError."""

    def find(self, message: Message) -> Evidence | Knowledge:
        """Say what became of a message that may or may not have left."""

    def connected(self) -> bool:
        """Say whether the channel can be used now; cheap, for health pages."""

    def close(self) -> None:
        """Give back connections."""


class Exchange(Protocol):
    """Many messages under way on one channel, all driven by the thread that calls; only `wake` is for others.

    The channel's `close` cuts off what is under way here, too.
    """

    def begin(self, message: Message) -> None:
        """Begin to hand the message over; raises a ChannelError where that cannot even begin."""

    def ended(self, seconds: float) -> Sequence[tuple[str, Evidence | Exception]]:
        """Go on until something ended, `wake` was called or so long has passed; return keys with how each ended.

        How it ended is what `Channel.send` would have returned or raised.
        """

    def wake(self) -> None:
        """Let `ended` return soon; any thread may."""


@runtime_checkable
class ManyAtOnce(Protocol):
    """What a channel may offer beside `send`: to carry many messages at once without a thread for each."""

    def exchange(self) -> Exchange:
        """Return an exchange of the caller's own."""
