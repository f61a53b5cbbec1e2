"""How a card looks: an outreach, and a hand-over, as Slack blocks with a fallback text.

What a card says comes from `bot.services.review.cards`; posting it is `desk`'s business. The arm is never shown, nor any
address. Ids of buttons are part of the contract with people's habits and outside tests.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from bot.channels.slack import autonomy_cards
from bot.channels.slack.identity import Roster
from bot.channels.slack.payloads import ActionId
from bot.channels.slack.text import SECTION_LIMIT, cut, escape, one_line, quoted, to_mrkdwn, width
from bot.decide.lifecycle import DECIDABLE, OutreachState
from bot.services.review.cards import CardView
from bot.store.outreach import Outreach

__all__ = [
    "Rendered",
    "button",
    "context",
    "effect",
    "expectation",
    "local_time",
    "outreach_card",
    "prediction",
    "section",
    "undo_until",
]

Block = dict[str, Any]
_S = OutreachState

NAME_LIMIT = 60
REASON_LIMIT = 400
_DOT = {"high": "🔴", "medium": "🟠", "low": "🟢"}


@dataclass(frozen=True, kw_only=True)
class Rendered:
    """A message ready to be posted.

    Attributes
    ----------
    shown : str
        What state of affairs it shows, `VERSION:STATE[:undo]`; another one asks for another picture.
    """

    text: str
    blocks: Sequence[Block]
    shown: str


def outreach_card(
    view: CardView, roster: Roster, now: datetime, undo_seconds: int, hosts: Collection[str] = ()
) -> Rendered:
    """Draw the card of an outreach as it stands now."""
    present = view.outreach
    undo = undo_until(present, undo_seconds)
    undoable = undo is not None and now < undo
    who = cut(one_line(view.customer_first_name), NAME_LIMIT) or "a customer"
    order = f" · order {cut(one_line(view.order_key), NAME_LIMIT)}" if view.order_key else ""
    urgent = "Urgent: c" if present.urgent else "C"
    title = cut(f"{urgent}heck-in for {who}{order}", 150)
    blocks: list[Block] = [{"type": "header", "text": {"type": "plain_text", "text": title, "emoji": False}}]
    deciding = present.state in DECIDABLE and present.state != _S.SNOOZED
    if deciding:
        blocks += _why(view)
    blocks += _draft(view, hosts)
    if deciding:
        blocks.append(_facts(view, roster))
        if view.status_line:
            blocks.append(context(cut(roster.named(view.status_line), REASON_LIMIT)))
        blocks += autonomy_cards.decide(view, roster) or [_decide(present)]
    else:
        blocks.append(section(_outcome(view, roster)))
        if follow := _follow_up(present, undoable):
            blocks.append({"type": "actions", "elements": [follow]})
    state = f"{present.version}:{present.state}" + (":undo" if undoable else autonomy_cards.shown(view))
    summary = f"{escape(title)}: " + (roster.named(view.status_line) or _summary(view))
    return Rendered(text=cut(summary, SECTION_LIMIT), blocks=blocks, shown=state)


def undo_until(present: Outreach, undo_seconds: int) -> datetime | None:
    """Return until when a decision may be taken back; None where there is none to take back."""
    if present.state == _S.APPROVED and present.attempts == 0:
        return present.not_before
    if present.state in (_S.REJECTED, _S.SNOOZED) and present.decided_at is not None:
        return present.decided_at + timedelta(seconds=undo_seconds)
    return None


def prediction(view: CardView) -> str:
    """Say what is expected, how probable it is and by what its turn came; empty where nothing was predicted."""
    said = expectation(view)
    return f"{said} · {escape(view.ranking)}" if said else ""


def expectation(view: CardView) -> str:
    """Say what is expected and how probable it is; empty where nothing was predicted."""
    if not view.predicted_issue:
        return ""
    chance = f"{view.probability:.0%}, " if view.probability is not None else ""
    return f"{_DOT.get(view.band, '⚪')} *{chance}{escape(view.band)}*: {escape(view.predicted_issue)}"


def effect(points: float | None) -> str:
    """Say how much a reason moves the probability, in percentage points; empty where that is unknown or nothing."""
    if points is None or round(points * 100) == 0:
        return ""
    rounded = round(points * 100)
    return f" _({rounded:+d} {'point' if abs(rounded) == 1 else 'points'})_".replace("-", "−")


def section(text: str) -> Block:
    """A paragraph; addresses and names in it stay as they are written."""
    return {"type": "section", "text": {"type": "mrkdwn", "text": text, "verbatim": True}}


def context(*texts: str) -> Block:
    """Small print."""
    return {"type": "context", "elements": [{"type": "mrkdwn", "text": text, "verbatim": True} for text in texts]}


def button(action: str, label: str, value: str, style: str | None = None, confirm: Block | None = None) -> Block:
    """A button that carries ids only, with a question before it acts if there is one."""
    made: Block = {
        "type": "button",
        "action_id": str(action),
        "text": {"type": "plain_text", "text": label, "emoji": False},
        "value": value,
    }
    return made | ({"style": style} if style else {}) | ({"confirm": confirm} if confirm else {})


def _why(view: CardView) -> list[Block]:
    lines = [f"• {cut(escape(one_line(r.text)), REASON_LIMIT)}{effect(r.effect)}" for r in view.reasons]
    parts = [part for part in (prediction(view), "\n".join(["*Why now*", *lines]) if lines else "") if part]
    return [section(cut("\n\n".join(parts), SECTION_LIMIT))] if parts else []


def _draft(view: CardView, hosts: Collection[str]) -> list[Block]:
    subject = cut(escape(one_line(view.outreach.subject)), 200)
    title = f"*Draft* · subject: {subject}" if view.channel == "email" and subject else "*Draft*"
    quote = quoted(to_mrkdwn(view.draft, hosts)) or ["> _(empty)_"]
    if width(title) + width(quote[0]) < SECTION_LIMIT:
        return [section(f"{title}\n{quote[0]}"), *map(section, quote[1:])]
    return [section(title), *map(section, quote)]


def _facts(view: CardView, roster: Roster) -> Block:
    who = cut(escape(one_line(view.customer_first_name)), NAME_LIMIT) or "the customer"
    lines = [
        f"To *{who}* by {escape(view.recipient_label)}  ·  would leave {escape(view.local_send_time)}, their time",
        f"This card expires {local_time(view.expires_at, roster)}",
    ]
    if view.article is not None:
        title = cut(escape(one_line(view.article.title)), 120)
        article = cut(escape(one_line(view.article.id)), NAME_LIMIT)
        lines[1] = (
            f"Cites “{title}” ({article}, version {view.article.version})  ·  {lines[1][:1].lower()}{lines[1][1:]}"
        )
    return context("\n".join(lines))


def _decide(present: Outreach) -> Block:
    value = f"{present.id}:{present.version}"
    more = [("Reject…", "reject"), ("Claim", "claim"), ("Why this?", "why")]
    return {
        "type": "actions",
        "elements": [
            button(ActionId.APPROVE, "Approve", value, "primary"),
            button(ActionId.EDIT, "Edit", value),
            button(ActionId.SNOOZE, "Snooze", value),
            {
                "type": "overflow",
                "action_id": ActionId.MORE.value,
                "options": [
                    {"text": {"type": "plain_text", "text": label}, "value": f"{what}:{value}"} for label, what in more
                ],
            },
        ],
    }


def _outcome(view: CardView, roster: Roster) -> str:
    marks = {
        _S.APPROVED: "✅", _S.SENDING: "📤", _S.SENT: "📨", _S.REPLIED: "💬", _S.REJECTED: "🚫", _S.SNOOZED: "💤",
        _S.FAILED: "⚠️", _S.UNCERTAIN: "❔", _S.EXPIRED: "⌛",
    }  # fmt: skip
    line = f"{marks.get(view.outreach.state, '•')} {roster.named(view.status_line or str(view.outreach.state))}"
    if view.outreach.state == _S.FAILED and view.outreach.refusal:
        line += f"\n{roster.named(one_line(view.outreach.refusal))}"
    return cut(line, SECTION_LIMIT)


def _follow_up(present: Outreach, undoable: bool) -> Block | None:
    value = f"{present.id}:{present.version}"
    if undoable:
        return button(ActionId.UNDO, "Undo", value)
    if present.state in (_S.FAILED, _S.UNCERTAIN):
        return button(ActionId.RETRY, "Retry", value)
    return None


def _summary(view: CardView) -> str:
    chance = f", {view.probability:.0%}" if view.probability is not None else ""
    what = f"{escape(view.predicted_issue)} ({escape(view.band)}{chance}). " if view.predicted_issue else ""
    return f"{what}{autonomy_cards.asks(view) or 'Approve, edit, snooze or reject the draft.'}"


def local_time(instant: datetime, roster: Roster) -> str:
    """Say when, in the shop's time."""
    return f"{instant.astimezone(roster.default_zone):%a %d %b %H:%M} ({roster.default_zone.key})"
