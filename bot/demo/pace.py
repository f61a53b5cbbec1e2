"""How quickly the demo's day goes by: pauses in real time, cut short by Enter, ended by Ctrl-C.

What happens in between is `bot.demo.day`'s business.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Protocol, TextIO

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

    Parameters
    ----------
    stream : TextIO, optional
        What is read; else the terminal, where somebody sits at one.

    Attributes
    ----------
    present : bool
        Whether anything can be typed at all.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._entered: SimpleQueue[None] = SimpleQueue()
        self._stream = stream or sys.stdin
        self._word = ""
        self.present = stream is not None or (self._stream is not None and self._stream.isatty())

    def start(self) -> None:
        """Begin to read."""
        if self.present:
            threading.Thread(target=self._read, name="keyboard", daemon=True).start()

    def entered(self) -> bool:
        """Say, once each time, whether Enter alone was pressed."""
        try:
            self._entered.get_nowait()
        except Empty:
            return False
        return True

    def asks_for(self, word: str) -> bool:
        """Say whether a word stands that was typed."""
        return self._word == word

    def answered(self) -> None:
        """Forget the word: what it asked for was done."""
        self._word = ""

    def _read(self) -> None:
        for line in self._stream:
            if word := line.strip().casefold():
                self._word = word
            else:
                self._entered.put(None)


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
