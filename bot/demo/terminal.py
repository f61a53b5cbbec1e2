"""Draws in the terminal what an agent would see in Slack: the card of a check-in, a mail, a hand-over.

Drawing only; what a card says is decided by `bot.services.review.cards`.
"""

from __future__ import annotations

from rich import box
from rich.console import Group
from rich.markup import escape
from rich.panel import Panel
from rich.text import Text

from bot.services.review.cards import CardView

WIDTH = 96
_COLOURS = {"high": "red", "medium": "yellow", "low": "green"}


def draw_card(card: CardView, *, brief: bool = False) -> Panel:
    """Return a card as a panel, its buttons only where it still waits for a decision.

    Parameters
    ----------
    brief : bool
        Show only the first lines of the draft.
    """
    colour = _COLOURS.get(card.band, "cyan")
    who = escape(card.customer_first_name or card.customer_key)
    order = f" · order {escape(card.order_key)}" if card.order_key else ""
    parts: list[Text | Panel] = []
    if card.probability is not None:
        parts.append(
            Text.from_markup(
                f"[bold {colour}]{card.band} risk, {card.probability:.0%}[/bold {colour}]: {escape(card.predicted_issue)}"
            )
        )
    for reason in card.reasons:
        effect = f" [dim]({reason.effect:+.0%})[/dim]" if reason.effect is not None else ""
        parts.append(Text.from_markup(f"• {escape(reason.text)}{effect}"))
    draft = shortened(card.draft) if brief else card.draft.strip()
    parts.append(Panel(escape(draft), box=box.SQUARE, border_style="dim"))
    if card.article is not None:
        parts.append(
            Text.from_markup(f"[dim]Cites {escape(card.article.title)} (version {card.article.version})[/dim]")
        )
    expires = f"{card.expires_at:%a %d %b %H:%M} UTC"
    parts.append(
        Text.from_markup(
            f"[dim]By {escape(card.recipient_label)} · leaves {escape(card.local_send_time)} · expires {expires}[/dim]"
        )
    )
    if card.status_line:
        parts.append(Text.from_markup(f"[bold]{escape(card.status_line)}[/bold]"))
    else:
        keys = " ".join(f"[reverse] {label} [/reverse]" for label in ("Approve", "Edit", "Snooze", "…"))
        parts.append(Text.from_markup(keys))
    heading = f"{who}{order} · check-in {card.outreach.id}"
    return Panel(Group(*parts), title=heading, title_align="left", border_style=colour, box=box.ROUNDED, width=WIDTH)


def shortened(text: str, *, first: int = 2, last: int = 0) -> str:
    """Return the first and last paragraphs of a text, with a mark where something is left out."""
    paragraphs = text.strip().split("\n\n")
    if len(paragraphs) <= first + last + 1:
        return text.strip()
    return "\n\n".join([*paragraphs[:first], "[…]", *paragraphs[len(paragraphs) - last :]])
