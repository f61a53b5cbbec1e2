"""Messages in the review channel that stand for something other than a check-in or a conversation: what they have in common.

`desk` posts them, keeps them up to date and finds them again after a crash; what they say is in `offers` and `pattern_board`, what
their buttons do in `board_actions`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from bot.channels.slack.cards import Rendered
from bot.channels.slack.identity import Roster
from bot.channels.slack.text import escape, one_line
from bot.decide.autonomy import AFTERCARE

__all__ = ["Board", "actor_named"]


class Board(Protocol):
    """One kind of message.

    Attributes
    ----------
    purpose : str
        How the table of posts calls it.
    """

    purpose: str

    def drawn(self) -> Sequence[tuple[int, Rendered]]:
        """Return what shall stand in the channel now, by subject; what has ended and is not to be touched is left out."""

    def posted(self, subject: int) -> None:
        """Take note that one was posted or drawn anew."""


def actor_named(actor: str | None, roster: Roster) -> str:
    """Name whoever did something: an agent, somebody on the command line, or the bot itself."""
    kind, _, name = (actor or "").partition(":")
    if kind == "cli":
        return f"{escape(one_line(name))} (command line)"
    return "Aftercare" if actor in (AFTERCARE, "system", "bot", None) else roster.named(actor)
