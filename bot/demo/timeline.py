"""Cuts the played world at an instant: what the shop knew by then, and what it learns later.

Here the world answers to what Aftercare did: whoever was written to in time gets the future that a check-in makes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from bot.demo.shop import Happening, Purchase, Purchaser, Shop

TROUBLE_KINDS = frozenset({"ticket_opened", "complaint", "return_requested"})


@dataclass(frozen=True, kw_only=True)
class Contacts:
    """Who was written to: by order where the check-in was about one, else by customer."""

    orders: frozenset[str] = frozenset()
    customers: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Part:
    """What becomes known in one span of time; touchpoints as (id, purchase, happening)."""

    purchasers: tuple[Purchaser, ...]
    purchases: tuple[Purchase, ...]
    touchpoints: tuple[tuple[str, Purchase, Happening], ...]


def present(shop: Shop) -> Part:
    """Return all that the shop had recorded by the story's `now`."""
    now = shop.story.now
    purchases = tuple(p for p in shop.purchases if p.placed_at <= now and not p.only)
    touchpoints = tuple(
        (key, purchase, happening)
        for purchase in purchases
        for key, happening in _numbered(purchase, treated=False)
        if happening.recorded_at <= now
    )
    return Part(purchasers=_of(shop, purchases), purchases=purchases, touchpoints=touchpoints)


def later(shop: Shop, contacts: Contacts, until: datetime | None = None) -> Part:
    """Return what the shop records after `now`, up to `until`, given who was written to."""
    now, until = shop.story.now, until or shop.story.later
    real = [p for p in shop.purchases if p.placed_at <= until and (not p.only or p.customer_id in contacts.customers)]
    purchases = tuple(p for p in real if p.placed_at > now)
    touchpoints = tuple(
        (key, purchase, happening)
        for purchase in real
        for key, happening in _numbered(purchase, treated=_treated(purchase, contacts, now))
        if now < happening.recorded_at <= until
    )
    known = {p.customer_id for p in shop.purchases if p.placed_at <= now and not p.only}
    fresh = tuple(p for p in purchases if p.customer_id not in known)
    return Part(purchasers=_of(shop, fresh), purchases=purchases, touchpoints=touchpoints)


def had_trouble(purchase: Purchase, *, treated: bool, after: datetime, until: datetime) -> bool:
    """Say whether an order's customer comes to have a problem in a span, in one of its futures."""
    return any(
        h.kind in TROUBLE_KINDS or (h.kind == "review" and (h.value or 0) <= 2)
        for _, h in _numbered(purchase, treated=treated)
        if after < h.recorded_at <= until
    )


def _treated(purchase: Purchase, contacts: Contacts, now: datetime) -> bool:
    # What has begun already cannot be averted any more.
    begun = any(h.recorded_at <= now and h.kind in TROUBLE_KINDS for h in purchase.quiet)
    return purchase.id in contacts.orders and not begun


def _numbered(purchase: Purchase, *, treated: bool) -> Iterator[tuple[str, Happening]]:
    for number, happening in enumerate(purchase.common):
        yield f"{purchase.id}-{happening.kind}-{number}", happening
    branch, letter = (purchase.contacted, "c") if treated else (purchase.quiet, "q")
    for number, happening in enumerate(branch):
        yield f"{purchase.id}-{happening.kind}-{letter}{number}", happening


def _of(shop: Shop, purchases: tuple[Purchase, ...]) -> tuple[Purchaser, ...]:
    wanted = {purchase.customer_id for purchase in purchases}
    return tuple(purchaser for purchaser in shop.purchasers if purchaser.id in wanted)
