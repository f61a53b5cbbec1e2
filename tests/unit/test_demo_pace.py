"""How the demo's day goes by: pauses that Enter cuts short, and a word that asks for something else."""

from __future__ import annotations

import io
import os
import socket
from collections.abc import Callable, Iterator

import pytest

from bot.demo.pace import LIFT, Keyboard, RealPace
from bot.demo.ports import LOOPBACK, free_port


class Waited:
    """Lets no time pass, and counts what would have."""

    def __init__(self, ended_after: float = float("inf")) -> None:
        self.seconds = 0.0
        self._ended_after = ended_after

    def __call__(self, seconds: float) -> bool:
        self.seconds += seconds
        return self.seconds >= self._ended_after


@pytest.fixture
def typing() -> Iterator[Callable[..., Keyboard]]:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as typed:

        def type_lines(*lines: str) -> Keyboard:
            typed.write("".join(f"{line}\n" for line in lines))
            typed.flush()
            return Keyboard(reading)

        yield type_lines
    os.close(reading)


def test_a_pause_lasts_as_long_as_it_is_stretched(typing: Callable[..., Keyboard]) -> None:
    for factor in (1.0, 0.25, 0.0):
        waited = Waited()
        pace = RealPace(waited, typing(), factor)
        assert pace.pause(40)
        assert pace.lasts(40) == 40 * factor
        assert waited.seconds == pytest.approx(40 * factor)


def test_each_enter_cuts_one_pause_short(typing: Callable[..., Keyboard]) -> None:
    waited = Waited()
    pace = RealPace(waited, typing("", ""))
    assert pace.pause(40)
    assert pace.pause(40)
    assert waited.seconds < 1
    assert pace.pause(40)
    assert waited.seconds > 40


def test_a_word_ends_the_story_until_it_was_answered(typing: Callable[..., Keyboard]) -> None:
    keyboard = typing(f"  {LIFT.upper()} ")
    pace = RealPace(Waited(), keyboard)
    assert not pace.pause(40)
    assert keyboard.asks_for(LIFT)
    keyboard.answered()
    assert pace.pause(1)


def test_an_unknown_word_changes_nothing(typing: Callable[..., Keyboard]) -> None:
    waited = Waited()
    assert RealPace(waited, typing("help", "quit")).pause(5)
    assert waited.seconds == pytest.approx(5)


def test_ctrl_c_ends_every_wait(typing: Callable[..., Keyboard]) -> None:
    assert not RealPace(Waited(ended_after=3), typing()).pause(40)
    assert not RealPace(Waited(ended_after=0.1), typing()).wait(0.5)
    assert RealPace(Waited(), typing()).wait(0.5)


def test_a_line_that_is_typed_in_two_goes_is_one_word() -> None:
    reading, writing = os.pipe()
    keyboard = Keyboard(reading)
    os.write(writing, b"li")
    assert not keyboard.asks_for(LIFT)
    assert not keyboard.entered()
    os.write(writing, b"ft\n")
    assert keyboard.asks_for(LIFT)
    os.close(writing)
    assert not keyboard.entered()
    assert not keyboard.present  # the terminal is gone, and nothing waits for it
    os.close(reading)


def test_nothing_is_read_where_nobody_sits_at_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("\n\n"))
    keyboard = Keyboard.at_terminal()
    assert not keyboard.present
    assert not keyboard.entered()


@pytest.mark.parametrize("taken_at", ["", LOOPBACK], ids=["everywhere", "loopback"])
def test_a_port_in_use_leads_to_another_free_one(taken_at: str) -> None:
    with socket.socket() as taken:
        taken.bind((taken_at, 0))
        taken.listen(1)
        port = taken.getsockname()[1]
        other = free_port(port)
        assert other != port
    assert free_port(port) == port
    with socket.socket() as listener:
        listener.bind((LOOPBACK, other))  # it was given back
