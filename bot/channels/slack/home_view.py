"""How App Home looks: for agents the queue with filters and pages, for everybody else who the app is.

Home is private to whoever looks at it. What is shown comes from `home`; nothing is decided here.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from bot.channels.slack import autonomy_cards
from bot.channels.slack.cards import button, context, expectation, section
from bot.channels.slack.identity import Roster
from bot.channels.slack.lines import customer_and_order, numbers_line, queue_line, sending_line
from bot.channels.slack.payloads import ActionId
from bot.channels.slack.text import SECTION_LIMIT, cut, escape, one_line, pieces, quoted, to_mrkdwn, width
from bot.decide.playbook import Autonomy, Band
from bot.services.review.cards import CardView
from bot.services.review.queue import Owner, Page, QueueFilter
from bot.services.review.standing import AgentNumbers
from bot.store.duty import OpenDuty
from bot.store.enums import HandoffState
from bot.store.queue import Waiting
from bot.store.standing import Sending

__all__ = [
    "HomeFacts",
    "agent_home",
    "customer_and_order",
    "numbers_line",
    "queue_line",
    "sending_line",
    "visitor_home",
]

View = dict[str, Any]
# A draft that is longer is not approved here: nobody should say yes to what they have not read.
DRAFT_SHOWN = 700
# So many customers who wait for a human are listed.
DUTIES_SHOWN = 5
# A static select holds a hundred options; one is "all".
PLAYBOOKS_SHOWN = 99
# In a list, a draft's paragraphs need no room between them.
_BLANK = re.compile(r"\n\s*\n")


@dataclass(frozen=True, kw_only=True)
class HomeFacts:
    """All that an agent's Home shows.

    Attributes
    ----------
    playbooks : mapping
        Title and number of waiting check-ins, by playbook.
    low_risk : int
        How many of those that the filters let through may be approved together.
    notice : str
        What was just done, in mrkdwn; with `undo`, how to take it back (`ID:VERSION`).
    """

    page: Page
    wanted: QueueFilter
    actor: str
    playbooks: Mapping[str, tuple[str, int]]
    low_risk: int
    numbers: AgentNumbers
    queue: Waiting
    sending: Sending
    now: datetime
    zone: ZoneInfo
    notice: str = ""
    undo: str = ""
    hosts: Collection[str] = field(default_factory=tuple)
    duties: Sequence[OpenDuty] = ()


def agent_home(facts: HomeFacts, roster: Roster) -> View:
    """Draw an agent's Home."""
    waiting = facts.queue.waiting
    title = f"{waiting} {'check-in waits' if waiting == 1 else 'check-ins wait'} for a decision"
    blocks: list[View] = [_header(title if waiting else "Nothing waits for a decision")]
    if facts.notice:
        blocks.append(section(cut(facts.notice, SECTION_LIMIT)))
    if facts.undo:
        many = len(facts.undo.split())
        label = "Undo" if many == 1 else f"Undo all {many}"
        blocks.append({"type": "actions", "elements": [button(ActionId.HOME_UNDO, label, facts.undo)]})
    blocks.append(section(sending_line(facts.sending, roster)) | {"accessory": _switch(facts.sending)})
    blocks.append(context(numbers_line(facts.numbers), queue_line(facts.queue)))
    blocks += _duties(facts, roster)
    blocks += [{"type": "divider"}, _filters(facts)]
    if facts.low_risk:
        label = f"Approve {facts.low_risk} of low risk…"
        blocks.append({"type": "actions", "elements": [button(ActionId.HOME_BULK, label, "recap")]})
    if not facts.page.cards:
        blocks.append(section("_Nothing waits that fits these filters._" if waiting else "_Everything is decided._ ☕"))
    for card in facts.page.cards:
        blocks += _row(card, facts, roster)
    blocks += _pages(facts.page)
    blocks.append(context(f"As of {facts.now.astimezone(facts.zone):%a %d %b %H:%M} ({facts.zone.key})"))
    return _home(blocks)


def visitor_home(shop: str, reason: str = "") -> View:
    """Draw the Home of everybody who is no agent; `reason` says why an agent sees it, too."""
    name = cut(escape(one_line(shop)), 100)
    blocks = [
        _header("Hello! 👋"),
        section(
            f"I am Aftercare, and I look after *{name}*'s customers once they have bought something: whether their parcel "
            "arrives, how to start, what to do when something is wrong."
        ),
        section(
            "*Write to me in the Messages tab above.* A program answers first, from what the shop has written down. "
            "Ask for a human at any time, and one takes over; write “stop”, and I leave you alone."
        ),
    ]
    if reason:
        blocks.append(context(cut(reason, SECTION_LIMIT)))
    return _home(blocks)


def _duties(facts: HomeFacts, roster: Roster) -> Sequence[View]:
    """List the customers who wait for a human, those first whose answer is due first."""
    waiting = [one for one in facts.duties if one.due_at is not None]
    if not waiting:
        return []
    lines = [f"*{len(waiting)} {'customer waits' if len(waiting) == 1 else 'customers wait'} for a human*"]
    for one in waiting[:DUTIES_SHOWN]:
        assert one.due_at is not None
        who = cut(escape(one_line((one.customer_name or "").split(" ")[0])), 60) or "A customer"
        late = "*overdue* since" if one.due_at <= facts.now else "due"
        owner = (
            f" · {'with' if one.state is HandoffState.TAKEN else 'asked:'} {roster.named(one.owner)}"
            if one.owner
            else ""
        )
        urgent = "❗ " if one.urgent else ""
        lines.append(f"• {urgent}{who}, {late} {one.due_at.astimezone(facts.zone):%a %d %b %H:%M}{owner}")
    if len(waiting) > DUTIES_SHOWN:
        lines.append(f"… and {len(waiting) - DUTIES_SHOWN} more, in the review channel")
    return [section(cut("\n".join(lines), SECTION_LIMIT))]


