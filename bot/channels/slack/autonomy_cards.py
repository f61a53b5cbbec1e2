"""How autonomy looks on a card: a draft to copy, a check-in that goes out by itself unless somebody stops it.

The rest of the card is `cards`' business, which level is in force `bot.services.review.autonomy`'s. What the buttons do is in
`board_actions`.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from bot.channels.slack.identity import Roster
from bot.channels.slack.text import cut, escape, quoted, width
from bot.decide.lifecycle import OutreachState
from bot.decide.playbook import Autonomy
from bot.services.review.cards import CardView

__all__ = ["BoardAction", "asks", "copy_modal", "decide", "remark", "shown"]

Block = dict[str, Any]
# A field of a modal holds so much; a longer draft is shown in parts to be marked by hand.
FIELD_LIMIT = 3000


class BoardAction(StrEnum):
    """Buttons beside those of the ordinary card."""

    STOP = "outreach_stop"
    COPY = "outreach_copy"
    CLOSE = "outreach_close"
    ACCEPT = "autonomy_accept"
    BACK = "autonomy_back"
    PROPOSE = "pattern_propose"
    APPROVE_ALL = "pattern_approve"
    ACKNOWLEDGE = "pattern_acknowledge"
    DISMISS = "pattern_dismiss"


def decide(view: CardView, roster: Roster) -> list[Block] | None:
    """Return what stands where an ordinary card asks for a decision; None: it is an ordinary one."""
    value = f"{view.outreach.id}:{view.outreach.version}"
    said = remark(view, roster)
    if view.level is Autonomy.DRAFT:
        buttons = [_button(BoardAction.COPY, "Copy text", value), _button(BoardAction.CLOSE, "Close", value)]
        return [_context(said), _actions(buttons, value)]
    if not said:
        return None
    buttons = [
        _button(BoardAction.STOP, "Stop", value, "danger"),
        _button("outreach_edit", "Edit", value),
        _button("outreach_approve", "Approve now", value),
        _button("outreach_snooze", "Snooze", value),
    ]
    return [_section(said), _actions(buttons, value)]


def remark(view: CardView, roster: Roster) -> str:
    """Say what an agent must know before deciding; empty where it is an ordinary card."""
    if view.level is Autonomy.DRAFT:
        return "✍️ A draft only: nothing is ever sent. Copy the words, write to the customer yourself, then close this."
    if view.goes_at is None or view.outreach.state != OutreachState.SUGGESTED:
        return ""
    return f"⏱ *Goes out by itself at {_minute(view.goes_at, roster)}* unless you stop it."


def shown(view: CardView) -> str:
    """Return what a card's state says besides: at another time it is drawn anew."""
    return view.unasked_mark if view.outreach.state == OutreachState.SUGGESTED else ""


def asks(view: CardView) -> str:
    """Return what the fallback text asks for; empty where it is an ordinary card."""
    if view.level is Autonomy.DRAFT:
        return "A draft to copy; nothing is sent."
    return "Goes out by itself unless you stop it." if shown(view) else ""


def copy_modal(view: CardView) -> Block:
    """The words in a field, to be marked and copied; closing it changes nothing."""
    blocks: list[Block]
    if width(view.draft) <= FIELD_LIMIT:
        field: Block = {"type": "plain_text_input", "action_id": "text", "multiline": True}
        if view.draft.strip():
            field["initial_value"] = view.draft
        label = {"type": "plain_text", "text": "Mark all and copy"}
        blocks = [{"type": "input", "block_id": "copy", "label": label, "element": field, "optional": True}]
    else:
        blocks = [_section(part) for part in quoted(escape(view.draft), most=10)]
    return {
        "type": "modal",
        "callback_id": "aftercare_notice",
        "title": {"type": "plain_text", "text": "Copy the draft"},
        "close": {"type": "plain_text", "text": "Close"},
        "private_metadata": "",
        "blocks": blocks,
        # Slack wants a way to submit where there is a field; it changes nothing either.
        "submit": {"type": "plain_text", "text": "Done"},
    }


def _minute(instant: datetime, roster: Roster) -> str:
    """Say when, in the shop's time; it is a whole minute where agents have time to stop it."""
    return f"{instant.astimezone(roster.default_zone):%H:%M, %a %d %b} ({roster.default_zone.key})"


def _actions(buttons: list[Block], value: str) -> Block:
    more = [("Reject…", "reject"), ("Claim", "claim"), ("Why this?", "why")]
    options = [{"text": {"type": "plain_text", "text": label}, "value": f"{what}:{value}"} for label, what in more]
    return {
        "type": "actions",
        "elements": [*buttons, {"type": "overflow", "action_id": "outreach_more", "options": options}],
    }


def _button(action: str, label: str, value: str, style: str = "") -> Block:
    made: Block = {
        "type": "button",
        "action_id": str(action),
        "text": {"type": "plain_text", "text": label, "emoji": False},
        "value": value,
    }
    return made | ({"style": style} if style else {})


def _section(text: str) -> Block:
    return {"type": "section", "text": {"type": "mrkdwn", "text": cut(text, 2900), "verbatim": True}}


def _context(text: str) -> Block:
    return {"type": "context", "elements": [{"type": "mrkdwn", "text": text, "verbatim": True}]}
