"""The card of a draft article about what no article answers, and the modal in which an agent rewrites it.

What is proposed and decided is `bot.services.knowledge.gap_desk`'s business, what the buttons do `gap_actions`'.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

from bot.channels.slack.boards import actor_named
from bot.channels.slack.cards import Rendered, button, context, local_time, section
from bot.channels.slack.identity import Roster
from bot.channels.slack.modals import plain, view_of
from bot.channels.slack.payloads import ModalId
from bot.channels.slack.text import SECTION_LIMIT, cut, escape, one_line, quoted, width
from bot.services.knowledge.gap_desk import BODY_LIMIT, TITLE_LIMIT, GapDesk
from bot.store.enums import GapState
from bot.store.gap_drafts import GapDraft
from bot.store.slack import GAP

__all__ = ["GapAction", "GapBoard", "edit_gap", "gap_card"]

TITLE = "Customers ask what no article answers"

_QUESTION = {
    "title": plain("Publish this?"),
    "text": plain("It becomes an article as it stands here. The next customer who asks gets it as the answer."),
    "confirm": plain("Publish"),
    "deny": plain("Cancel"),
}


class GapAction(StrEnum):
    """The buttons under a draft."""

    PUBLISH = "gap_publish"
    EDIT = "gap_edit"
    DECLINE = "gap_decline"


class GapBoard:
    """The drafts that wait, and those decided lately."""

    purpose = GAP

    def __init__(self, desk: GapDesk, roster: Roster) -> None:
        self._desk = desk
        self._roster = roster

    def drawn(self) -> Sequence[tuple[int, Rendered]]:
        """Draw what waits, and what was decided lately."""
        return [(view.id, gap_card(view, self._roster)) for view in self._desk.views()]

    def posted(self, subject: int) -> None:
        """Nothing is to be noted."""


def gap_card(view: GapDraft, roster: Roster) -> Rendered:
    """Draw a draft as it stands now."""
    header = {"type": "header", "text": {"type": "plain_text", "text": TITLE, "emoji": False}}
    shown = f"{view.version}:{view.state}:{view.customers}"
    if view.state is not GapState.PROPOSED:
        return Rendered(text=TITLE, blocks=[header, section(_ended(view, roster))], shown=shown)
    title = cut(escape(one_line(view.title)), 300)
    asked = f"*{view.customers} customers asked, {view.times} times in all.*"
    blocks: list[dict[str, Any]] = [header, section(f"{asked} A draft, made of what an agent replied:\n*{title}*")]
    blocks += [section(part) for part in quoted(escape(view.body), SECTION_LIMIT - 300, most=2)]
    if view.questions:
        lines = [f"• {cut(escape(one_line(one)), 200)}" for one in view.questions[:5]]
        blocks.append(section(cut("*They wrote*\n" + "\n".join(lines), SECTION_LIMIT)))
    blocks.append(
        context(
            "Read it before you publish: from then on it answers customers, and those who asked are told of it, by a check-in"
            " that you approve or where they asked."
        )
    )
    value = f"{view.id}:{view.version}"
    buttons = [
        button(GapAction.PUBLISH, "Publish", value, "primary", confirm=_QUESTION),
        button(GapAction.EDIT, "Edit", value),
        button(GapAction.DECLINE, "Not now", value),
    ]
    blocks.append({"type": "actions", "elements": buttons})
    return Rendered(text=cut(f"{TITLE}: {title}", SECTION_LIMIT), blocks=blocks, shown=shown)


def edit_gap(view: GapDraft) -> dict[str, Any]:
    """The draft in fields; submitting publishes the new words."""
    blocks = [
        _input("title", "Title", view.title, TITLE_LIMIT),
        _input("body", "What customers are told", view.body, BODY_LIMIT, multiline=True),
        _input("questions", "Questions that it answers, one a line", "\n".join(view.questions), 3000, multiline=True),
        context("Publishing makes this an article at once: the next customer who asks gets it as the answer."),
    ]
    return view_of(ModalId.GAP, "Edit the article", f"{view.id}:{view.version}", blocks, submit="Publish")


def _ended(view: GapDraft, roster: Roster) -> str:
    when = f", {local_time(view.decided_at, roster)}" if view.decided_at else ""
    who = actor_named(view.decided_by, roster)
    if view.state is GapState.WITHDRAWN:
        return f"🗑 Withdrawn{when}: somebody whose words it was made of was erased."
    if view.state is GapState.DECLINED:
        return f"💤 Put aside by {who}{when}. It comes again when many more ask, or after a while."
    title = cut(escape(one_line(view.title)), 300)
    key = f" ({cut(escape(one_line(view.article[0])), 120)}, version {view.article[1]})" if view.article else ""
    return f"📗 *“{title}”*{key} was published by {who}{when}. Those who asked are told."


def _input(block: str, label: str, text: str, limit: int, *, multiline: bool = False) -> dict[str, Any]:
    field: dict[str, Any] = {
        "type": "plain_text_input",
        "action_id": block,
        "multiline": multiline,
        "max_length": limit,
    }
    if text.strip() and width(text) <= limit:
        field["initial_value"] = text
    made = {"type": "input", "block_id": block, "label": plain(label), "element": field}
    return made | ({"optional": True} if block == "questions" else {})
