"""A customer's words come in; an answer, a question back or a hand-over goes out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from bot.clock import Clock
from bot.config import Settings
from bot.store.database import Database
from messages.catalogue import Catalogue

__all__ = ["ConversationDecision", "Conversations", "Inbound", "Received"]


class ConversationDecision(StrEnum):
    """What was done about one inbound message."""

    ANSWER = "answer"  # from an article, or from the customer's own order
    CLARIFY = "clarify"  # one question back
    HANDOFF = "handoff"  # a human takes over
    OPT_OUT = "opt_out"  # no more check-ins; confirmed once
    SILENT = "silent"  # a human has the conversation; the words are only relayed


@dataclass(frozen=True, kw_only=True)
class Inbound:
    """One message from a customer, as a channel took it in.

    Attributes
    ----------
    source, external_id : str
        Together unique, such as `slack:T1` and `D1:1700000000.000100`, or `email` and a Message-ID.
    channel : str
        `slack` or `email`.
    thread : str
        The channel's own name of the conversation.
    customer_id : int or None
        The customer, if and only if the channel authenticated the sender (token or Slack identity).
    sender : str
        The channel's name of the sender; kept with the utterance, never logged.
    """

    source: str
    external_id: str
    channel: str
    thread: str
    customer_id: int | None
    sender: str
    text: str
    occurred_at: datetime
    reference: str | None = None
    in_reply_to: str | None = None
    locale: str | None = None


@dataclass(frozen=True, kw_only=True)
class Received:
    """What became of an inbound message.

    Attributes
    ----------
    utterance_id : int
        The inbound utterance.
    utterance_ids : tuple of int
        The bot's utterances that are now to be sent, in order; empty for a duplicate.
    handoff_id : int or None
        The open hand-over that the message belongs to.
    """

    conversation_id: int
    utterance_id: int
    decision: ConversationDecision
    utterance_ids: tuple[int, ...]
    handoff_id: int | None
    duplicate: bool


class Conversations:
    """The dialogue with customers.

    `receive(inbound) -> Received`, `resume() -> list[Received]` (inbound recorded but undecided after a crash),
    `reply_as_agent(conversation_id, actor, text) -> int` (utterance id to send), `take(handoff_id, actor) -> bool`,
    `give_back(conversation_id, actor) -> bool`.
    """

    def __init__(
        self, database: Database, clock: Clock, settings: Settings, knowledge: object, catalogue: Catalogue
    ) -> None:
        self._database = database
        self._clock = clock
        self._settings = settings
        self._knowledge = knowledge
        self._catalogue = catalogue
