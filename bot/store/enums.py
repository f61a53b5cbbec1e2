"""The closed sets of words that stand in the tables (the states of an Outreach are in `bot.decide.lifecycle`)."""

from __future__ import annotations

from enum import StrEnum


class Entity(StrEnum):
    """What a canonical file holds; also the name of its table and of what `revisions` keeps."""

    CUSTOMERS = "customers"
    PRODUCTS = "products"
    ORDERS = "orders"
    ORDER_LINES = "order_lines"
    TOUCHPOINTS = "touchpoints"  # append-only: never in `revisions`


class PredictionKind(StrEnum):
    ISSUE = "issue"  # a problem within the horizon
    CHURN = "churn"  # no further order within the horizon
    UPLIFT = "uplift"  # gain in probability from being contacted


class ModelStatus(StrEnum):
    CHAMPION = "champion"  # scores; one per kind, moment and horizon
    CHALLENGER = "challenger"  # trained, not promoted
    RETIRED = "retired"  # was champion; can be rolled back to


class PromotionWay(StrEnum):
    FIRST = "first"  # nobody scored before it
    GATE = "gate"  # it passed the gate
    HAND = "hand"  # somebody promoted it
    ROLLBACK = "rollback"  # somebody went back to it


class PlanDecision(StrEnum):
    SUGGEST = "suggest"  # an outreach was proposed
    DEFER = "defer"  # allowed later, at `until`
    REFUSE = "refuse"  # not allowed, with the reason


class JourneyState(StrEnum):
    ACTIVE = "active"  # a step is proposed, or one may follow
    ENDED = "ended"  # for the reason that stands beside it


class DecisionKind(StrEnum):
    APPROVE = "approve"
    EDIT = "edit"
    REJECT = "reject"
    SNOOZE = "snooze"
    CLAIM = "claim"
    UNDO = "undo"
    RETRY = "retry"
    SETTLE = "settle"  # a human says what became of an uncertain one
    HOLD = "hold"  # an agent stopped it from going out unasked; it waits for a decision
    CLOSE = "close"  # an agent is done with a draft that is never sent


class AutonomyWay(StrEnum):
    OFFERED = "offered"  # the numbers earned it; nothing changes yet
    GRANTED = "granted"  # somebody took the offer
    LOWERED = "lowered"  # somebody went back
    FELL_BACK = "fell_back"  # the numbers fell under the bar


class PatternAnswer(StrEnum):
    ACKNOWLEDGED = "acknowledged"  # an agent looks after it
    DISMISSED = "dismissed"  # an agent says that it is no problem: a label


class GapState(StrEnum):
    PROPOSED = "proposed"  # a draft waits for an agent
    PUBLISHED = "published"  # it became a version of an article
    DECLINED = "declined"  # an agent said: not now
    WITHDRAWN = "withdrawn"  # somebody whose words it was made of was erased


class ExampleSource(StrEnum):
    RATING = "rating"  # the reader of an answer said whether it helped
    AGENT_REPLY = "agent_reply"  # an agent had to write after the bot's answer
    AGENT_CHOICE = "agent_choice"  # an agent named the article that would have answered


class DeliveryState(StrEnum):
    STARTED = "started"  # stands before the send
    SENT = "sent"  # evidence is recorded
    RETRY = "retry"  # refused for now
    FAILED = "failed"  # refused for good
    UNCERTAIN = "uncertain"  # nobody knows yet


class ConversationState(StrEnum):
    BOT = "bot"  # the bot answers
    HUMAN = "human"  # a human has it; the bot is silent
    CLOSED = "closed"


class Direction(StrEnum):
    IN = "in"
    OUT = "out"


class Author(StrEnum):
    CUSTOMER = "customer"
    BOT = "bot"
    AGENT = "agent"


class HandoffState(StrEnum):
    OPEN = "open"  # nobody has it yet
    TAKEN = "taken"  # an agent has it
    GIVEN_BACK = "given_back"  # the bot may answer again
    CLOSED = "closed"


class RunState(StrEnum):
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class EventState(StrEnum):
    RECEIVED = "received"  # recorded, not yet worked on
    DONE = "done"
    FAILED = "failed"  # kept with its error
