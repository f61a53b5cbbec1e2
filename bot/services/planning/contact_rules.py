"""The shop's rules put beside what is known about one customer: the one way to what the contact policy looks at.

A check-in that is planned and one that is about to leave are judged by the same facts, built here; only where what is known
was read differs (`bot.services.planning.policy_facts`, `bot.services.delivery.departure`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from bot.clock import local_date, local_midnight
from bot.config import Settings
from bot.decide import policy
from bot.decide.contact import Priority, Purpose, standing
from bot.services.planning.days_off import days_off_of
from bot.services.review.cards import customer_zone
from bot.store.shop import Customer

__all__ = ["ContactRules", "Known", "address_of", "channels_on"]


@dataclass(frozen=True, kw_only=True)
class Known:
    """What is known about one customer on one channel at one instant.

    Attributes
    ----------
    address : str or None
        Where they are reached on the channel.
    said : iterable of (purpose, granted)
        Their words about the channel, in the order in which they were said.
    contacts : sequence of datetime
        When they were contacted before, by any playbook on any channel.
    """

    address: str | None
    said: Iterable[tuple[str, bool]] = ()
    contacts: Sequence[datetime] = ()
    suppressed: bool = False
    open_issue: bool = False
    with_a_human: bool = False


class ContactRules:
    """Builds what the policy looks at, by the shop's settings."""

    def __init__(self, settings: Settings) -> None:
        rules = settings.policy
        self._shop_zone = settings.shop.zone
        self._days_off = rules.days_off
        self._quiet = policy.QuietHours(start=rules.quiet_hours.start, end=rules.quiet_hours.end)
        caps = policy.Caps(day=rules.caps.day, week=rules.caps.week, month=rules.caps.month)
        self._caps = {
            Priority.HIGH: caps,
            Priority.NORMAL: caps.part(rules.caps.normal_share),
            Priority.LOW: caps.part(rules.caps.low_share),
        }
        self._distance = timedelta(hours=rules.hours_apart)
        self._by_consent = frozenset(rules.purposes_by_consent)

    def facts(
        self, customer: Customer | None, known: Known, *, purpose: Purpose, priority: Priority, now: datetime
    ) -> policy.Facts:
        """Return what the policy looks at when a contact for a purpose is to be made now; None: somebody who is no customer."""
        zone, country, region = (customer.timezone, customer.country, customer.region) if customer else (None,) * 3
        return policy.Facts(
            now=now,
            zone=customer_zone(zone, self._shop_zone),
            purpose=purpose,
            priority=priority,
            quiet_hours=self._quiet,
            days_off=days_off_of(self._days_off, country, region),
            caps=self._caps[priority],
            distance=self._distance,
            contacts=known.contacts,
            has_address=known.address is not None,
            consent=standing(known.said, purpose),
            consent_required=purpose.value in self._by_consent,
            suppressed=known.suppressed,
            open_issue=known.open_issue,
            with_a_human=known.with_a_human,
        )

    def budget_ends(self, now: datetime) -> datetime:
        """Return when what a channel may send a day begins anew: the shop's next midnight."""
        return local_midnight(local_date(now, self._shop_zone) + timedelta(days=1), self._shop_zone)


def channels_on(settings: Settings) -> tuple[str, ...]:
    """Return the channels that this installation sends on."""
    on: Mapping[str, bool] = {"slack": settings.slack.mode != "off", "email": settings.email.enabled}
    return tuple(name for name, enabled in on.items() if enabled)


def address_of(customer: Customer, channel: str) -> str | None:
    """Return the customer's address on a channel, None where there is none."""
    return {"email": customer.email, "slack": customer.slack_user_id}.get(channel) or None
