"""Every written dialogue at a running Slack: real messages, clicks and modals, and what the customer sees of the answers."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa

from bot.clock import ManualClock
from bot.services.conversation.conversations import Received
from bot.services.knowledge.desk import KnowledgeDesk
from bot.settings import Database as DatabaseSettings
from bot.settings import Rates
from bot.store.shop import link_slack_user
from bot.store.tables import metadata
from bot.wiring import App
from messages.choices import Choice
from tests.conftest import NOW
from tests.dialogue_scripts import EVERY, Scene, Turn, write_down
from tests.integration.talk import CLASSIFIER, ENCODER
from tests.peers.local_slack import REVIEW_CHANNEL, TEAM, LocalSlack, Person, shown_text, start_local_slack, until
from tests.slack_world import ADA, AGENTS, slack_settings

pytestmark = pytest.mark.peer
PATIENCE = 60.0  # the first question builds the knowledge index
ACTIONS = {Choice.HELPED: "answer_helped", Choice.UNHELPFUL: "answer_unhelpful", Choice.HUMAN: "answer_human"}
# In Slack nobody can write in a conversation of others, or quote a mail below: those are played by mail.
PLAYED = {
    name: script
    for name, script in EVERY.items()
    if script.channel == "slack" and not any(turn.by for turn in script.talk)
}
PEOPLE = {name: Person(id=f"U1D{n:03}", name=f"c{n}", real_name=f"Customer {n}") for n, name in enumerate(PLAYED)}


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalSlack]:
    folder = tmp_path_factory.mktemp("slack")
    running = start_local_slack(folder, [*AGENTS, *PEOPLE.values()], members=[agent.id for agent in AGENTS])
    yield running
    running.stop()


@pytest.fixture(scope="module")
def app(peer: LocalSlack, tmp_path_factory: pytest.TempPathFactory, _migrated_file: Path) -> Iterator[App]:
    """One shop for all dialogues: each has people, orders and a chat of its own."""
    folder = tmp_path_factory.mktemp("dialogues")
    shutil.copy(_migrated_file, folder / "aftercare.db")
    url = f"sqlite:///{folder / 'aftercare.db'}"
    settings = slack_settings(peer)
    # The clock is set back for each dialogue, and a rate counts by the clock.
    unpaced = settings.delivery.model_copy(update={"per_second": Rates(slack=0)})
    own = {"database": DatabaseSettings(url=url), "home": folder, "delivery": unpaced}
    settings = settings.model_copy(update=own)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(KnowledgeDesk, "classifier", CLASSIFIER)
        patch.setattr(KnowledgeDesk, "encoder", ENCODER)
        running = App(settings, ManualClock(NOW))
        assert running.slack is not None
        running.slack.start()
        yield running
        running.slack.stop()
        running.close()


@dataclass(kw_only=True)
class SlackScene(Scene):
    """The customer writes to the app in Slack, and an agent answers in the review channel."""

    peer: LocalSlack
    user: str

    def hear(self, turn: Turn, words: str) -> Received:
        channel = self.peer.dm(self.user)
        if turn.presses is None:
            key = f"{channel}:{self.peer.say(self.user, words)['ts']}"
        else:
            answer = [m for m in self.peer.messages(channel) if m.get("bot_id")][-1]
            self.peer.click(self.user, answer, ACTIONS[turn.presses])
            key = f"{channel}:{answer['ts']}:{turn.presses}"
        return until(lambda: self._became(key), f"what became of {turn}", PATIENCE)

    def _became(self, key: str) -> Received | None:
        rows = self.rows("utterances")
        heard = next((row for row in rows if row.external_id == key), None)
        if heard is None or heard.decision is None:
            return None
        answers = tuple(row.id for row in rows if row.external_id == f"bot:{heard.id}")
        if any(one not in self._seen() for one in answers):
            return None
        return self.received(heard, answers)

    def spoken(self, received: Received) -> str:
        seen = self._seen()
        assert all(len(seen[one]) == 1 for one in received.utterance_ids), "an answer stands in the chat twice"
        return "\n".join(text for one in received.utterance_ids for text in seen[one])

    def _seen(self) -> dict[int, list[str]]:
        """What stands in the customer's chat, by utterance, without buttons."""
        found: dict[int, list[str]] = {}
        for message in self.peer.messages(self.peer.dm(self.user)):
            blocks = message.get("blocks") or [{}]
            kind, _, rest = str(blocks[0].get("block_id", "")).partition(":")
            if kind == "utterance":
                words = [block for block in blocks if block["type"] == "section"]
                found.setdefault(int(rest.partition(":")[0]), []).append(shown_text({"blocks": words}))
        return found

    def answer_as_agent(self, words: str) -> None:
        with self.peer.browser() as browser:
            self.peer.click(ADA, self._handover(), "handoff_reply")
            browser.modal("handoff_reply")
            browser.submit(ADA, reply={"text": {"type": "plain_text_input", "value": words}})
            assert browser.settled() == {}
        until(lambda: [text for texts in self._seen().values() for text in texts if text == words], "the agent's words")

    def give_back(self) -> None:
        self.peer.click(ADA, self._handover(), "handoff_give_back")

        def given() -> bool:
            conversation = next(row for row in self.rows("conversations") if row.id == self.conversation_id)
            return bool(conversation.state == "bot")

        until(given, "the conversation is the bot's again")

    def _handover(self) -> dict[str, object]:
        (number,) = [
            row.id
            for row in self.rows("handoffs")
            if row.conversation_id == self.conversation_id and row.state in ("open", "taken")
        ]
        return until(
            lambda: next((m for m in self.peer.messages(REVIEW_CHANNEL) if _block(m) == f"handoff:{number}"), None),
            "the hand-over in the review channel",
        )


def _block(message: dict[str, object]) -> str:
    blocks = message.get("blocks")
    return str(blocks[0].get("block_id", "")) if isinstance(blocks, list) and blocks else ""


@pytest.mark.parametrize("name", PLAYED)
def test_a_dialogue_in_slack_goes_as_it_is_written_down(name: str, app: App, peer: LocalSlack) -> None:
    script, clock = PLAYED[name], app.clock
    assert isinstance(clock, ManualClock)
    clock.set(NOW)  # the scripts name dates
    maria, other = write_down(name, script, app.database, clock)
    user = PEOPLE[name].id
    if script.customer == "maria":
        with app.database.write() as connection:
            link_slack_user(connection, maria, TEAM, user)
    scene = SlackScene(
        database=app.database, clock=clock, script=script, maria_id=maria, other_id=other, peer=peer, user=user
    )
    faults = list(scene.play())
    assert faults == list(script.fails)
    if script.open is not None:
        pytest.xfail(script.open)


def test_nothing_is_left_undone(app: App) -> None:
    events = metadata.tables["events"]

    def done() -> bool:
        with app.database.read() as connection:
            return connection.execute(sa.select(events.c.id).where(events.c.state == "received")).all() == []

    until(done, "an end of all that came in")
