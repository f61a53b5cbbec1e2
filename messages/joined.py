"""A text that knows of which pieces it was joined, and which of them many texts share.

Whoever encodes many such texts need do the shared pieces only once. To everybody else it is a text like any other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

__all__ = ["Joined"]


class Joined(str):
    """A text made of pieces: shared ones at even places, its own ones between them.

    Attributes
    ----------
    pieces : sequence of str
        Joined, they are the text.
    """

    __slots__ = ("pieces",)
    pieces: Sequence[str]

    @classmethod
    def of(cls, pieces: Iterable[str]) -> Joined:
        """Join pieces."""
        kept = tuple(pieces)
        made = cls("".join(kept))
        made.pieces = kept
        return made
