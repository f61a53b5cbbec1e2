"""The mails that are sent, and how each is built: by the same code whoever sends it.

A mail begins as what an approved check-in carries: an address, a subject, the approved words. Everything after that
(the customer's own links, both parts, the headers, the octets) is the product's own code, also where a rival sends.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from bot.channels.base import Message
from bot.channels.email.message import compose, wire
from bot.services.delivery.departure import Departure
from bot.wiring import App
from messages.catalogue import Catalogue

TEMPLATE, PLAYBOOK, LOCALE = "delivery_at_risk", "delivery_at_risk", "en"


@dataclass(frozen=True, kw_only=True)
class Order:
    """One mail to be sent, as little as a row or a task must carry."""

    id: int
    customer_id: int
    address: str
    subject: str
    draft: str


def orders(count: int, first: int = 1) -> list[Order]:
    """Write `count` check-ins, each to a customer of its own."""
    catalogue = Catalogue.load()
    found = []
    for number in range(first, first + count):
        values = {
            "first_name": f"Maria {number}",
            "order_id": f"A-{100_000 + number}",
            "shop_name": "Tea & Mugs",
            "product_name": "a teapot and two cups",
            "promised_on": "Tuesday, 10 March",
            "article_title": "When a parcel is late",
            "article_answer": "Most late parcels arrive within two days. If yours does not, we send another one, or "
            "give you the money back; you choose, and you need not send anything back first.",
            "article_url": "https://shop.example/help/late-parcels",
        }
        draft = catalogue.render_draft(TEMPLATE, LOCALE, "email", values)
        found.append(
            Order(
                id=number,
                customer_id=number,
                address=f"c{number}@mail.example",
                subject=draft.subject,
                draft=draft.text,
            )
        )
    return found


class Builder:
    """Builds a mail as Aftercare does on its way out, but for the rivals."""

    def __init__(self, app: App) -> None:
        self._departure = Departure(app.settings, app.catalogue)
        self._identity = app.email_identity
        self.sender = self._identity.sender

    def build(self, order: Order) -> bytes:
        """Return the finished mail (RFC 5322), ready for DATA."""
        message = self._departure.as_mail(
            Message(
                key=f"outreach:{order.id}:1",
                address=order.address,
                subject=order.subject,
                text=order.draft,
                locale=LOCALE,
                customer_key=str(order.customer_id),
                opt_out_url=self._departure.opt_out_url("email", order.customer_id),
                campaign=PLAYBOOK,
            ),
            TEMPLATE,
        )
        return wire(compose(message, self._identity, datetime.now(UTC)), self._identity)
