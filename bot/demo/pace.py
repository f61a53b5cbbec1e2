"""How quickly the demo's day goes by: pauses in real time, cut short by Enter, ended by Ctrl-C.

What happens in between is `bot.demo.day`'s business.
"""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Callable
from typing import Protocol

__all__ = ["LIFT", "Keyboard", "Pace", "RealPace"]

# What may be typed: fourteen days pass, and what the check-ins changed is measured.
LIFT = "lift"
LOOK_SECONDS = 0.2


class Pace(Protocol):
    """Lets time pass."""

    def lasts(self, seconds: float) -> float:
        """Return how many seconds a pause of so many really takes."""

    def pause(self, seconds: float) -> bool:
        """Wait for the person to have looked; False: they want something else."""

    def wait(self, seconds: float) -> bool:
        """Wait for the bot to have worked; False: the person asked to end."""


class Keyboard:
    """What is typed at the terminal: Enter goes on, a word asks for something else.

    It is looked at, never waited for: a thread that waits for a key would keep the process from ending.

    Parameters
    ----------
    descriptor : int or None
        What lines are read from; None: nobody sits there.
    """

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor
        self._begun = ""
        self._entered = 0
        self._word = ""

    @classmethod
    def at_terminal(cls) -> Keyboard:
        """Return the keyboard of this process's terminal, if it has one."""
        return cls(sys.stdin.fileno() if sys.stdin is not None and sys.stdin.isatty() else None)

    @property
    def present(self) -> bool:
        """Whether anything can be typed at all."""
        return self._descriptor is not None

    def entered(self) -> bool:
        """Say, once each time, whether Enter alone was pressed."""
        self._look()
        if not self._entered:
            return False
        self._entered -= 1
        return True

    def asks_for(self, word: str) -> bool:
        """Say whether a word stands that was typed."""
        self._look()
        return self._word == word

    def answered(self) -> None:
        """Forget the word: what it asked for was done."""
        self._word = ""

    def _look(self) -> None:
        while self._descriptor is not None and select.select([self._descriptor], [], [], 0)[0]:
            read = os.read(self._descriptor, 1024)
            if not read:
                self._descriptor = None  # the terminal was closed
            *lines, self._begun = (self._begun + read.decode("utf-8", "replace")).split("\n")
            for line in lines:
                if word := line.strip().casefold():
                    self._word = word
                else:
                    self._entered += 1


class RealPace:
    """Real seconds.

    Parameters
    ----------
    ended : callable
        Waits for up to some seconds; True once the person asked to end.
    factor : float
        Stretches (or, below 1, shortens) every pause.
    """

    def __init__(self, ended: Callable[[float], bool], keyboard: Keyboard, factor: float = 1.0) -> None:
        self._ended = ended
        self._keyboard = keyboard
        self._factor = factor

    def lasts(self, seconds: float) -> float:
        return seconds * self._factor

    def pause(self, seconds: float) -> bool:
        left = self.lasts(seconds)
        while left > 0:
            if self._ended(min(left, LOOK_SECONDS)):
                return False
            if self._keyboard.asks_for(LIFT):
                return False
            if self._keyboard.entered():
                break
            left -= LOOK_SECONDS
        return True

    def wait(self, seconds: float) -> bool:
        return not self._ended(seconds)
