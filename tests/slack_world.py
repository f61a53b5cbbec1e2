"""A whole Slack side for tests: a real local-slack, a database, and the product's connection between them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from pydantic import SecretStr

from bot.channels.base import Evidence, Message
from bot.channels.slack.api import SlackApi
from bot.channels.slack.channel import SlackChannel
from bot.channels.slack.connection import SlackConnection
from bot.clock import ManualClock
from bot.services.conversation.conversations import ConversationDecision, Inbound, Received
from bot.services.delivery.stopping import Stopping
from bot.services.planning.playbooks import load_playbooks
from bot.services.review.desk import ReviewDesk
from bot.settings import Secrets, Settings, Shop, Slack
from bot.store.database import Database
from bot.store.outreach import Outreach, outreach
from bot.store.tables import metadata
from tests.integration.shop_rows import insert
from tests.peers.local_slack import (
    APP_TOKEN,
    BOT_TOKEN,
    REVIEW_CHANNEL,
    SIGNING_SECRET,
    LocalSlack,
    Person,
    start_local_slack,
    until,
)

AGENTS = tuple(
    Person(id=f"U0AGENT{n}", name=name.lower(), real_name=f"{name} Agent", tz="Europe/Berlin")
    for n, name in enumerate(("Ada", "Ben", "Cem", "Dea", "Eli", "Fay", "Gus", "Hal"))
)
ADA, BEN = AGENTS[0].id, AGENTS[1].id
MARIA = Person(id="U0MARIA", name="maria", real_name="Maria Santos", email="maria@mail.example")
STRANGER = Person(id="U0STRANGER", name="stranger", real_name="Some Stranger")
EVERYBODY = (*AGENTS, MARIA, STRANGER)


def start_peer(folder: Path, request_url: str | None = None) -> LocalSlack:
    return start_local_slack(folder, EVERYBODY, request_url=request_url)


def slack_settings(slack: LocalSlack, *, api_url: str | None = None, **changed: Any) -> Settings:
    """Return settings for a running local-slack; `api_url` where something stands before it."""
    values: dict[str, Any] = {
        "mode": "socket",
        "review_channel": REVIEW_CHANNEL,
        "agents": tuple(agent.id for agent in AGENTS),
    }
    return Settings(
        shop=Shop(name="Tidewater", timezone="Europe/Berlin", url="https://tidewater.example"),
        slack=Slack(**{**values, **changed}),
    ).model_copy(
        update={
            "secrets": Secrets(
                slack_bot_token=SecretStr(BOT_TOKEN),
                slack_app_token=SecretStr(APP_TOKEN),
                slack_signing_secret=SecretStr(SIGNING_SECRET),
                slack_api_base_url=api_url or slack.api_url,
            )
        }
    )


class ScriptedConversations:
    """A dialogue after the contract of `bot.services.conversation.conversations`: "human" hands over, anything else is answered.

    It keeps its rows in the real tables, so that what Slack shows of them is really read.
    """

    def __init__(self, database: Database, clock: ManualClock) -> None:
        self._database = database
        self._clock = clock
        self.received: list[Inbound] = []

    def receive(self, inbound: Inbound) -> Received:
        self.received.append(inbound)
        now = self._clock.now()
        tables = metadata.tables
        with self._database.write() as connection:
            rows = tables["conversations"]
            found = connection.execute(sa.select(rows).where(rows.c.thread == inbound.thread)).one_or_none()
            conversation = found.id if found else insert(
                connection, "conversations", channel=inbound.channel, thread=inbound.thread,
                customer_id=inbound.customer_id, state="bot", clarifications=0, created_at=now, updated_at=now,
            )  # fmt: skip
            words = tables["utterances"]
            known = connection.execute(
                sa.select(words.c.id).where(words.c.source == "slack", words.c.external_id == inbound.external_id)
            ).scalar()
            if known is not None:
                return self._received(conversation, known, ConversationDecision.SILENT, duplicate=True)
            said = self._say(connection, conversation, inbound.text, "in", "customer", inbound.external_id, None)
            if found is not None and found.state == "human":
                return self._received(conversation, said, ConversationDecision.SILENT, handoff=self._open(connection))
            if "human" in inbound.text:
                connection.execute(sa.update(rows).where(rows.c.id == conversation).values(state="human"))
                handoff = insert(
                    connection, "handoffs", conversation_id=conversation, reason="asked_for_human", state="open", urgent=False,
                    opened_at=now,
                )  # fmt: skip
                return self._received(conversation, said, ConversationDecision.HANDOFF, handoff=handoff)
            answer = self._say(connection, conversation, "Parcels take two days.", "out", "bot", f"answer:{said}", None)
            return self._received(conversation, said, ConversationDecision.ANSWER, answers=(answer,))

    def reply_as_agent(self, conversation_id: int, actor: str, text: str) -> int:
        with self._database.write() as connection:
            key = f"reply:{actor}:{self._count(connection)}"
            return self._say(connection, conversation_id, text, "out", "agent", key, actor)

    def take(self, handoff_id: int, actor: str) -> bool:
        rows = metadata.tables["handoffs"]
        with self._database.write() as connection:
            taken = (
                sa.update(rows)
                .where(rows.c.id == handoff_id, rows.c.state == "open")
                .values(state="taken", owner=actor)
            )
            return connection.execute(taken).rowcount == 1

    def give_back(self, conversation_id: int, actor: str) -> bool:
        handoffs, conversations = metadata.tables["handoffs"], metadata.tables["conversations"]
        with self._database.write() as connection:
            connection.execute(
                sa.update(conversations).where(conversations.c.id == conversation_id).values(state="bot")
            )
            given = (
                sa.update(handoffs)
                .where(handoffs.c.conversation_id == conversation_id)
                .values(state="given_back", closed_at=self._clock.now())
            )
            return connection.execute(given).rowcount == 1

    def _received(
        self, conversation: int, said: int, decision: ConversationDecision, *,
        answers: tuple[int, ...] = (), handoff: int | None = None, duplicate: bool = False,
    ) -> Received:  # fmt: skip
        return Received(
            conversation_id=conversation,
            utterance_id=said,
            decision=decision,
            utterance_ids=answers,
            handoff_id=handoff,
            duplicate=duplicate,
        )

    def _say(
        self, connection: sa.Connection, conversation: int, text: str, direction: str, author: str, key: str,
        author_id: str | None,
    ) -> int:  # fmt: skip
        now = self._clock.now()
        return insert(
            connection, "utterances", conversation_id=conversation, source="slack", external_id=key,
            direction=direction, author=author, author_id=author_id, text=text, occurred_at=now, recorded_at=now,
        )  # fmt: skip

    def _open(self, connection: sa.Connection) -> int | None:
        rows = metadata.tables["handoffs"]
        return connection.execute(sa.select(rows.c.id).where(rows.c.state.in_(["open", "taken"]))).scalar()

    def _count(self, connection: sa.Connection) -> int:
        return int(
            connection.execute(sa.select(sa.func.count()).select_from(metadata.tables["utterances"])).scalar_one()
        )


@dataclass(kw_only=True)
class SlackWorld:
    """One running product beside one running Slack."""

    slack: LocalSlack
    database: Database
    clock: ManualClock
    settings: Settings
    review: ReviewDesk
    conversations: ScriptedConversations
    channel: SlackChannel
    connection: SlackConnection

    def card(self, purpose: str = "card") -> dict[str, Any]:
        """Wait for the one card in the review channel and return it as it is now."""
        return until(lambda: next(iter(self.cards(purpose)), None), f"{purpose} in the review channel")

    def cards(self, purpose: str = "card") -> list[dict[str, Any]]:
        return [
            message
            for message in self.slack.messages(REVIEW_CHANNEL)
            if message.get("blocks") and str(message["blocks"][0].get("block_id", "")).startswith(f"{purpose}:")
        ]

    def whispers(self, user: str) -> list[str]:
        """What only this person was told."""
        return [str(m["text"]) for m in self.told(user)]

    def told(self, user: str) -> list[dict[str, Any]]:
        """The messages in the review channel that only this person sees."""
        messages = self.slack.messages(REVIEW_CHANNEL)
        return [m for m in messages if m.get("subtype") == "ephemeral" and m["ephemeral_to"] == user]

    def present(self, outreach_id: int) -> Outreach:
        with self.database.read() as connection:
            return outreach(connection, outreach_id)

    def send(self, utterance_id: int) -> Evidence:
        """Send an utterance as the deliverer would."""
        rows, conversations = metadata.tables["utterances"], metadata.tables["conversations"]
        with self.database.read() as connection:
            row = connection.execute(
                sa.select(rows.c.text, conversations.c.thread)
                .join(conversations, conversations.c.id == rows.c.conversation_id)
                .where(rows.c.id == utterance_id)
            ).one()
        return self.channel.send(
            Message(
                key=f"utterance:{utterance_id}:1",
                address="",
                subject="",
                text=row.text,
                thread=row.thread,
                proactive=False,
            )
        )


@contextmanager
def slack_world(slack: LocalSlack, database: Database, clock: ManualClock, **changed: Any) -> Iterator[SlackWorld]:
    """Connect the product to a running local-slack; everything is ended afterwards."""
    settings = slack_settings(slack, **changed)
    api = SlackApi.from_settings(settings)
    review = ReviewDesk(database, clock, settings)
    conversations = ScriptedConversations(database, clock)
    world: SlackWorld

    connection = SlackConnection(
        api=api,
        database=database,
        clock=clock,
        settings=settings,
        review=review,
        conversations=conversations,  # type: ignore[arg-type]
        send_utterance=lambda utterance_id: world.send(utterance_id),
        stopping=Stopping(database, clock),
        playbooks=lambda: load_playbooks(settings),
    )
    world = SlackWorld(
        slack=slack,
        database=database,
        clock=clock,
        settings=settings,
        review=review,
        conversations=conversations,
        channel=SlackChannel(api, settings, connection.connected),
        connection=connection,
    )
    try:
        connection.start()
        yield world
    finally:
        connection.stop()
