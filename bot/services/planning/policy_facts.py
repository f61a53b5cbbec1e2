"""What the contact policy looks at, gathered for many customers at once, and the channel that it allows.

A fixed number of queries for a thousand customers. Judging the facts is `bot.decide.policy`'s business, whom a playbook
means `bot.services.planning.audience`'s; the same facts of those whose check-ins are about to leave are gathered by
`bot.store.permission`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from bot.config import Settings
from bot.decide import policy
from bot.decide.playbook import Playbook
from bot.services.planning.contact_rules import ContactRules, Known, address_of, channels_on
from bot.store.consent import is_suppressed, said_on
from bot.store.database import Connection
from bot.store.journeys import Contacts, Event, contacts_of_customers, open_issues, with_humans
from bot.store.preferences import own_preference, replied_on
from bot.store.shop import Customer

__all__ = ["GatheredFacts", "PolicyFacts"]


class PolicyFacts:
    """Reads what the policy looks at, by the shop's settings.

    Parameters
    ----------
    longest_cool_down : timedelta
        Contacts so long ago still matter to some playbook.
    """

    def __init__(self, settings: Settings, longest_cool_down: timedelta) -> None:
        self._rules = ContactRules(settings)
        self._since = max(longest_cool_down, timedelta(hours=settings.policy.hours_apart))
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
            channel: {address for one in customers if (address := address_of(one, channel))} for channel in usable
        }
        return GatheredFacts(
            rules=self._rules,
            playbook=playbook,
            now=now,
            stopped=stopped,
            events=events,
            contacts=contacts_of_customers(connection, ids, now, self._since),
            humans=with_humans(connection, ids),
            replied_on=replied_on(connection, ids, now) if len(usable) > 1 else {},
            said={channel: said_on(connection, ids, channel) for channel in usable},
            suppressed={channel: is_suppressed(connection, channel, found) for channel, found in addresses.items()},
        )


@dataclass(frozen=True, kw_only=True)
class GatheredFacts:
    """What was read about the customers of one page, whom one playbook means."""

    rules: ContactRules
    playbook: Playbook
    now: datetime
    stopped: bool
    events: Mapping[int, Sequence[Event]]
    contacts: Mapping[int, Contacts]
    humans: set[int]
    replied_on: Mapping[int, str]
    said: Mapping[str, Mapping[int, Sequence[tuple[str, bool]]]]
    suppressed: Mapping[str, set[str]]

    def contacts_of(self, customer_id: int) -> Contacts:
        """Return how a customer was contacted lately, and what is proposed to them now."""
        return self.contacts.get(customer_id, Contacts())

    def about(self, customer: Customer) -> tuple[str | None, policy.Facts]:
        """Return the channel for a customer and what the policy looks at on it.

        Channels are tried in the order of `channels_of`. It is the first against which nothing lasting stands; else the
        first with an address, which is refused; None where there is no address at all.
        """
        open_issue = open_issues(self.events.get(customer.id, ()), self.now)
        first: tuple[str | None, policy.Facts] | None = None
        for channel in self.channels_of(customer):
            address = address_of(customer, channel)
            if address is None:
                continue
            known = Known(
                address=address,
                said=self.said[channel].get(customer.id, ()),
                contacts=self.contacts_of(customer.id).sent,
                suppressed=address in self.suppressed[channel],
                open_issue=open_issue,
                with_a_human=customer.id in self.humans,
            )
            facts = self._facts(customer, known)
            verdict = policy.ask(facts)
            if not isinstance(verdict, policy.Refused) or verdict.reason in policy.TEMPORARY:
                return channel, facts
            first = first or (channel, facts)
        if first is not None:
            return first
        nowhere = Known(
            address=None,
            contacts=self.contacts_of(customer.id).sent,
            open_issue=open_issue,
            with_a_human=customer.id in self.humans,
        )
        return None, self._facts(customer, nowhere)

    def channels_of(self, customer: Customer) -> list[str]:
        """Return the channels that are on, by what the customer likes: their own wish, where they last answered, the playbook."""
        liked = (own_preference(customer), self.replied_on.get(customer.id))
        return sorted(self.said, key=lambda channel: (channel != liked[0], channel != liked[1]))

    def _facts(self, customer: Customer, known: Known) -> policy.Facts:
        playbook, contacts = self.playbook, self.contacts_of(customer.id)
        facts = self.rules.facts(customer, known, purpose=playbook.purpose, priority=playbook.priority, now=self.now)
        proposed = contacts.by_playbook.get(playbook.id)
        return replace(
            facts,
            stopped=self.stopped,
            cool_down_until=None if proposed is None else proposed + playbook.cool_down,
            proposed_until=contacts.proposed_until(playbook.priority),
        )