def _row(card: CardView, facts: HomeFacts, roster: Roster) -> Sequence[View]:
    present = card.outreach
    title = facts.playbooks.get(present.playbook, (present.playbook, 0))[0]
    urgent = "❗ *urgent* · " if present.urgent else ""
    expires = f"{card.expires_at.astimezone(facts.zone):%a %d %b %H:%M}"
    lines = [
        f"{urgent}{customer_and_order(card)} · {cut(escape(one_line(title)), 80)}",
        expectation(card) or "⚪ nothing was predicted",
        f"No. {present.id} · by {escape(card.recipient_label)} · expires {expires}",
    ]
    held = present.claimed_by is not None and present.claimed_until is not None and present.claimed_until > facts.now
    if held:
        lines.append(cut(roster.named(card.status_line), 300))
    if said := autonomy_cards.remark(card, roster):
        lines.append(said)
    draft = _BLANK.sub("\n", to_mrkdwn(card.draft, facts.hosts))
    whole = width(draft) <= DRAFT_SHOWN
    shown = quoted(draft if whole else cut(draft, DRAFT_SHOWN), most=1) or ["> _(empty)_"]
    text = pieces("\n".join([*lines, *shown]), SECTION_LIMIT)[0]
    value = f"{present.id}:{present.version}"
    label = "Open" if whole else "Read it all…"
    elements = [button(f"{ActionId.HOME_OPEN}:{present.id}", label, value)]
    sendable = card.level is not Autonomy.DRAFT
    if sendable and whole and draft.strip() and (not held or present.claimed_by == facts.actor):
        elements.insert(0, button(f"{ActionId.HOME_APPROVE}:{present.id}", "Approve", value, "primary"))
    return [
        {"type": "divider"},
        section(text) | {"block_id": f"home:{present.id}"},
        {"type": "actions", "block_id": f"home:{present.id}:do", "elements": elements},
    ]


def _filters(facts: HomeFacts) -> View:
    wanted = facts.wanted
    named = [(one, f"{cut(one_line(title), 60)} ({number})") for one, (title, number) in facts.playbooks.items()]
    playbooks = [("", "All playbooks"), *named[:PLAYBOOKS_SHOWN]]
    urgency = [("", "Urgent or not"), ("urgent", "Urgent only"), ("other", "Not urgent")]
    owners = [(Owner.ANYBODY, "Claimed or not"), (Owner.MINE, "Claimed by me"), (Owner.NOBODY, "Claimed by nobody")]
    bands = [("", "Any risk"), *((band.value, f"{band.value.capitalize()} risk") for band in reversed(Band))]
    chosen = "" if wanted.urgent is None else "urgent" if wanted.urgent else "other"
    return {
        "type": "actions",
        "block_id": "home:filters",
        "elements": [
            _select(ActionId.HOME_PLAYBOOK, playbooks, wanted.playbook),
            _select(ActionId.HOME_URGENCY, urgency, chosen),
            _select(ActionId.HOME_OWNER, owners, wanted.owner),
            _select(ActionId.HOME_BAND, bands, wanted.band),
            button(ActionId.HOME_REFRESH, "Refresh", "now"),
        ],
    }


def _select(action: ActionId, choices: Sequence[tuple[str, str]], chosen: str) -> View:
    # Slack wants a value in every option.
    options = [{"text": _plain(cut(label, 75)), "value": value or "all"} for value, label in choices]
    present = next((one for one in options if one["value"] == (chosen or "all")), options[0])
    return {
        "type": "static_select",
        "action_id": action.value,
        "placeholder": present["text"],
        "options": options,
        "initial_option": present,
    }


def _switch(sending: Sending) -> View:
    if sending.stopped_at is None:
        question = _question(
            "Stop all sending?",
            "Nothing leaves to any customer, answers included, until somebody starts it again. The review channel is told.",
            "Stop",
        )
        return button(ActionId.SENDING_STOP, "Stop all sending", "stop", "danger", question)
    verb = "waits" if sending.approved == 1 else "wait"
    words = f"{sending.approved} approved {verb}; {sending.due} would leave at once. The review channel is told."
    return button(ActionId.SENDING_START, "Start sending", "start", "primary", _question("Start?", words, "Start"))


def _question(title: str, text: str, confirm: str) -> View:
    return {"title": _plain(title), "text": _plain(text), "confirm": _plain(confirm), "deny": _plain("Cancel")}


def _pages(page: Page) -> Sequence[View]:
    if page.pages == 1:
        return []
    elements = []
    if page.number > 1:
        elements.append(button(ActionId.HOME_PAGE_BACK, "◀ Back", str(page.number - 1)))
    if page.number < page.pages:
        elements.append(button(ActionId.HOME_PAGE_ON, "More ▶", str(page.number + 1)))
    return [
        {"type": "actions", "block_id": "home:pages", "elements": elements},
        context(f"Page {page.number} of {page.pages}, {page.total} in all"),
    ]


def _header(title: str) -> View:
    return {"type": "header", "text": {"type": "plain_text", "text": title, "emoji": True}}


def _plain(text: str) -> View:
    return {"type": "plain_text", "text": text}


def _home(blocks: Sequence[View]) -> View:
    return {"type": "home", "callback_id": "aftercare_home", "blocks": list(blocks)}
