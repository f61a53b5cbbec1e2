"""When a customer has no patience left for a program: one pure function over how they sound and what was tried already."""

from __future__ import annotations

__all__ = ["has_had_enough"]

# Of -1 to 1, set by hand on messages of both kinds: what is only a question about a thing sounds like -0.2, plain anger like -0.6.
UPSET, FURIOUS = -0.45, -0.65
# As most messages about something that is broken sound, whoever writes them.
TROUBLED = -0.3
# Of 0 to 1: more than one hint of haste; a day that is named is one.
PRESSED = 0.8


def has_had_enough(sentiment: float | None, urgency: float, tries: int, *, asks_back: bool) -> bool:
    """Say whether a human shall take over instead of another answer or question back.

    Parameters
    ----------
    sentiment : float or None
        How the message sounds; None where nobody can tell, and then only haste speaks.
    tries : int
        How often the bot answered or asked back lately without having been told that it helped.
    asks_back : bool
        The bot would ask a question back now.
    """
    felt = 0.0 if sentiment is None else sentiment
    if tries >= 1 and (felt <= UPSET or urgency >= PRESSED):
        return True
    # A third try for somebody with a trouble is one too many; a question back to somebody furious is, too.
    return (tries >= 2 and felt <= TROUBLED) or (asks_back and felt <= FURIOUS)
