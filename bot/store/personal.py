"""Everything that is kept about one customer: found, and taken out.

What stays of an erased customer are numbers that name nobody: an empty row to hang them on, the arms drawn,
the states and times of outreaches and outcomes, so that past measurements stay true. Orders, touchpoints and
predictions go, and with them the customer's part in later training. A test fills every column of every table with a
canary and searches for it afterwards.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from bot.decide.lifecycle import OutreachState, move
from bot.errors import Refused
from bot.store import tables as t
from bot.store.consent import ERASED, suppress
from bot.store.enums import ConversationState, Direction, Entity, EventState, GapState, HandoffState
from bot.store.shop import Customer

__all__ = ["everything_about", "remove"]

Rows = dict[str, list[dict[str, Any]]]


def everything_about(connection: Connection, customer: Customer) -> Rows:
    """Return all rows that are about a customer, by table."""
    return {
        table.name: [dict(row._mapping) for row in connection.execute(sa.select(table).where(condition))]
        for table, condition in _about(customer)
    } | {
        "events": [row for _, row in _events(connection, customer)],
        "mails": [row for _, row in _mails(connection, customer)],
    }


def remove(connection: Connection, customer: Customer, now: datetime) -> None:
    """Take a customer out of every table; only hashes of the addresses stay, never to be contacted again.

    Raises
    ------
    Refused
        A message to the customer is being handed over at this moment.
    """
    identifier = customer.id
    # The same lock as a claim takes: either it has the message already, or it will not find it.
    connection.execute(sa.select(t.customers.c.id).where(t.customers.c.id == identifier).with_for_update())
    for channel, address in (
        ("email", customer.email),
        ("slack", customer.slack_user_id),
        (ERASED, f"{customer.source}:{customer.external_id}"),
    ):
        if address:
            suppress(connection, channel, address, "erased", now)
    for event_id, _ in _events(connection, customer):
        connection.execute(
            sa.update(t.events)
            .where(t.events.c.id == event_id)
            .values(payload=sa.null(), error=None, key=f"erased:{event_id}")
        )
    for mail_id, _ in _mails(connection, customer):
        # The key stays, a digest that names nobody: a mailbox that is read again does not bring the mail back.
        connection.execute(
            sa.update(t.mails)
            .where(t.mails.c.id == mail_id)
            .values(
                raw=None, error=None, about=None, address_hash=None, customer_id=None, outreach_id=None,
                state=EventState.DONE.value, handled_at=sa.func.coalesce(t.mails.c.handled_at, now),
            )
        )  # fmt: skip
    _close_outreaches(connection, identifier, now)
    _forget_conversations(connection, customer, now)
    orders = sa.select(t.orders.c.id).where(t.orders.c.customer_id == identifier)
    lines = sa.select(t.order_lines.c.id).where(t.order_lines.c.order_id.in_(orders))
    for entity, ids in ((Entity.ORDERS, orders), (Entity.ORDER_LINES, lines)):
        connection.execute(sa.delete(t.revisions).where(_revision_of(entity, ids)))
    connection.execute(sa.delete(t.revisions).where(_revision_of(Entity.CUSTOMERS, [identifier])))
    for table in (t.outcomes, t.refusals):
        connection.execute(sa.update(table).where(table.c.customer_id == identifier).values(_emptied(table)))
    for table in (t.predictions, t.touchpoints, t.consents, t.journeys):
        connection.execute(sa.delete(table).where(table.c.customer_id == identifier))
    connection.execute(sa.delete(t.order_lines).where(t.order_lines.c.order_id.in_(orders)))
    connection.execute(sa.delete(t.orders).where(t.orders.c.customer_id == identifier))
    connection.execute(
        sa.update(t.customers).where(t.customers.c.id == identifier).values(
            source="erased", external_id=str(identifier), fingerprint="", attributes={}, recorded_at=now,
            **dict.fromkeys(("email", "name", "locale", "timezone", "country", "region", "city")),
            **dict.fromkeys(("slack_team_id", "slack_user_id", "created_at")),
        )
    )  # fmt: skip


def _about(customer: Customer) -> list[tuple[sa.Table, sa.ColumnElement[bool]]]:
    identifier = customer.id
    orders = sa.select(t.orders.c.id).where(t.orders.c.customer_id == identifier)
    lines = sa.select(t.order_lines.c.id).where(t.order_lines.c.order_id.in_(orders))
    outreaches = _ids(t.outreaches, identifier)
    conversations = _conversations(customer)
    utterances = sa.select(t.utterances.c.id).where(_said(customer))
    revisions = sa.or_(
        _revision_of(Entity.CUSTOMERS, [identifier]),
        _revision_of(Entity.ORDERS, orders),
        _revision_of(Entity.ORDER_LINES, lines),
    )
    deliveries = t.deliveries.c.outreach_id.in_(outreaches) | t.deliveries.c.utterance_id.in_(utterances)
    own = (t.orders, t.touchpoints, t.predictions, t.assignments, t.outreaches, t.refusals, t.journeys)
    return [
        (t.customers, t.customers.c.id == identifier),
        *((table, table.c.customer_id == identifier) for table in (*own, t.outcomes, t.consents)),
        (t.conversations, t.conversations.c.id.in_(conversations)),
        (t.order_lines, t.order_lines.c.order_id.in_(orders)),
        (t.revisions, revisions),
        (t.decisions, t.decisions.c.outreach_id.in_(outreaches)),
        (t.deliveries, deliveries),
        (t.utterances, _said(customer)),
        (t.ratings, t.ratings.c.utterance_id.in_(utterances)),
        (t.examples, t.examples.c.utterance_id.in_(utterances)),
        (t.gap_questions, t.gap_questions.c.utterance_id.in_(utterances)),
        (t.gap_drafts, t.gap_drafts.c.id.in_(_drafts_of(utterances))),
        (t.handoffs, t.handoffs.c.conversation_id.in_(conversations)),
    ]


def _close_outreaches(connection: Connection, identifier: int, now: datetime) -> None:
    table = t.outreaches
    for row in connection.execute(sa.select(table).where(table.c.customer_id == identifier)).all():
        connection.execute(
            sa.update(table).where(table.c.id == row.id).values(
                {**_emptied(table), "state": _final(OutreachState(row.state)).value, "version": row.version + 1,
                 "updated_at": now, "dedupe_key": f"erased:{row.id}"}
            )
        )  # fmt: skip
        # The card in Slack is drawn anew, from what is left.
        connection.execute(
            sa.update(t.slack_posts)
            .where(t.slack_posts.c.subject == str(row.id), t.slack_posts.c.purpose != "handoff")
            .values(shown="")
        )
    ids = _ids(table, identifier)
    connection.execute(
        sa.update(t.decisions)
        .where(t.decisions.c.outreach_id.in_(ids))
        .values(reason=None, draft_before=None, draft_after=None, event_key=None)
    )
    connection.execute(
        sa.update(t.deliveries).where(t.deliveries.c.outreach_id.in_(ids)).values(evidence=sa.null(), error=None)
    )


def _final(state: OutreachState) -> OutreachState:
    if state is OutreachState.SENDING:
        raise Refused("a message to this customer is being handed over right now; try again in a minute")
    if state is OutreachState.UNCERTAIN:
        state = move(state, OutreachState.FAILED)
    for wanted in (OutreachState.SUPPRESSED, OutreachState.CLOSED):
        try:
            return move(state, wanted)
        except Refused:
            continue
    return state


def _forget_conversations(connection: Connection, customer: Customer, now: datetime) -> None:
    conversations = connection.execute(_conversations(customer)).scalars().all()
    _forget_drafts(connection, sa.select(t.utterances.c.id).where(_said(customer)), now)
    connection.execute(
        sa.delete(t.examples).where(t.examples.c.utterance_id.in_(sa.select(t.utterances.c.id).where(_said(customer))))
    )
    if (wrote := _wrote(customer)) is not None:  # into somebody else's conversation
        connection.execute(sa.delete(t.utterances).where(wrote, ~t.utterances.c.conversation_id.in_(conversations)))
    for conversation in conversations:
        utterances = sa.select(t.utterances.c.id).where(t.utterances.c.conversation_id == conversation)
        for table in (t.deliveries, t.ratings):
            connection.execute(sa.delete(table).where(table.c.utterance_id.in_(utterances)))
        connection.execute(sa.delete(t.utterances).where(t.utterances.c.conversation_id == conversation))
        handoffs = sa.select(t.handoffs.c.id).where(t.handoffs.c.conversation_id == conversation)
        for handoff in connection.execute(handoffs).scalars().all():
            connection.execute(
                sa.update(t.slack_posts)
                .where(t.slack_posts.c.subject == str(handoff), t.slack_posts.c.purpose == "handoff")
                .values(shown="")
            )
        connection.execute(
            sa.update(t.handoffs)
            .where(t.handoffs.c.conversation_id == conversation)
            .values(
                reason="erased",
                state=HandoffState.CLOSED.value,
                closed_at=sa.func.coalesce(t.handoffs.c.closed_at, now),
            )
        )
        connection.execute(
            sa.update(t.conversations)
            .where(t.conversations.c.id == conversation)
            .values(thread=f"erased:{conversation}", state=ConversationState.CLOSED.value, updated_at=now)
        )


def _forget_drafts(connection: Connection, said: sa.Select[tuple[int]], now: datetime) -> None:
    """Empty the drafts of articles that were made of somebody's words; one that waits is withdrawn."""
    table = t.gap_drafts
    for row in connection.execute(sa.select(table).where(table.c.id.in_(_drafts_of(said)))).all():
        waits = row.state == GapState.PROPOSED.value
        state = {"state": GapState.WITHDRAWN.value, "decided_at": now} if waits else {}
        connection.execute(
            sa.update(table).where(table.c.id == row.id)
            .values(name="", title="", body="", questions=[], version=row.version + 1, **state)
        )  # fmt: skip
        connection.execute(
            sa.update(t.slack_posts)
            .where(t.slack_posts.c.subject == str(row.id), t.slack_posts.c.purpose == "gap")
            .values(shown="")
        )
    connection.execute(sa.delete(t.gap_questions).where(t.gap_questions.c.utterance_id.in_(said)))


