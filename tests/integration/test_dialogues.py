"""Dialogues with customers as they are written down in tests/data/dialogues: after each message, what is expected.

A dialogue that is known to go wrong says so in its file (`open`, the reason; `fails`, what is seen): it must fail in exactly that
way, so that neither a second fault nor its mending goes unnoticed.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bot.clock import ManualClock
from bot.services.conversation.conversations import Conversations, Received
from bot.services.knowledge.desk import KnowledgeDesk
from bot.store.database import Database, open_database
from messages.replies import own_words
from tests.conftest import NOW
from tests.dialogue_scripts import EVERY, Scene, Turn, write_down
from tests.integration.talk import CLASSIFIER, ENCODER, SETTINGS, Talk


@pytest.fixture(scope="module")
def desk(_migrated_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Database, KnowledgeDesk]]:
    """One database and one index for all dialogues: each has people, orders and a thread of its own."""
    file = tmp_path_factory.mktemp("dialogues") / "aftercare.db"
    shutil.copy(_migrated_file, file)
    database = open_database(f"sqlite:///{file}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(KnowledgeDesk, "classifier", CLASSIFIER)
        patch.setattr(KnowledgeDesk, "encoder", ENCODER)
        yield database, KnowledgeDesk(database, ManualClock(NOW), SETTINGS)
    database.close()


@dataclass(kw_only=True)
class ServiceScene(Scene):
    """Messages go straight to the service."""

    talk: Talk
    address: str

    def hear(self, turn: Turn, words: str) -> Received:
        if self.script.channel == "email":
            words = own_words(words).text
        if turn.by == "another":
            return self.talk.say(words, customer_id=self.other_id, sender=f"other-{self.address}")
        return self.talk.say(words, sender=self.address)

    def spoken(self, received: Received) -> str:
        return self.talk.told(received)

    def answer_as_agent(self, words: str) -> None:
        self.talk.conversations.reply_as_agent(self.conversation_id, "slack:T1:ADA", words)

    def give_back(self) -> None:
        assert self.talk.conversations.give_back(self.conversation_id, "slack:T1:ADA")


def scene(name: str, database: Database, desk: KnowledgeDesk, clock: ManualClock) -> ServiceScene:
    script = EVERY[name]
    maria, other = write_down(name, script, database, clock)
    talk = Talk(
        database,
        clock,
        Conversations(database, clock, SETTINGS, desk),
        maria if script.customer == "maria" else None,
        thread=name,
        channel=script.channel,
    )
    return ServiceScene(
        database=database,
        clock=clock,
        script=script,
        maria_id=maria,
        other_id=other,
        talk=talk,
        address=f"{name}@mail.example",
    )


@pytest.mark.parametrize("name", EVERY)
def test_a_dialogue_goes_as_it_is_written_down(
    name: str, desk: tuple[Database, KnowledgeDesk], clock: ManualClock
) -> None:
    script = EVERY[name]
    faults = list(scene(name, *desk, clock).play())
    assert faults == list(script.fails)
    if script.open is not None:
        assert faults, "goes well now: take `open` and `fails` out of its file"
        pytest.xfail(script.open)


def test_a_dialogue_fails_only_where_its_file_says_why() -> None:
    assert [name for name, script in EVERY.items() if (script.open is None) != (not script.fails)] == []
