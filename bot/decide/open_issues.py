"""Whether something is open between a customer and the shop: a ticket, a complaint or a return that nobody has closed.

Read by the contact policy's lock and by the customer's stage; reading touchpoints is the store's business.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Protocol

__all__ = ["CLOSING", "OPENING", "UNCLOSED", "Occurrence", "open_issues"]

# A complaint or a return that nobody closes in the books still counts as open for so long.
UNCLOSED = timedelta(days=30)
# What opens an issue, and what closes it.
OPENING = ("ticket_opened", "complaint", "return_requested")
CLOSING = ("ticket_closed", "returned", "refunded")


class Occurrence(Protocol):
    """A touchpoint, as far as it is looked at here."""

    @property
    def kind(self) -> str: ...
    @property
    def order_id(self) -> int | None: ...
    @property
    def occurred_at(self) -> datetime: ...


def open_issues(events: Iterable[Occurrence], now: datetime) -> bool:
    """Say whether a ticket, complaint or return is open, by events in the order in which they happened.

    A ticket is open until it is closed; a complaint or return that nobody closes counts for thirty days.
    """
    tickets: dict[int | None, int] = {}
    other: datetime | None = None
    for event in events:
        if event.kind == "ticket_opened":
            tickets[event.order_id] = tickets.get(event.order_id, 0) + 1
        elif event.kind == "ticket_closed":
            # A closing that names no order, or another one, closes whichever is open.
            key = event.order_id if tickets.get(event.order_id) else next((k for k, n in tickets.items() if n), None)
            if tickets.get(key):
                tickets[key] -= 1
            other = None
        elif event.kind in ("complaint", "return_requested"):
            other = event.occurred_at
        elif event.kind in ("returned", "refunded"):
            other = None
    return any(tickets.values()) or (other is not None and other + UNCLOSED > now)