def _drafts_of(utterances: sa.Select[tuple[int]]) -> sa.Select[tuple[int]]:
    table = t.gap_questions
    return sa.select(table.c.gap_draft_id).where(table.c.utterance_id.in_(utterances))


def _emptied(table: sa.Table) -> dict[str, Any]:
    """Return what replaces the columns of a kept row that could name or describe somebody."""
    emptied: dict[str, Any] = {}
    for column in table.columns:
        if column.name in ("order_id", "prediction_id"):
            emptied[column.name] = None
        elif column.name in ("draft", "original_draft"):
            emptied[column.name] = ""
        elif column.name in ("reasons", "evidence"):
            emptied[column.name] = sa.null()
        elif column.name in ("subject", "dedupe_key"):
            emptied[column.name] = sa.literal("erased:") + sa.cast(table.c.id, sa.Text)
        elif column.name in ("probability", "band", "sending_by", "claimed_by"):
            emptied[column.name] = None if column.nullable else ""
    return emptied


def _conversations(customer: Customer) -> sa.Select[tuple[int]]:
    """Select the customer's conversations, and those that somebody unproven began from the customer's address."""
    own: sa.ColumnElement[bool] = t.conversations.c.customer_id == customer.id
    if (wrote := _wrote(customer)) is not None:
        begun = t.conversations.c.id.in_(sa.select(t.utterances.c.conversation_id).where(wrote))
        own = own | (t.conversations.c.customer_id.is_(None) & begun)
    return sa.select(t.conversations.c.id).where(own)


