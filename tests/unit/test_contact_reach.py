"""Who wants no more messages at all is told apart from who wants to leave one channel."""

from __future__ import annotations

import pytest

from messages.contact_reach import ends_every_channel


@pytest.mark.parametrize(
    "words",
    [
        "No more messages, please.",
        "Please don’t contact me again",
        "Leave me alone!",
        "Bitte keine weiteren Nachrichten",
        "Lassen Sie mich in Ruhe",
        "Ne me contactez plus.",
        "No quiero más mensajes",
        "Não quero mais mensagens",
    ],
)
def test_words_about_every_message_reach_every_channel(words: str) -> None:
    assert ends_every_channel(words)


@pytest.mark.parametrize(
    "words",
    [
        "STOP",
        "Please stop messaging me",
        "Unsubscribe",
        "Remove me from this list",
        "Abmelden",
        "Quiero más mensajes",
        "",
    ],
)
def test_a_bare_word_reaches_the_channel_that_it_came_by(words: str) -> None:
    assert not ends_every_channel(words)
