"""How a day's digest looks: with `slack.cards: urgent`, what is not urgent stands as cards in its thread.

One message a day, edited in place; posting it and the cards is `desk`'s business.
"""

from __future__ import annotations

from datetime import date

from bot.channels.slack.cards import Rendered, section

__all__ = ["day_digest"]


def day_digest(day: date, *, waiting: int, total: int) -> Rendered:
    """Draw the digest of one local date: how many of its check-ins still wait for an agent."""
    title = f"Check-ins of {day:%A}, {day.day} {day:%B}"
    if waiting:
        verb = "waits" if waiting == 1 else "wait"
        said = f"*{waiting} of {total}* {verb} for a decision. The cards are in the thread."
    else:
        said = f"✅ None of *{total}* waits any more. The cards are in the thread."
    header = {"type": "header", "text": {"type": "plain_text", "text": title, "emoji": False}}
    text = f"{title}: {waiting} of {total} wait for a decision."
    return Rendered(text=text, blocks=[header, section(said)], shown=f"{waiting}/{total}")
