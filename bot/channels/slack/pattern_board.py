"""The card of an emergent pattern: what is known about it, what became of check-ins, and what an agent may do.

What is known comes from `bot.services.planning.pattern_desk`. Names in a sentence are from the shop's files and are escaped here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bot.channels.slack.autonomy_cards import BoardAction
from bot.channels.slack.boards import actor_named
from bot.channels.slack.cards import Rendered, button, context, local_time, section
from bot.channels.slack.identity import Roster
from bot.channels.slack.text import cut, escape, one_line
from bot.services.planning.pattern_desk import PatternDesk, PatternView
from bot.store.enums import PatternAnswer
from bot.store.slack import PATTERN

__all__ = ["PatternBoard", "pattern_card"]

SENTENCE_LIMIT = 600


class PatternBoard:
    """One card a pattern."""

    purpose = PATTERN

    def __init__(self, desk: PatternDesk, roster: Roster) -> None:
        self._desk = desk
        self._roster = roster

    def drawn(self) -> Sequence[tuple[int, Rendered]]:
        """Draw what is there, and what ended lately."""
        return [(view.pattern.id, pattern_card(view, self._roster)) for view in self._desk.views()]

    def posted(self, subject: int) -> None:
        """Write down that people were told of it as it is now."""
        if self._desk.view(subject).untold:
            self._desk.mark_told(subject)


def pattern_card(view: PatternView, roster: Roster) -> Rendered:
    """Draw a pattern as it stands now."""
    pattern = view.pattern
    sentence = cut(escape(one_line(pattern.sentence or "")), SENTENCE_LIMIT)
    title = "More trouble than expected" if view.open else "This trouble is over"
    header = {"type": "header", "text": {"type": "plain_text", "text": title, "emoji": False}}
    blocks: list[dict[str, Any]] = [header, section(f"*{sentence}*")]
    silent = pattern.silent or 0
    if view.open:
        who = "order of the same has" if silent == 1 else "orders of the same have"
        blocks.append(section(f"{silent} {who} had no complaint yet: a check-in can still come first."))
    if view.states:
        blocks.append(section(f"Check-ins to them: {_counts(view)}. The cards are in the thread."))
    if pattern.answer is not None and pattern.answered_at is not None:
        said = {PatternAnswer.ACKNOWLEDGED: "👀 Looked after by", PatternAnswer.DISMISSED: "🚫 Called no problem by"}
        who = actor_named(pattern.answered_by, roster)
        blocks.append(section(f"{said[pattern.answer]} {who}, {local_time(pattern.answered_at, roster)}."))
    seen = f"Known since {local_time(pattern.first_seen_at, roster)}"
    last = pattern.closed_at or pattern.last_seen_at
    blocks.append(context(f"{seen}; {'over' if pattern.closed_at else 'last seen'} {local_time(last, roster)}"))
    if buttons := _buttons(view):
        blocks.append({"type": "actions", "elements": buttons})
    answer = pattern.answer.value if pattern.answer else ""
    figures = f"{pattern.troubled}/{pattern.exposed}:{silent}:{pattern.last_seen_at:%Y-%m-%d}"
    shown = f"{pattern.state}:{figures}:{answer}:{_counts(view)}:{view.batch}:{view.answerable}"
    return Rendered(text=f"{title}: {sentence}", blocks=blocks, shown=shown)


def _counts(view: PatternView) -> str:
    total = sum(view.states.values())
    parts = ", ".join(f"{number} {state}" for state, number in sorted(view.states.items()))
    return f"{total} proposed ({parts})" if total else ""


def _buttons(view: PatternView) -> list[dict[str, Any]]:
    key = str(view.pattern.id)
    found: list[dict[str, Any]] = []
    # What waits can be decided whatever became of the pattern.
    if view.waiting:
        label = f"Approve all {len(view.waiting)}"
        found.append(
            button(BoardAction.APPROVE_ALL, label, f"{key}:{view.batch}", confirm=_question(len(view.waiting)))
        )
    if not view.open or view.pattern.answer is PatternAnswer.DISMISSED:
        return found
    if view.answerable and view.pattern.silent:
        found.insert(0, button(BoardAction.PROPOSE, "Propose check-ins", key, "primary"))
    if view.pattern.answer is None:
        found.append(button(BoardAction.ACKNOWLEDGE, "Acknowledge", key))
    found.append(button(BoardAction.DISMISS, "Not a problem", key))
    return found


def _question(number: int) -> dict[str, Any]:
    def plain(text: str) -> dict[str, str]:
        return {"type": "plain_text", "text": text}

    drafts = "the draft that waits" if number == 1 else f"all {number} drafts that wait"
    return {
        "title": plain("Approve them together?"),
        "text": plain(
            f"This approves {drafts} in the thread, as the words stand there. Each can be undone before it leaves."
        ),
        "confirm": plain("Approve"),
        "deny": plain("Cancel"),
    }
