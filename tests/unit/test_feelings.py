"""How a message sounds: sentiment where its language was learned, urgency from plain hints."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from messages.feelings import feeling
from messages.languages import spoken


@settings(max_examples=15, deadline=None)
@given(st.text(max_size=200))
def test_every_text_has_a_feeling_within_its_bounds(text):
    found = feeling(text)
    assert 0.0 <= found.urgency <= 1.0
    assert found.sentiment is None or -1.0 <= found.sentiment <= 1.0


@settings(max_examples=15, deadline=None)
@given(st.text(max_size=80))
def test_asking_for_haste_never_makes_a_message_less_urgent(text):
    assert feeling(f"{text} this is urgent").urgency >= feeling(text).urgency


def test_praise_is_better_than_anger():
    praise = feeling("I love this blender, it works great and the support was wonderful!").sentiment
    anger = feeling(
        "This is the worst piece of junk I ever bought, it broke after two days and I am disgusted."
    ).sentiment
    assert praise > 0.2 > -0.2 > anger


def test_danger_is_as_urgent_as_it_gets():
    assert feeling("there is smoke coming out of the charger").urgency == 1.0


@pytest.mark.parametrize(
    "text",
    [
        "I need this by Friday, please answer as soon as possible",
        "ich brauche das dringend bis morgen",
        "c'est urgent, l'anniversaire est demain",
        "lo necesito cuanto antes, la boda es mañana",
    ],
)
def test_haste_is_understood_in_four_languages(text):
    assert feeling(text).urgency >= 0.5 > feeling("How often should I clean the filter?").urgency


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Where is my order, it should have been here last week", "en"),
        ("Ich habe noch keine Rechnung bekommen", "de"),
        ("Bonjour, je n'ai pas reçu mon colis", "fr"),
        ("Hola, no me ha llegado el pedido y tengo prisa", "es"),
        ("VAC-200 E04", None),
        ("", None),
    ],
)
def test_the_commonest_words_show_the_language(text, language):
    assert spoken(text) == language


def test_nothing_is_said_of_sentiment_in_a_language_that_was_not_learned():
    assert feeling("Das ist das schlechteste Gerät, das ich je gekauft habe").sentiment is None
    assert feeling("   ").sentiment is None
