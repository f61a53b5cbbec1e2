"""Dialogues with customers as they are written down in tests/data/dialogues, and how one is played and judged.

How a message reaches the bot, and what of its answer a customer sees, differs: `Scene` hands messages to the service, and the
end-to-end tests play the same scripts at a running Slack and through a mail server.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import yaml
from pydantic import BaseModel, ConfigDict

from bot.clock import ManualClock
from bot.services.conversation.conversations import ConversationDecision, Received
from bot.store.database import Database
from bot.store.tables import metadata
from messages.choices import Choice, said
from tests.integration.shop_rows import add_customer, add_order, add_touchpoint, insert

SCRIPTS = Path(__file__).parent / "data" / "dialogues"
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
class Scene(ABC):
    """The people and orders of a script, and the way between them and the bot.

    Attributes
    ----------
    maria_id, other_id : int
        The customer whom the script is about, and another.
    """

    database: Database
    clock: ManualClock
    script: Script
    maria_id: int
    other_id: int
    conversation_id: int = 0

    @abstractmethod
    def hear(self, turn: Turn, words: str) -> Received:
        """Let the customer write (or press, or another write), and return what became of it."""

    @abstractmethod
    def spoken(self, received: Received) -> str:
        """Return what the customer sees of the answer."""

    @abstractmethod
    def answer_as_agent(self, words: str) -> None:
        """Let an agent answer the customer."""

    @abstractmethod
    def give_back(self) -> None:
        """Let an agent give the conversation back to the bot."""

    def rows(self, table: str) -> list[Any]:
        with self.database.read() as connection:
            return list(connection.execute(sa.select(metadata.tables[table]).order_by(metadata.tables[table].c.id)))

    def received(self, heard: Any, answers: tuple[int, ...]) -> Received:
        """Return what became of a message that was heard, by what stands in the tables."""
        open_ones = [
            row.id
            for row in self.rows("handoffs")
            if row.conversation_id == heard.conversation_id and row.state in ("open", "taken")
        ]
        return Received(
            conversation_id=heard.conversation_id,
            utterance_id=heard.id,
            decision=ConversationDecision(heard.decision),
            utterance_ids=answers,
            handoff_id=open_ones[-1] if open_ones else None,
            duplicate=False,
        )

    def play(self) -> Iterator[str]:
        """Yield what goes otherwise than expected, such as `2: handoff (no_answer), not answer`."""
        for number, turn in enumerate(self.script.talk, 1):
            self.clock.advance(timedelta(minutes=1, days=turn.after_days))
            if turn.agent is not None:
                self.answer_as_agent(turn.agent)
            elif turn.given_back:
                self.give_back()
            else:
                received = self.hear(turn, said(turn.presses, "en") if turn.presses else (turn.says or "") * turn.times)
                self.conversation_id = received.conversation_id
                yield from (f"{number}: {fault}" for fault in self._faults(turn, received))

    def _faults(self, turn: Turn, received: Received) -> Iterator[str]:
        spoken = self.spoken(received)
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
        said_now = [row for row in self.rows("utterances") if row.id in received.utterance_ids]
        versions = {row.id: row.article_id for row in self.rows("article_versions")}
        names = {row.id: row.external_id for row in self.rows("articles")}
        cited = [names[versions[row.article_version_id]] for row in said_now if row.article_version_id is not None]
        return cited[0] if cited else None

    def _handoff(self, received: Received) -> Any:
        return next((row for row in self.rows("handoffs") if row.id == received.handoff_id), None)

    def _is_first(self) -> bool:
        every = self.rows("utterances")
        return sum(row.author == "bot" and row.conversation_id == self.conversation_id for row in every) == 1


def _any_of(one_or_more: str | tuple[str, ...]) -> tuple[str, ...]:
    return (one_or_more,) if isinstance(one_or_more, str) else one_or_more


def write_down(name: str, script: Script, database: Database, clock: ManualClock) -> tuple[int, int]:
    """Write the people and orders of a script down; return Maria's id and the other customer's."""
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
    return maria, other
