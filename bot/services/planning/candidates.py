"""What an audience and a trigger are judged by, about one customer or order: put together from what the store knows.

What costs a query of its own is read only where the playbook asks for it. The judgement is `bot.decide.playbook.mismatch`'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from bot.clock import local_date, local_midnight
from bot.config import Settings
from bot.decide.playbook import EVENT, Candidate, Playbook, TriggerEvent
from bot.decide.stage import STAGE_KINDS, Happening, Purchase, stage
from bot.services.planning.occasions import counts_since
from bot.store.audience_facts import Contents, contents_of_orders, ordered_so_far, orders_of_customers
from bot.store.database import Connection
from bot.store.journeys import Event, OrderFacts, events_of_customers
from bot.store.planning import Forecast
from bot.store.shop import Customer

__all__ = ["Candidates", "promised_end", "trigger_of"]

_ON_ORDERS = (TriggerEvent.PLACED, TriggerEvent.PROMISED, TriggerEvent.LAST_ORDER)


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """What was read for one playbook about the customers and orders of one page; empty where it does not ask."""

    playbook: Playbook
    contents: Mapping[int, Contents] = field(default_factory=dict)
    values: Mapping[int, float] = field(default_factory=dict)
    stages: Mapping[int, str] = field(default_factory=dict)

    @classmethod
    def read(
        cls,
        connection: Connection,
        settings: Settings,
        playbook: Playbook,
        found: Sequence[tuple[Forecast, OrderFacts | None]],
        now: datetime,
    ) -> Candidates:
        """Read what the audience of a playbook asks for."""
        audience = playbook.audience
        people = {forecast.customer_id for forecast, _ in found}
        orders = {order.id for _, order in found if order is not None}
        asks_value = audience.customer_value_at_least is not None or audience.customer_value_at_most is not None
        return cls(
            playbook=playbook,
            contents=contents_of_orders(connection, orders)
            if orders and (audience.products or audience.categories)
            else {},
            values=ordered_so_far(connection, people, now) if people and asks_value else {},
            stages=_stages(connection, settings, people, now) if people and audience.stages else {},
        )

    def candidate(
        self,
        forecast: Forecast,
        customer: Customer,
        order: OrderFacts | None,
        trigger_at: datetime | None,
        events: Iterable[Event],
    ) -> Candidate:
        """Put one together."""
        playbook = self.playbook
        since = order.placed_at if order is not None and playbook.per_order else trigger_at
        if forecast.kind == EVENT:
            since = counts_since(playbook, forecast, None if order is None else order.placed_at)
        order_id = order.id if order is not None and playbook.per_order else None
        contents = self.contents.get(order.id, Contents()) if order is not None else Contents()
        return Candidate(
            kind=forecast.kind,
            moment=forecast.moment,
            band=forecast.band,
            probability=forecast.probability,
            locale=customer.locale or "",
            country=customer.country or "",
            order_total=None if order is None else order.total,
            trigger_at=trigger_at,
            # What names another order is about that order; what names none may be about any.
            events=frozenset(
                event.kind
                for event in events
                if (order_id is None or event.order_id in (None, order_id))
                and (since is None or event.occurred_at >= since)
                # What began it does not end it.
                and not (event.kind == playbook.trigger.event and event.occurred_at == since)
            ),
            products=contents.products,
            categories=contents.categories,
            stage=self.stages.get(customer.id, ""),
            customer_value=self.values.get(customer.id),
        )


def trigger_of(
    playbook: Playbook, forecast: Forecast, order: OrderFacts | None, events: Iterable[Event], settings: Settings
) -> datetime | None:
    """Return the instant that a playbook counts from, of one order or customer; None: there is none."""
    event = playbook.trigger.event
    if forecast.kind == EVENT:
        if event is TriggerEvent.PROMISED:
            return None if order is None else promised_end(order, settings)
        if event is TriggerEvent.LATE_DELIVERY and (order is None or forecast.as_of < promised_end(order, settings)):
            return None
        return forecast.as_of
    if order is None:
        return None
    match event:
        case TriggerEvent.PLACED | TriggerEvent.LAST_ORDER:
            return order.placed_at
        case TriggerEvent.PROMISED:
            return promised_end(order, settings)
        case _:  # predictions and patterns count from the delivery, else
            delivered = (one for one in events if one.kind == "delivered" and one.order_id == order.id)
            return next((one.occurred_at for one in delivered), None)


def promised_end(order: OrderFacts, settings: Settings) -> datetime:
    """Return when a promise is broken: it runs to the end of its day; without one `issue.due_days` stand in."""
    if order.promised_at is None:
        return order.placed_at + timedelta(days=settings.predictors.issue.due_days)
    zone = settings.shop.zone
    return local_midnight(local_date(order.promised_at, zone) + timedelta(days=1), zone)


def _stages(connection: Connection, settings: Settings, people: set[int], now: datetime) -> dict[int, str]:
    orders = orders_of_customers(connection, people, now)
    events = events_of_customers(connection, people, STAGE_KINDS, now)
    return {
        one: stage(
            [
                Happening(kind=event.kind, occurred_at=event.occurred_at, order_id=event.order_id, value=event.value)
                for event in events.get(one, ())
            ],
            now,
            orders=[
                Purchase(id=order.id, placed_at=order.placed_at, due_at=promised_end(order, settings))
                for order in orders.get(one, ())
            ],
        ).value
        for one in people
    }
