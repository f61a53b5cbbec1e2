"""What the contact policy looks at, gathered for many customers at once, and the channel that it allows.

A fixed number of queries for a thousand customers. Judging the facts is `bot.decide.policy`'s business, whom a playbook
means `bot.services.planning.audience`'s; the same facts of those whose check-ins are about to leave are gathered by
`bot.store.permission`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from bot.config import Settings
from bot.decide import policy
from bot.decide.playbook import Playbook
from bot.services.review.cards import customer_zone
from bot.store.consent import consent_of, is_suppressed
from bot.store.database import Connection
from bot.store.journeys import Contacts, Event, contacts_of_customers, open_issues, with_humans
from bot.store.shop import Customer

__all__ = ["GatheredFacts", "PolicyFacts", "channels_on"]


def channels_on(settings: Settings) -> tuple[str, ...]:
    """Return the channels that this installation sends on."""
    on = (("slack", settings.slack.mode != "off"), ("email", settings.email.enabled))
    return tuple(name for name, enabled in on if enabled)


class PolicyFacts:
    """Reads what the policy looks at, by the shop's settings.

    Parameters
    ----------
    longest_cool_down : timedelta
        Contacts so long ago still matter to some playbook.
    """

    def __init__(self, settings: Settings, longest_cool_down: timedelta) -> None:
        self._settings = settings
        self._cool_down = longest_cool_down
        self._channels = channels_on(settings)

    def gather(
        self,
        connection: Connection,
        playbook: Playbook,
        customers: Sequence[Customer],
        events: Mapping[int, Sequence[Event]],
        now: datetime,
        *,
        stopped: bool,
    ) -> GatheredFacts:
        """Read what is known about customers whom a playbook means.

        Parameters
        ----------
        events : mapping
            What happened to each, at least all that opens or closes an issue, in the order in which it happened.
        stopped : bool
            Whether the global stop is on.
        """
        ids = {one.id for one in customers}
        usable = [channel for channel in playbook.channels if channel in self._channels]
        addresses = {
            channel: {address for one in customers if (address := _address(one, channel))} for channel in usable
        }
        return GatheredFacts(
            settings=self._settings,
            playbook=playbook,
            now=now,
            stopped=stopped,
            events=events,
            contacts=contacts_of_customers(connection, ids, now, self._cool_down),
            humans=with_humans(connection, ids),
            consents={channel: consent_of(connection, ids, channel) for channel in usable},
            suppressed={channel: is_suppressed(connection, channel, found) for channel, found in addresses.items()},
        )


@dataclass(frozen=True, kw_only=True)
class GatheredFacts:
    """What was read about the customers of one page, whom one playbook means."""

    settings: Settings
    playbook: Playbook
    now: datetime
    stopped: bool
    events: Mapping[int, Sequence[Event]]
    contacts: Mapping[int, Contacts]
    humans: set[int]
    consents: Mapping[str, Mapping[int, bool | None]]
    suppressed: Mapping[str, set[str]]

    def contacts_of(self, customer_id: int) -> Contacts:
        """Return how a customer was contacted lately, and what is proposed to them now."""
        return self.contacts.get(customer_id, Contacts())

    def about(self, customer: Customer) -> tuple[str | None, policy.Facts]:
        """Return the channel for a customer and what the policy looks at on it.

        It is the first channel against which nothing lasting stands; else the first with an address, which is refused;
        None where there is no address at all.
        """
        facts = self._facts(customer)
        first: tuple[str | None, policy.Facts] | None = None
        for channel, consents in self.consents.items():
            address = _address(customer, channel)
            if address is None:
                continue
            here = policy.on_channel(
                facts, consent=consents.get(customer.id), suppressed=address in self.suppressed[channel]
            )
            verdict = policy.ask(here)
            if not isinstance(verdict, policy.Refused) or verdict.reason in policy.TEMPORARY:
                return channel, here
            first = first or (channel, here)
        return first or (None, facts)

    def _facts(self, customer: Customer) -> policy.Facts:
        contacts, rules = self.contacts_of(customer.id), self.settings.policy
        proposed = contacts.by_playbook.get(self.playbook.id)
        return policy.Facts(
            now=self.now,
            zone=customer_zone(customer.timezone, self.settings.shop.zone),
            quiet_hours=policy.QuietHours(start=rules.quiet_hours.start, end=rules.quiet_hours.end),
            caps=policy.Caps(day=rules.caps.day, week=rules.caps.week, month=rules.caps.month),
            contacts=contacts.sent,
            has_address=False,
            consent_required=rules.require_consent,
            open_issue=open_issues(self.events.get(customer.id, ()), self.now),
            with_a_human=customer.id in self.humans,
            stopped=self.stopped,
            cool_down_until=None if proposed is None else proposed + self.playbook.cool_down,
            proposed_until=contacts.proposed_until,
        )


def _address(customer: Customer, channel: str) -> str | None:
    return {"slack": customer.slack_user_id, "email": customer.email}.get(channel) or None
