"""What the planner must know about many customers at once, a fixed number of queries per thousand.

Orders, what happened, earlier contacts, and what locks a customer. Only what had happened, and was recorded,
by the instant asked about is seen. Judging it is `bot.decide`'s business.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from bot.decide.contact import Priority
from bot.decide.lifecycle import OPEN, OutreachState
from bot.decide.open_issues import CLOSING, OPENING, open_issues
from bot.store.enums import ConversationState
from bot.store.tables import metadata

__all__ = [
    "CHUNK",
    "CLOSING",
    "OPENING",
    "Contacts",
    "Event",
    "OrderFacts",
    "chunks",
    "contacts_of_customers",
    "events_of_customers",
    "last_orders",
    "locked",
    "open_issues",
    "orders_by_id",
    "product_names",
    "with_humans",
]

# So many ids go into one query; SQLite allows 32,766 variables, and a page of plan stays small in memory.
CHUNK = 1000
# The longest cap is 31 days, and a zone may add a day.
LOOK_BACK = timedelta(days=33)

orders = metadata.tables["orders"]
order_lines = metadata.tables["order_lines"]
products = metadata.tables["products"]
touchpoints = metadata.tables["touchpoints"]
outreaches = metadata.tables["outreaches"]
conversations = metadata.tables["conversations"]


@dataclass(frozen=True, kw_only=True)
class OrderFacts:
    """An order as far as a plan looks at it."""

    id: int
    external_id: str
    customer_id: int
    placed_at: datetime
    promised_at: datetime | None
    total: float | None


@dataclass(frozen=True, kw_only=True)
class Event:
    """One touchpoint, without its words."""

    kind: str
    order_id: int | None
    occurred_at: datetime
    value: float | None = None


@dataclass(frozen=True, kw_only=True)
class Contacts:
    """How one customer was contacted lately, and what is proposed to them now.

    Attributes
    ----------
    sent : tuple of datetime
        Contacts that happened, or may have.
    proposed : tuple of (Priority, datetime)
        The open check-ins: how much each matters, and when it ends by itself.
    by_playbook : mapping
        When each playbook last proposed something that was not dropped unseen.
    dedupe_keys : frozenset of str
        What was proposed already.
    """

    sent: tuple[datetime, ...] = ()
    proposed: tuple[tuple[Priority, datetime], ...] = ()
    by_playbook: Mapping[str, datetime] = field(default_factory=dict)
    dedupe_keys: frozenset[str] = frozenset()

    def proposed_until(self, priority: Priority) -> datetime | None:
        """Return when the last open check-in that matters as much or more ends by itself; a lesser one stands in nobody's way."""
        ends = (until for present, until in self.proposed if present.rank <= priority.rank)
        return max(ends, default=None)


def chunks(ids: Iterable[int], size: int = CHUNK) -> Iterator[list[int]]:
    """Cut distinct ids into pieces that fit into one query, in order."""
    wanted = sorted(set(ids))
    for start in range(0, len(wanted), size):
        yield wanted[start : start + size]


def orders_by_id(connection: Connection, order_ids: Collection[int], now: datetime) -> dict[int, OrderFacts]:
    """Return orders that were placed by `now`."""
    query = _orders(now).where(orders.c.id.in_(list(order_ids)))
    return {row.id: OrderFacts(**row._mapping) for row in connection.execute(query)}


def last_orders(connection: Connection, customer_ids: Collection[int], now: datetime) -> dict[int, OrderFacts]:
    """Return each customer's latest order that was placed by `now`."""
    query = _orders(now).where(orders.c.customer_id.in_(list(customer_ids))).order_by(orders.c.placed_at, orders.c.id)
    return {row.customer_id: OrderFacts(**row._mapping) for row in connection.execute(query)}


def events_of_customers(
    connection: Connection, customer_ids: Collection[int], kinds: Collection[str], now: datetime
) -> dict[int, list[Event]]:
    """Return what of some kinds happened to customers, recorded by `now`, in the order in which it happened."""
    found: dict[int, list[Event]] = {}
    given = {"people": list(customer_ids), "kinds": list(kinds), "known_by": now}
    for row in connection.execute(_EVENTS, given):
        event = Event(kind=row.kind, order_id=row.order_id, occurred_at=row.occurred_at, value=row.value)
        found.setdefault(row.customer_id, []).append(event)
    return found


