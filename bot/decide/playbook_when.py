"""What must have happened, or not have happened, since a step was sent for another one to follow."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

__all__ = ["ANSWERED", "SAID", "Recorded", "When"]

# The conditions that are one word; each may begin with `not_`.
SAID = {
    "replied": frozenset({"reply"}),
    "activated": frozenset({"activated", "used"}),
    "ordered": frozenset({"placed"}),
    "answered": frozenset({"reply", "csat", "nps", "review", "goal", "activated"}),
    "complained": frozenset({"complaint", "ticket_opened", "return_requested"}),
}
# Ratings that a condition may put a border to: `csat_at_most: 2`.
ANSWERED = ("csat", "nps", "review")


class Recorded(Protocol):
    """One touchpoint, as far as a condition looks at it."""

    @property
    def kind(self) -> str: ...

    @property
    def value(self) -> float | None: ...


@dataclass(frozen=True, kw_only=True)
class When:
    """A condition on what was recorded since the step before was sent.

    Attributes
    ----------
    kinds : frozenset of str
        Any of these kinds of touchpoint.
    happened : bool
        Whether one must have happened, or none may have.
    at_least, at_most : float or None
        Only those with such a value count.
    """

    kinds: frozenset[str]
    happened: bool = True
    at_least: float | None = None
    at_most: float | None = None

    def holds(self, since: Iterable[Recorded]) -> bool:
        """Say whether it holds, by what was recorded since."""
        return any(self._counts(one) for one in since) is self.happened

    def _counts(self, one: Recorded) -> bool:
        if one.kind not in self.kinds:
            return False
        if self.at_least is None and self.at_most is None:
            return True
        if one.value is None:
            return False
        return (self.at_least is None or one.value >= self.at_least) and (
            self.at_most is None or one.value <= self.at_most
        )
