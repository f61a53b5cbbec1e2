"""The tone lint: our own words pass it, what it should catch is caught."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messages.catalogue import CHANNELS, LOCALES, Catalogue
from messages.tone import RemarkKind, check_tone

CATALOGUE = Catalogue.load()
VALUES = {"line": "Anna", "text": "Rinse it under cold water.", "url": "https://shop.example/help"}


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize("name", CATALOGUE.names)
def test_every_shipped_message_passes(name: str, channel: str, locale: str) -> None:
    meta = CATALOGUE.meta(name)
    values = {value: VALUES[kind] for value, kind in meta.values.items()}
    text = CATALOGUE.render_draft(name, locale, channel, values).text
    assert check_tone(text, greeting=meta.proactive) == []


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Hello, get a discount today.", RemarkKind.FORBIDDEN),
        ("Hallo, jetzt kaufen.", RemarkKind.FORBIDDEN),
        ("Hello, how nice!", RemarkKind.EXCLAMATION),
        ("Hello. " + "A short one. " * 200, RemarkKind.LONG),
        ("Hello, " + "and so on " * 20, RemarkKind.LONG_SENTENCE),
        ("Your parcel is late.", RemarkKind.GREETING),
        ("Hello, is it there? Is it fine?", RemarkKind.QUESTIONS),
        ("Hello, IMPORTANT news.", RemarkKind.SHOUTING),
    ],
)
def test_what_should_be_remarked_is(text: str, kind: RemarkKind) -> None:
    assert kind in {remark.kind for remark in check_tone(text)}


def test_an_answer_needs_no_greeting_and_a_link_is_no_sentence() -> None:
    assert check_tone("See https://shop.example/HELLO?x=1!", greeting=False) == []


@given(st.text())
def test_any_text_can_be_checked(text: str) -> None:
    assert len(check_tone(text)) < 50