def _wrote(customer: Customer) -> sa.ColumnElement[bool] | None:
    """Say that an utterance was written from the customer's mail address; None where there is none."""
    if not customer.email:
        return None
    sender = sa.func.lower(t.utterances.c.author_id) == customer.email.strip().lower()
    return sa.and_(t.utterances.c.direction == Direction.IN.value, sender)


def _said(customer: Customer) -> sa.ColumnElement[bool]:
    theirs: sa.ColumnElement[bool] = t.utterances.c.conversation_id.in_(_conversations(customer))
    wrote = _wrote(customer)
    return theirs if wrote is None else theirs | wrote


def _mails(connection: Connection, customer: Customer) -> list[tuple[int, dict[str, Any]]]:
    """Find the mails that came from, are about or name a customer, by what was read from them and by their octets."""
    table = t.mails
    linked = (table.c.customer_id == customer.id) | table.c.outreach_id.in_(_ids(t.outreaches, customer.id))
    ids = set(connection.execute(sa.select(table.c.id).where(linked)).scalars())
    if customer.email:
        named = customer.email.strip().lower().encode()
        kept = sa.select(table.c.id, table.c.raw).where(table.c.raw.is_not(None)).execution_options(yield_per=50)
        ids |= {row.id for row in connection.execute(kept) if named in bytes(row.raw).lower()}
    found = []
    for identifier in sorted(ids):
        row = dict(connection.execute(sa.select(table).where(table.c.id == identifier)).one()._mapping)
        raw = row["raw"]
        found.append((identifier, {**row, "raw": None if raw is None else bytes(raw).decode("utf-8", "replace")}))
    return found


def _events(connection: Connection, customer: Customer) -> Iterable[tuple[int, dict[str, Any]]]:
    """Find the events that came from or speak of a customer, by key and by what their payload says."""
    utterances = sa.select(t.utterances.c.source, t.utterances.c.external_id).where(
        t.utterances.c.conversation_id.in_(_ids(t.conversations, customer.id))
    )
    touchpoints = sa.select(t.touchpoints.c.source, t.touchpoints.c.external_id).where(
        t.touchpoints.c.customer_id == customer.id
    )
    keys = {tuple(row) for part in (utterances, touchpoints) for row in connection.execute(part)}
    parts = [part.casefold() for part in (customer.email, customer.slack_user_id, customer.name) if part]
    found = []
    statement = sa.select(t.events).order_by(t.events.c.id).execution_options(yield_per=500)
    for row in connection.execute(statement):
        told = json.dumps([row.payload, row.error, row.key], ensure_ascii=False).casefold()
        if (
            (row.source, row.key) in keys
            or any(part in told for part in parts)
            or _says(row.payload, {customer.external_id} | {key for _, key in keys})
        ):
            found.append((row.id, dict(row._mapping)))
    return found


def _says(payload: Any, wanted: Collection[str]) -> bool:
    """Say whether one of the values in a payload is exactly one of these."""
    if isinstance(payload, dict):
        return any(_says(value, wanted) for value in payload.values())
    if isinstance(payload, list):
        return any(_says(value, wanted) for value in payload)
    return isinstance(payload, str) and payload in wanted


def _ids(table: sa.Table, identifier: int) -> sa.Select[tuple[int]]:
    return sa.select(table.c.id).where(table.c.customer_id == identifier)


def _revision_of(entity: Entity, ids: Any) -> sa.ColumnElement[bool]:
    return (t.revisions.c.entity == entity.value) & t.revisions.c.entity_id.in_(ids)
