"""Where people meet Aftercare in the demo: in local-slack, clicked and read back there, or in this terminal.

The tour asks a surface to do what an agent or a customer would do, and to show what they would see. How the
product comes to its answers is not this module's business.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from bot.decide.lifecycle import OutreachState
from bot.demo.local_slack import AGENTS, TEAM, LocalSlack, as_read, shown_text, until
from bot.demo.narration import Narrator
from bot.demo.terminal import draw_card
from bot.errors import ChannelError
from bot.services.review.cards import CardView
from bot.services.review.desk import ReviewDesk
from bot.store.database import Database
from bot.store.outreach import Outreach
from bot.store.slack import CARD, post_of

__all__ = ["Seen", "SlackSurface", "Surface", "TerminalSurface"]

AGENT = AGENTS[0]


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What an agent sees of one check-in after a decision."""

    text: str


class Surface(Protocol):
    """A place where agents decide."""

    actor: str
    label: str

    def show(self, card: CardView, *, brief: bool = False) -> None:
        """Show a card as the agent sees it."""

    def approve(self, card: CardView) -> Seen:
        """Decide yes; return what the card says then."""

    def edit(self, card: CardView, text: str) -> Seen:
        """Send other words instead."""

    def reject(self, card: CardView, reason: str) -> Seen:
        """Decide no, for a reason of the list."""

    def status(self, card: CardView) -> str:
        """Return what the card of an earlier decision says now."""


class TerminalSurface:
    """No Slack: an agent decides at the command line, and sees the card drawn here."""

    label = "this terminal"
    actor = "cli:ada"

    def __init__(self, review: ReviewDesk, narrator: Narrator) -> None:
        self._review = review
        self._narrator = narrator

    def show(self, card: CardView, *, brief: bool = False) -> None:
        self._narrator.show(draw_card(card, brief=brief))

    def approve(self, card: CardView) -> Seen:
        return self._seen(self._review.approve(card.outreach.id, card.outreach.version, self.actor))

    def edit(self, card: CardView, text: str) -> Seen:
        return self._seen(self._review.edit(card.outreach.id, card.outreach.version, self.actor, text))

    def reject(self, card: CardView, reason: str) -> Seen:
        return self._seen(self._review.reject(card.outreach.id, card.outreach.version, self.actor, reason))

    def status(self, card: CardView) -> str:
        return self._review.card(card.outreach.id).status_line

    def _seen(self, decided: Outreach) -> Seen:
        return Seen(text=self._review.card(decided.id).status_line)


class SlackSurface:
    """local-slack: an agent clicks, and what the card then shows is read back from the server."""

    label = "Slack"

    def __init__(self, slack: LocalSlack, database: Database, review: ReviewDesk, narrator: Narrator) -> None:
        self._slack = slack
        self._database = database
        self._review = review
        self._narrator = narrator
        self.actor = f"slack:{TEAM}:{AGENT.id}"

    def show(self, card: CardView, *, brief: bool = False) -> None:
        self._posted(card.outreach.id)  # it is there, or this is an error
        self._narrator.show(draw_card(card, brief=brief))

    def approve(self, card: CardView) -> Seen:
        self._slack.click(AGENT.id, self._posted(card.outreach.id), "outreach_approve")
        return self._redrawn(card, OutreachState.APPROVED)

    def edit(self, card: CardView, text: str) -> Seen:
        shown = self._slack.click_and_submit(
            AGENT.id,
            self._posted(card.outreach.id),
            "outreach_edit",
            "outreach_edit",
            {"draft": {"text": {"type": "plain_text_input", "value": text}}},
        )
        offered = next(block for block in shown["blocks"] if block.get("block_id") == "draft")
        if str(offered["element"].get("initial_value", "")).strip() != card.draft.strip():
            raise ChannelError("the edit modal did not offer the draft that the card shows")
        return self._redrawn(card, OutreachState.APPROVED)

    def reject(self, card: CardView, reason: str) -> Seen:
        self._slack.click_and_submit(
            AGENT.id,
            self._posted(card.outreach.id),
            "outreach_more",
            "outreach_reject",
            {"reason": {"select": {"type": "static_select", "selected_option": {"value": reason}}}},
            option="reject",
        )
        return self._redrawn(card, OutreachState.REJECTED)

    def status(self, card: CardView) -> str:
        return _status_of(self._posted(card.outreach.id))

    def _posted(self, outreach_id: int) -> dict[str, Any]:
        with self._database.read() as connection:
            post = post_of(connection, CARD, outreach_id)
        messages = self._slack.messages(post.channel) if post else []
        message = next((one for one in messages if post and one["ts"] == post.ts), None)
        if message is None:
            raise ChannelError(f"there is no card of check-in {outreach_id} in the review channel")
        return message

    def _redrawn(self, card: CardView, state: OutreachState) -> Seen:
        """Wait until the buttons are gone and the card says what was decided."""

        def decided() -> str | None:
            message = self._posted(card.outreach.id)
            stands = self._review.card(card.outreach.id)
            if stands.outreach.state != state or "outreach_edit" in str(message.get("blocks")):
                return None
            return _status_of(message)

        return Seen(text=until(decided, f"card of check-in {card.outreach.id} that says {state}"))


def _status_of(message: dict[str, Any]) -> str:
    """Return what a decided card says: its last paragraph of text, with the buttons that are left."""
    sections = [block["text"]["text"] for block in message.get("blocks") or [] if block.get("type") == "section"]
    buttons = [
        f"[{element['text']['text']}]"
        for block in message.get("blocks") or []
        if block.get("type") == "actions"
        for element in block["elements"]
        if isinstance(element.get("text"), dict)
    ]
    return as_read("\n".join([*sections[-1:], *buttons])) or shown_text(message)
