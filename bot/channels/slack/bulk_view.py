"""The recap before check-ins are approved together, and what became of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from bot.channels.slack.cards import context, section
from bot.channels.slack.identity import Roster
from bot.channels.slack.lines import customer_and_order
from bot.channels.slack.modals import notice, view_of
from bot.channels.slack.payloads import ModalId
from bot.channels.slack.text import SECTION_LIMIT, cut, escape, one_line
from bot.services.review.cards import CardView
from bot.services.review.low_risk import Why
from bot.services.review.queue import BulkResult, Sorted

__all__ = ["bulk_outcome", "recap", "undo_outcome"]

# So many people are named; the rest is counted.
NAMED = 8
_WHY = {
    Why.DRAFT: "a draft to copy: nothing is sent",
    Why.URGENT: "urgent",
    Why.CLAIMED: "claimed by a colleague",
    Why.WITH_A_HUMAN: "an agent is talking to them",
    Why.OPEN_ISSUE: "something of theirs is open: a ticket, complaint or return",
    Why.WROTE_LATELY: "they wrote to us in the last seven days",
    Why.SEVERE: "trouble is very probable, so the words must be right",
    Why.UNKNOWN_PLAYBOOK: "the playbook is not in force any more",
    Why.EDITED: "somebody changed the playbook's words",
    Why.TONE: "something about the tone of the draft",
}


def recap(
    found: Sorted, cards: Mapping[int, CardView], titles: Mapping[str, tuple[str, int]], undo_seconds: int
) -> dict[str, Any]:
    """Draw what would be approved, what would not and why; submitting approves exactly what it lists."""
    chosen = found.low_risk
    if not chosen:
        return notice("Nothing of low risk", "Nothing that waits may be approved unread any more. Open what is left.")
    by_playbook = Counter(one.playbook for one in chosen)
    lines = [
        f"• {cut(escape(one_line(titles.get(playbook, (playbook, 0))[0])), 100)}: {number}"
        for playbook, number in by_playbook.most_common()
    ]
    blocks = [
        section(cut(f"*{len(chosen)} will be approved, as they stand*\n" + "\n".join(lines), SECTION_LIMIT)),
        section(cut(f"To {_people([cards[one.id] for one in chosen])}.", SECTION_LIMIT)),
    ]
    if found.more:
        blocks.append(section(f"{found.more} more of low risk can follow after these."))
    if found.others:
        blocks.append(section(cut(_left_out(found, cards), SECTION_LIMIT)))
    blocks.append(
        context(
            f"Each leaves at its own time, and not before {undo_seconds} seconds; until then its card offers Undo. "
            "What a colleague decides meanwhile stays as they decided it."
        )
    )
    reference = " ".join(f"{one.id}:{one.version}" for one in chosen)
    return view_of(ModalId.BULK, "Approve together", reference, blocks, submit=f"Approve {len(chosen)}")


def bulk_outcome(result: BulkResult, roster: Roster) -> str:
    """Say what became of check-ins that were approved together."""
    return _outcome(
        f"✅ *{len(result.done)} approved.* Until they leave, they can be taken back.", "approved", result, roster
    )


def undo_outcome(result: BulkResult, roster: Roster) -> str:
    """Say what became of check-ins that were taken back together."""
    return _outcome(f"↩️ *{len(result.done)} taken back.* They wait in the queue again.", "taken back", result, roster)


def _outcome(first: str, done: str, result: BulkResult, roster: Roster) -> str:
    lines = [first]
    if result.refused:
        lines.append(f"*{len(result.refused)} not {done}:*")
        lines += [f"• {cut(roster.named(one_line(why)), 200)}" for _, why in result.refused[:NAMED]]
    if len(result.refused) > NAMED:
        lines.append(f"_… {len(result.refused) - NAMED} more_")
    return "\n".join(lines)


def _left_out(found: Sorted, cards: Mapping[int, CardView]) -> str:
    lines = [f"*{len(found.others)} will not be approved*"]
    for why in Why:
        meant = [cards[one.id] for one, reason in found.others if reason is why]
        if meant:
            lines.append(f"• {_WHY[why]} ({len(meant)}): {_people(meant)}")
    return "\n".join(lines)


def _people(cards: Sequence[CardView]) -> str:
    named = ", ".join(customer_and_order(card) for card in cards[:NAMED])
    return f"{named} and {len(cards) - NAMED} more" if len(cards) > NAMED else named
