"""The tour fails where a step does not show what it must."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from bot.demo.narration import Narrator
from bot.demo.talking import AGENT_REPLY, Exchange, talk


class ScriptedDialogue:
    """A customer and a bot whose words are given."""

    label = "writes"

    def __init__(self, first: Exchange, second: Exchange, reply: str = AGENT_REPLY) -> None:
        self._exchanges = [first, second]
        self._reply = reply

    def ask(self, text: str, awaited: str | None) -> Exchange:
        return self._exchanges.pop(0)

    def agent_replies(self, text: str) -> str:
        return self._reply


SOURCED = Exchange(answer="It arrives soon. From our help article “Late parcels”.")
HANDED_OVER = Exchange(answer="I do not know.", handed_over="Anna needs a human")


@pytest.mark.parametrize(
    ("dialogue", "unmet"),
    [
        (ScriptedDialogue(SOURCED, HANDED_OVER), None),
        (ScriptedDialogue(Exchange(answer="It arrives soon."), HANDED_OVER), "names its source"),
        (ScriptedDialogue(Exchange(answer=SOURCED.answer, handed_over="x"), HANDED_OVER), "no human was needed"),
        (ScriptedDialogue(SOURCED, Exchange(answer="Yes, surely!")), "does not guess"),
        (ScriptedDialogue(SOURCED, HANDED_OVER, reply=""), "own words reached the customer"),
    ],
)
def test_the_dialogue_is_held_to_what_it_must_show(dialogue: ScriptedDialogue, unmet: str | None) -> None:
    narrator = Narrator(Console(file=io.StringIO()))
    talk(dialogue, "Anna", "Where is it?", "Late parcels", "Is it kosher?", narrator)
    assert narrator.close() is (unmet is None)
    assert [claim for claim in narrator.unmet if unmet is None or unmet not in claim] == []
    assert len(narrator.unmet) == (0 if unmet is None else 1)
