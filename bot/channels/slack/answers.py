"""What `/aftercare` answers: the queue as lines, the numbers, the question before sending goes on, and the help."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from bot.channels.slack.cards import Rendered, button, context, section
from bot.channels.slack.identity import Roster
from bot.channels.slack.lines import customer_and_order, numbers_line, queue_line, sending_line
from bot.channels.slack.payloads import ActionId
from bot.channels.slack.text import cut, escape, one_line
from bot.channels.slack.times import WHEN
from bot.services.review.cards import CardView
from bot.services.review.queue import Page
from bot.services.review.standing import AgentNumbers
from bot.store.queue import Waiting
from bot.store.standing import Sending

__all__ = ["help_answer", "queue_answer", "start_question", "stats_answer"]

_HELP = (
    ("queue", "what waits, ten at a time; `queue 2` is the second page"),
    ("next", "the next card, with its buttons; first what nobody has claimed"),
    ("show 17", "card 17 as it stands"),
    ("snooze 17 1h", f"put 17 aside: {WHEN}, in your own time zone"),
    ("stats", "your own numbers, and the queue's"),
    ("stop REASON", "stop all sending at once; the review channel is told, a reason is welcome"),
    ("start", "let sending go on; asks first"),
    ("help", "this"),
)


def queue_answer(page: Page, roster: Roster, now: datetime, zone: ZoneInfo) -> Rendered:
    """Draw a page of the queue, one line each."""
    if not page.cards:
        return _answer("Nothing waits for a decision.", [section("☕ *Nothing waits for a decision.*")])
    said = f"{page.total} {'waits' if page.total == 1 else 'wait'} for a decision"
    where = f", page {page.number} of {page.pages}" if page.pages > 1 else ""
    blocks = [section(f"*{said}{where}*"), *(section(_line(card, roster, now, zone)) for card in page.cards)]
    hints = ["`/aftercare next` or `/aftercare show 17` shows a card with its buttons"]
    if page.number < page.pages:
        hints.append(f"`/aftercare queue {page.number + 1}` the next page")
    return _answer(f"{said}{where}.", [*blocks, context("  ·  ".join(hints))])


def stats_answer(numbers: AgentNumbers, queue: Waiting, sending: Sending, roster: Roster, now: datetime) -> Rendered:
    """Draw an agent's own numbers and the queue's."""
    oldest = ""
    if queue.oldest_at is not None:
        hours = (now - queue.oldest_at).total_seconds() / 3600
        oldest = f" The oldest has waited {hours:.0f} hours." if hours >= 1 else " None has waited for an hour."
    blocks = [
        section(numbers_line(numbers)),
        section(f"{queue_line(queue)}{oldest}"),
        section(sending_line(sending, roster)),
    ]
    return _answer(f"{numbers.today} decided today, {queue.waiting} waiting.", blocks)


def start_question(sending: Sending, roster: Roster) -> Rendered:
    """Ask before sending goes on, and say how many wait."""
    start = button(ActionId.SENDING_START, "Start sending", "start", "primary")
    blocks = [
        section(f"{sending_line(sending, roster)}\nWhat is due would leave at once, the rest at its time."),
        {"type": "actions", "elements": [start]},
        context("Nothing happens until you click."),
    ]
    return _answer("All sending is stopped. Start it?", blocks)


def help_answer(unknown: str = "") -> Rendered:
    """List the words that are known."""
    lines = [f"• `/aftercare {words}`: {what}" for words, what in _HELP]
    title = (
        f"I do not know “{cut(escape(one_line(unknown)), 60)}”. This is what I know:"
        if unknown
        else "*Aftercare for keyboards*"
    )
    return _answer("What /aftercare knows", [section("\n".join([title, *lines]))])


def _line(card: CardView, roster: Roster, now: datetime, zone: ZoneInfo) -> str:
    present = card.outreach
    chance = f" · {present.probability:.0%} {escape(present.band)}" if present.probability is not None else ""
    urgent = "❗ " if present.urgent else ""
    claimed = ""
    if present.claimed_by is not None and present.claimed_until is not None and present.claimed_until > now:
        claimed = f" · claimed by {roster.named(present.claimed_by)}"
    expires = f"{card.expires_at.astimezone(zone):%a %d %b %H:%M}"
    return (
        f"`{present.id}` {urgent}{customer_and_order(card)} · {cut(escape(one_line(present.playbook)), 60)}{chance} · "
        f"expires {expires}{claimed}"
    )


def _answer(text: str, blocks: Sequence[dict[str, Any]]) -> Rendered:
    return Rendered(text=text, blocks=blocks, shown="")
