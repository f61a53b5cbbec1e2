"""Single lines that Home, the recap and the answers of commands share: numbers, the queue, the switch, whom it is for."""

from __future__ import annotations

from bot.channels.slack.cards import NAME_LIMIT
from bot.channels.slack.identity import Roster
from bot.channels.slack.switch import who
from bot.channels.slack.text import cut, escape, one_line
from bot.services.review.cards import CardView
from bot.services.review.standing import AgentNumbers
from bot.store.queue import Waiting
from bot.store.standing import Sending

__all__ = ["customer_and_order", "numbers_line", "queue_line", "sending_line"]


def sending_line(sending: Sending, roster: Roster) -> str:
    """Say whether anything leaves, and what waits to."""
    waits = "Nothing approved waits to leave."
    if sending.approved:
        verb = "waits" if sending.approved == 1 else "wait"
        waits = f"{sending.approved} approved {verb} to leave, {sending.due} of them due now."
    if sending.stopped_at is not None:
        zone = roster.default_zone
        when = f"{sending.stopped_at.astimezone(zone):%a %d %b %H:%M} ({zone.key})"
        why = f" “{cut(escape(one_line(sending.why)), 300)}”" if sending.why.strip() else ""
        return f"⏹ *All sending is stopped* by {who(roster, sending.stopped_by)} since {when}.{why} {waits}"
    if sending.held:
        return f"⏸ *The database was restored*: what was due is held until `aftercare db release` is run. {waits}"
    return f"✉️ *Sending is on.* {waits}"


def numbers_line(numbers: AgentNumbers) -> str:
    """Say what an agent did lately."""
    if not numbers.week:
        return "You decided nothing in the last seven days."
    shares = ", ".join(
        f"{share:.0%} {what}"
        for what, share in (("approved", numbers.approved), ("edited", numbers.edited), ("rejected", numbers.rejected))
        if share is not None
    )
    pace = f", half of them within {_span(numbers.median_minutes)}" if numbers.median_minutes is not None else ""
    return f"You decided *{numbers.today}* today, *{numbers.week}* in seven days ({shares}){pace}."


def queue_line(queue: Waiting) -> str:
    """Say how the queue stands."""
    return f"Queue: {queue.waiting} waiting, {queue.urgent} urgent, {queue.claimed} claimed, {queue.ending} expire within a day."


def customer_and_order(card: CardView) -> str:
    """Name whom a check-in is for, in mrkdwn."""
    name = cut(escape(one_line(card.customer_first_name)), NAME_LIMIT) or "a customer"
    order = f" · order {cut(escape(one_line(card.order_key)), NAME_LIMIT)}" if card.order_key else ""
    return f"*{name}*{order}"


def _span(minutes: float | None) -> str:
    if minutes is None or minutes < 1:
        return "a minute"
    if minutes < 90:
        return f"{minutes:.0f} minutes"
    return f"{minutes / 60:.0f} hours" if minutes < 48 * 60 else f"{minutes / 1440:.0f} days"
