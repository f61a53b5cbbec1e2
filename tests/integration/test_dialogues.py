"""Dialogues with customers as they are written down in tests/data/dialogues: after each message, what is expected.

A dialogue that is known to go wrong says so in its file (`open`, the reason; `fails`, what is seen): it must fail in exactly that
way, so that neither a second fault nor its mending goes unnoticed.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel, ConfigDict

from bot.clock import ManualClock
from bot.services.conversation.conversations import Conversations, Received
from bot.services.knowledge.desk import KnowledgeDesk
from bot.store.database import Database, open_database
from messages.choices import Choice, said
from messages.replies import own_words
from tests.conftest import NOW
from tests.integration.shop_rows import add_customer, add_order, add_touchpoint, insert
from tests.integration.talk import CLASSIFIER, ENCODER, SETTINGS, Talk

SCRIPTS = Path(__file__).parents[1] / "data" / "dialogues"
ORDER_DATES = ("shipped", "out_for_delivery", "exception", "delivered", "cancelled")
# Stands in no reply, whatever is asked: raw templates, and the other customer's order.
NEVER = ("{{", "{%", "None", "B2000")
PROGRAM = ("computer program", "Computerprogramm")


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Order(Strict):
    """One order; days count from now."""

    placed: float
    promised: float | None = None
    shipped: float | None = None
    out_for_delivery: float | None = None
    exception: float | None = None
    delivered: float | None = None
    cancelled: float | None = None
    product: str | None = None


class Turn(Strict):
    """One message of the customer (or a word of the agent), and what is expected to follow.

    `cites` is the article or a choice of articles, `reason` that of the hand-over, `quiet` says that nothing is written.
    """

    says: str | None = None
    presses: Choice | None = None
    agent: str | None = None
    given_back: bool = False
    by: str | None = None
    times: int = 1
    after_days: float = 0
    expects: str | tuple[str, ...] = ()
    cites: str | tuple[str, ...] = ()
    reason: str | None = None
    urgent: bool = False
    quiet: bool = False
    holds: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()


class Script(Strict):
    """A dialogue."""

    who: str
    channel: str = "slack"
    customer: str = "maria"
    orders: dict[str, Order] = {}
    talk: tuple[Turn, ...]
    open: str | None = None
    fails: tuple[str, ...] = ()


def _scripts() -> dict[str, Script]:
    read: dict[str, Any] = {}
    for file in sorted(SCRIPTS.glob("*.yaml")):
        named = yaml.safe_load(file.read_text(encoding="utf-8"))
        assert not read.keys() & named.keys(), f"{file.name} repeats a name"
        read |= named
    return {name: Script.model_validate(script) for name, script in read.items()}


EVERY = _scripts()


@dataclass(kw_only=True)
class Scene:
    """The people and orders of a script, and the talk between them and the bot."""

    talk: Talk
    address: str
    other_id: int
    conversation_id: int = 0

    def play(self, script: Script) -> Iterator[str]:
        """Yield what goes otherwise than expected, such as `2: handoff (no_answer), not answer`."""
        for number, turn in enumerate(script.talk, 1):
            self.talk.clock.advance(timedelta(minutes=1, days=turn.after_days))
            if turn.agent is not None:
                self.talk.conversations.reply_as_agent(self.conversation_id, "slack:T1:ADA", turn.agent)
            elif turn.given_back:
                assert self.talk.conversations.give_back(self.conversation_id, "slack:T1:ADA")
            else:
                received = self._hear(script, turn)
                self.conversation_id = received.conversation_id
                yield from (f"{number}: {fault}" for fault in self._faults(turn, received))

    def _hear(self, script: Script, turn: Turn) -> Received:
        words = said(turn.presses, "en") if turn.presses else (turn.says or "") * turn.times
        if script.channel == "email":
            words = own_words(words).text
        if turn.by == "another":
            return self.talk.say(words, customer_id=self.other_id, sender=f"other-{self.address}")
        return self.talk.say(words, sender=self.address)

    def _faults(self, turn: Turn, received: Received) -> Iterator[str]:
        spoken = self.talk.told(received)
        cited, handoff = self._cited(received), self._handoff(received)
        reason, urgent = (handoff.reason, handoff.urgent) if handoff else (None, False)
        seen = received.decision.value + "".join(f" ({one})" for one in (cited, reason) if one)
        if received.decision.value not in _any_of(turn.expects):
            yield f"{seen}, not {' or '.join(_any_of(turn.expects))}"
            return
        if turn.cites and cited not in _any_of(turn.cites):
            yield f"{seen}, not {' or '.join(_any_of(turn.cites))}"
        if turn.reason is not None and reason != turn.reason:
            yield f"{seen}, not {turn.reason}"
        if urgent != turn.urgent:
            yield f"{seen} is {'urgent' if urgent else 'not urgent'}"
        if spoken and (turn.quiet or received.decision == "silent"):
            yield "something is said"
        yield from (f"does not say {words}" for words in turn.holds if words not in spoken)
        yield from (f"says {words}" for words in (*turn.lacks, *NEVER) if words.casefold() in spoken.casefold())
        if spoken and self._is_first() != any(words in spoken for words in PROGRAM):
            yield f"says {'nowhere' if self._is_first() else 'again'} that it is a program"

    def _cited(self, received: Received) -> str | None:
        said_now = [row for row in self.talk.rows("utterances") if row.id in received.utterance_ids]
        versions = {row.id: row.article_id for row in self.talk.rows("article_versions")}
        names = {row.id: row.external_id for row in self.talk.rows("articles")}
        cited = [names[versions[row.article_version_id]] for row in said_now if row.article_version_id is not None]
        return cited[0] if cited else None

    def _handoff(self, received: Received) -> Any:
        return next((row for row in self.talk.rows("handoffs") if row.id == received.handoff_id), None)

    def _is_first(self) -> bool:
        every = self.talk.rows("utterances")
        return sum(row.author == "bot" and row.conversation_id == self.conversation_id for row in every) == 1


def _any_of(one_or_more: str | tuple[str, ...]) -> tuple[str, ...]:
    return (one_or_more,) if isinstance(one_or_more, str) else one_or_more


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


def set_up(name: str, script: Script, database: Database, desk: KnowledgeDesk, clock: ManualClock) -> Scene:
    """Write the people and orders of a script down."""
    now = clock.now()
    theirs = Order(placed=-6, promised=3, shipped=-5)
    with database.write() as connection:
        maria = add_customer(connection, f"maria-{name}", now - timedelta(days=90))
        other = add_customer(connection, f"berta-{name}", now - timedelta(days=90))
        for key, order, owner in [*((key, one, maria) for key, one in script.orders.items()), ("B2000", theirs, other)]:
            promised = now + timedelta(days=order.promised) if order.promised is not None else None
            placed = now + timedelta(days=order.placed)
            order_id = add_order(connection, key, owner, placed, promised_at=promised, source=name)
            for kind in ORDER_DATES:
                if (day := getattr(order, kind)) is not None:
                    add_touchpoint(connection, kind, owner, now + timedelta(days=day), order_id)
            if order.product is not None:
                known = {"fingerprint": key, "recorded_at": now - timedelta(days=90)}
                product_id = insert(connection, "products", source=name, external_id=key, name=order.product, **known)
                insert(connection, "order_lines", order_id=order_id, line_no=1, product_id=product_id, **known)
    talk = Talk(
        database,
        clock,
        Conversations(database, clock, SETTINGS, desk),
        maria if script.customer == "maria" else None,
        thread=name,
        channel=script.channel,
    )
    return Scene(talk=talk, address=f"{name}@mail.example", other_id=other)


@pytest.mark.parametrize("name", EVERY)
def test_a_dialogue_goes_as_it_is_written_down(
    name: str, desk: tuple[Database, KnowledgeDesk], clock: ManualClock
) -> None:
    script = EVERY[name]
    faults = list(set_up(name, script, *desk, clock).play(script))
    assert faults == list(script.fails)
    if script.open is not None:
        assert faults, "goes well now: take `open` and `fails` out of its file"
        pytest.xfail(script.open)


def test_a_dialogue_fails_only_where_its_file_says_why() -> None:
    assert [name for name, script in EVERY.items() if (script.open is None) != (not script.fails)] == []
