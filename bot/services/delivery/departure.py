"""What is said to a channel when something leaves: the policy asked once more, and the message rendered.

Claiming and sending are `bot.services.delivery.deliverer`'s business, the words `messages.catalogue`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from bot.channels.base import Message
from bot.config import Settings
from bot.decide import policy
from bot.services.planning.contact_rules import ContactRules, Known, address_of
from bot.store.answers import PendingAnswer
from bot.store.claiming import Claimed
from bot.store.database import Connection
from bot.store.enums import Author
from bot.store.journeys import open_issues
from bot.store.outreach import Outreach
from bot.store.permission import permissions
from bot.store.shop import Customer
from bot.tokens import Purpose, Signer
from messages.answers import language_of
from messages.catalogue import Catalogue
from messages.choices import labels

# The longest window of the caps, and a day for zones.
LOOK_BACK = timedelta(days=32)


@dataclass(kw_only=True)
class Budget:
    """How many check-ins a channel may still send today, within one claim."""

    left: int


class Departure:
    """Checks and renders what leaves, by the shop's settings."""

    def __init__(self, settings: Settings, catalogue: Catalogue) -> None:
        self._settings = settings
        self._catalogue = catalogue
        secret = settings.secrets.secret_key
        self._signer = Signer(secret.get_secret_value()) if secret is not None else None

    def verdicts(
        self,
        connection: Connection,
        pairs: Sequence[tuple[Outreach, Customer]],
        now: datetime,
        budget: Budget | None = None,
    ) -> list[policy.Verdict]:
        """Ask the policy about approved outreaches of one channel, by what the database says at this moment."""
        return ask_policy(self._settings, connection, pairs, now, budget)

    def outreach_message(self, claimed: Claimed) -> Message:
        """Render the approved version of an outreach."""
        outreach = claimed.outreach
        url = self.opt_out_url(outreach.channel, outreach.customer_id)
        message = Message(
            key=claimed.key,
            address=address_of(claimed.customer, outreach.channel) or "",
            subject=outreach.subject,
            text=outreach.draft,
            locale=outreach.locale,
            customer_key=str(outreach.customer_id),
            opt_out_url=url,
            campaign=outreach.playbook,
        )
        return self.as_mail(message, outreach.template) if outreach.channel == "email" else message

    def answer_message(self, answer: PendingAnswer, key: str) -> Message:
        """Render one answer in a conversation."""
        subject = answer.subject or self._settings.shop.name
        message = Message(
            key=key,
            address=answer.address or "",
            subject=subject if subject.casefold().startswith("re:") else f"Re: {subject}",
            text=answer.text,
            locale=answer.locale or self._settings.shop.locale,
            thread=answer.thread,
            in_reply_to=answer.last_inbound,
            references=tuple(found for found in (answer.outreach_reference, answer.last_inbound) if found),
            customer_key=str(answer.customer_id or ""),
            proactive=False,
            automatic=answer.author == Author.BOT,
            choices={name.value: label for name, label in labels(self._language(answer)).items()}
            if answer.rateable
            else {},
        )
        return self.as_mail(message) if answer.channel == "email" else message

    def _language(self, answer: PendingAnswer) -> str:
        return language_of(answer.text, answer.locale or self._settings.shop.locale)

    def opt_out_url(self, channel: str, customer_id: int) -> str:
        """Return the customer's own page to end contact on a channel; empty without a key to sign it."""
        if self._signer is None:
            return ""
        token = self._signer.sign(Purpose.OPT_OUT, f"{channel}.{customer_id}")
        return f"{self._settings.web.base_url.rstrip('/')}/u/{token}"

    def as_mail(self, message: Message, template: str | None = None) -> Message:
        """Add the two parts of a mail to a message."""
        shop, url = self._settings.shop, message.opt_out_url or None
        common = {"locale": message.locale, "shop_name": shop.name, "text": message.text}
        html = self._catalogue.render_email_html(
            **common,
            subject=message.subject,
            unsubscribe_url=url,
            shop_url=shop.url or None,
            proactive=message.proactive,
            template=template,
        )
        plain = self._catalogue.render_email_text(**common, unsubscribe_url=url, proactive=message.proactive)
        return Message(**{**vars(message), "html": html, "plain": plain})


def ask_policy(
    settings: Settings,
    connection: Connection,
    pairs: Sequence[tuple[Outreach, Customer]],
    now: datetime,
    budget: Budget | None = None,
) -> list[policy.Verdict]:
    """Ask the policy about outreaches of one channel, by what the database says at this moment.

    Parameters
    ----------
    budget : Budget, optional
        What the channel may still send today; each that is allowed takes one of it.
    """
    rules, channel = ContactRules(settings), pairs[0][0].channel
    known = permissions(
        connection,
        {person.id: address_of(person, channel) for _, person in pairs},
        channel,
        now=now,
        since=now - max(LOOK_BACK, timedelta(hours=settings.policy.hours_apart)),
        besides={outreach.id for outreach, _ in pairs},
    )
    verdicts: list[policy.Verdict] = []
    for outreach, person in pairs:
        found = known[person.id]
        here = Known(
            address=address_of(person, channel),
            said=found.said,
            contacts=found.contacts,
            suppressed=found.suppressed,
            open_issue=open_issues(found.events, now),
            with_a_human=found.with_a_human,
        )
        facts = rules.facts(person, here, purpose=outreach.purpose, priority=outreach.priority, now=now)
        if budget is not None and budget.left <= 0:
            facts = replace(facts, budget_until=rules.budget_ends(now))
        verdict = policy.ask(facts)
        if budget is not None and isinstance(verdict, policy.Allowed):
            budget.left -= 1
        verdicts.append(verdict)
    return verdicts
