"""What is written as quoted-printable is read back as it was, on short lines, also where its pieces are encoded apart."""

from __future__ import annotations

import quopri

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bot.channels.email.quoted import LINE_OCTETS, quoted_printable
from messages.joined import Joined

# What the encoding treats differently: escapes, ends of lines, and the longest line that fits.
WORDS = st.text(alphabet=st.sampled_from("a=. \t\n<ü€"), max_size=90) | st.text(max_size=90)
FULL = "x" * (LINE_OCTETS - 1)


def read(content: bytes) -> str:
    return quopri.decodestring(content).decode().replace("\r\n", "\n")


def as_read(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n").encode("utf-8", "replace").decode()


@given(pieces=st.lists(WORDS, min_size=1, max_size=5))
@example(pieces=["x" * LINE_OCTETS, "y"])
@example(pieces=[f"{FULL}x", "", " "])
@example(pieces=[f"{FULL[3:]}ü", "ü", "z"])
@example(pieces=[f"{FULL[2:]}=", "=3D", ""])
@example(pieces=["a \n", "\n.\n", " "])
def test_pieces_that_are_encoded_apart_are_read_as_one_text(pieces: list[str]) -> None:
    text = Joined.of(pieces)
    content = quoted_printable(text)
    assert content.isascii()
    assert all(len(line) <= LINE_OCTETS for line in content.split(b"\r\n"))
    assert b"\n" not in content.replace(b"\r\n", b"")
    assert not any(line.endswith((b" ", b"\t")) for line in content.split(b"\r\n"))
    assert read(content) == "".join(as_read(piece) for piece in pieces)


@given(WORDS)
def test_a_text_without_pieces_is_read_as_it_was(text: str) -> None:
    assert read(quoted_printable(text)) == as_read(text)


@pytest.mark.parametrize("text", ["", "Hello", "Grüße\nund = mehr"])
def test_a_joined_text_is_a_text(text: str) -> None:
    joined = Joined.of([text[:3], text[3:]])
    assert (joined, f"{joined}", len(joined)) == (text, text, len(text))
    assert {text: 1}[joined] == 1