def contacts_of_customers(
    connection: Connection, customer_ids: Collection[int], now: datetime, longest_cool_down: timedelta
) -> dict[int, Contacts]:
    """Return the contacts of customers by every playbook on every channel."""
    columns = outreaches.c
    since = now - max(LOOK_BACK, longest_cool_down)
    query = (
        sa.select(
            columns.customer_id, columns.playbook, columns.state, columns.dedupe_key, columns.created_at,
            columns.expires_at, columns.priority, columns.sent_at, columns.sending_since, columns.updated_at,
        )
        .where(columns.customer_id.in_(list(customer_ids)))
        .where(sa.or_(columns.created_at >= since, columns.sent_at >= since, columns.state.in_(list(OPEN))))
    )  # fmt: skip
    rows: dict[int, list[Any]] = {}
    for row in connection.execute(query):
        rows.setdefault(row.customer_id, []).append(row)
    return {customer_id: _contacts(found) for customer_id, found in rows.items()}


def locked(connection: Connection, customer_ids: Collection[int], now: datetime) -> dict[int, tuple[bool, bool]]:
    """Return for each customer whether an issue is open, and whether a human is talking to them."""
    wanted = list(customer_ids)
    events = events_of_customers(connection, wanted, (*OPENING, *CLOSING), now)
    humans = with_humans(connection, wanted)
    return {one: (open_issues(events.get(one, ()), now), one in humans) for one in wanted}


def with_humans(connection: Connection, customer_ids: Collection[int]) -> set[int]:
    """Return the customers that an agent is talking to."""
    return {int(one) for one in connection.execute(_WITH_HUMANS, {"people": list(customer_ids)}).scalars()}


def product_names(connection: Connection, order_ids: Collection[int]) -> dict[int, str]:
    """Return the name of the first product of each order that has one."""
    query = (
        sa.select(order_lines.c.order_id, products.c.name)
        .join(products, products.c.id == order_lines.c.product_id)
        .where(order_lines.c.order_id.in_(list(order_ids)), products.c.name.is_not(None))
        .order_by(order_lines.c.order_id, order_lines.c.line_no.desc())
    )
    return {row.order_id: row.name for row in connection.execute(query)}


def _orders(now: datetime) -> sa.Select[Any]:
    columns = orders.c
    return sa.select(
        columns.id, columns.external_id, columns.customer_id, columns.placed_at, columns.promised_at, columns.total
    ).where(columns.placed_at <= now)


def _contacts(rows: Iterable[Any]) -> Contacts:
    sent: list[datetime] = []
    by_playbook: dict[str, datetime] = {}
    keys: set[str] = set()
    proposed: list[tuple[Priority, datetime]] = []
    for row in rows:
        state = OutreachState(row.state)
        keys.add(row.dedupe_key)
        if row.sent_at is not None or state in (OutreachState.SENDING, OutreachState.UNCERTAIN):
            sent.append(row.sent_at or row.sending_since or row.updated_at)
        elif state in OPEN:
            proposed.append((Priority(row.priority), row.expires_at))
        if state not in (OutreachState.EXPIRED, OutreachState.CANCELLED):
            by_playbook[row.playbook] = max(by_playbook.get(row.playbook, row.created_at), row.created_at)
    return Contacts(
        sent=tuple(sorted(sent)), proposed=tuple(proposed), by_playbook=by_playbook, dedupe_keys=frozenset(keys)
    )


# Built once: the delivery asks these for every few mails.
_PEOPLE: sa.BindParameter[Any] = sa.bindparam("people", expanding=True)
_EVENTS = (
    sa.select(
        *(touchpoints.c[name] for name in ("customer_id", "kind", "order_id", "occurred_at", "value")),
    )
    .where(
        touchpoints.c.customer_id.in_(_PEOPLE),
        touchpoints.c.recorded_at <= sa.bindparam("known_by", type_=touchpoints.c.recorded_at.type),
        # Written so that no index on kinds fits: by that one SQLite would go through the whole shop for each page of customers.
        sa.func.coalesce(touchpoints.c.kind, "").in_(sa.bindparam("kinds", expanding=True)),
    )
    .order_by(touchpoints.c.occurred_at, touchpoints.c.id)
)
_WITH_HUMANS = sa.select(conversations.c.customer_id).where(
    conversations.c.customer_id.in_(_PEOPLE), conversations.c.state == ConversationState.HUMAN.value
)
