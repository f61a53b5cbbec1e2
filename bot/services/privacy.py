"""A customer's rights: see what is kept about them, take it along, have it erased.

Which rows those are, `bot.store.personal` knows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import structlog

from bot.clock import Clock
from bot.errors import NotFound
from bot.store import audit, personal, shop
from bot.store.conversations import feelings_of
from bot.store.database import Connection, Database

__all__ = ["Journey", "Privacy"]

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Journey:
    """A customer with all that happened, in the order of happening, and their orders.

    `feelings` are sentiment and urgency of their messages, by the `external_id` of the touchpoint that notes each.
    """

    customer: shop.Customer
    orders: list[shop.Order]
    touchpoints: list[shop.Touchpoint]
    feelings: dict[str, tuple[float | None, float | None]] = field(default_factory=dict)


class Privacy:
    """Shows, exports and erases one customer at a time."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def journey(self, name: str, source: str | None = None) -> Journey:
        """Return what is known by now of a customer named by id, mail address or Slack user."""
        now = self._clock.now()
        with self._database.read() as connection:
            customer = _named(connection, name, source)
            return Journey(
                customer=customer,
                orders=shop.orders_of(connection, customer.id, now),
                touchpoints=shop.touchpoints_of(connection, customer.id, now),
                feelings={f"reply:{key}": felt for key, felt in feelings_of(connection, customer.id).items()},
            )

    def export(self, name: str, actor: str, source: str | None = None) -> dict[str, Any]:
        """Return everything that is kept about a customer, by table; the export itself is audited."""
        with self._database.write() as connection:
            customer = _named(connection, name, source)
            rows = personal.everything_about(connection, customer)
            self._note(connection, actor, "export", customer.id)
        return {"customer_id": customer.external_id, "exported_at": self._clock.now().isoformat(), "tables": rows}

    def erase(self, name: str, actor: str, source: str | None = None) -> int:
        """Take a customer out of every table in one transaction; return the internal id that is left.

        Raises
        ------
        NotFound
            There is no such customer.
        Refused
            A message to the customer is being handed over at this moment.
        """
        with self._database.write() as connection:
            customer = _named(connection, name, source)
            personal.remove(connection, customer, self._clock.now())
            self._note(connection, actor, "erase", customer.id)
        log.info("customer_erased", customer=customer.id)
        return customer.id

    def _note(self, connection: Connection, actor: str, action: str, customer_id: int) -> None:
        audit.record(
            connection, at=self._clock.now(), actor=actor, action=action, entity="customer", entity_id=customer_id
        )


def _named(connection: Connection, name: str, source: str | None) -> shop.Customer:
    found = shop.customer_by_key(connection, name, source)
    if found is None and source is None:
        found = shop.customer_by_email(connection, name) or shop.customer_by_slack_user(connection, None, name)
    if found is None or found.source == "erased":
        raise NotFound(f"there is no customer {name}; give the shop's own id, a mail address or a Slack user id")
    return found
