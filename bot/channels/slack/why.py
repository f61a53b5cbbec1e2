"""The modal `Why this?`: reasons, how sure the prediction is, what happened, what the policy says, and the draft.

Every field is cut visibly where it is too long. What is said comes from `bot.services.review.background`.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from bot.channels.slack.cards import REASON_LIMIT, context, effect, prediction, section
from bot.channels.slack.modals import view_of
from bot.channels.slack.payloads import ModalId
from bot.channels.slack.text import SECTION_LIMIT, cut, escape, one_line, quoted, to_mrkdwn
from bot.services.review.background import Background, Happened, Ruled
from bot.services.review.cards import CardView

__all__ = ["why"]

# So much of what a customer wrote stands in the timeline.
WORDS_LIMIT = 120


def why(view: CardView, behind: Background, zone: ZoneInfo, hosts: Collection[str] = ()) -> dict[str, Any]:
    """Draw all that stands behind a card; times are in `zone`."""
    present = view.outreach
    blocks = [section(prediction(view) or "Nothing was predicted: the playbook alone asked for this.")]
    reasons = [f"• {cut(escape(one_line(r['text'])), REASON_LIMIT)}{effect(r.get('effect'))}" for r in present.reasons]
    if reasons:
        blocks.append(section(cut("*What speaks for it*\n" + "\n".join(reasons), SECTION_LIMIT)))
    if sure := _sure(behind):
        blocks.append(section(cut(sure, SECTION_LIMIT)))
    blocks.append(section(cut(_timeline(behind, zone), SECTION_LIMIT)))
    blocks.append(section(cut(_policy(behind, zone), SECTION_LIMIT)))
    origin = f"Proposed by the playbook *{escape(present.playbook)}*, step {escape(present.step)}"
    if view.article is not None:
        origin += f"; cites “{cut(escape(one_line(view.article.title)), WORDS_LIMIT)}”, version {view.article.version}"
    blocks.append(section(cut(f"{origin}.", SECTION_LIMIT)))
    blocks += [section(part) for part in quoted(to_mrkdwn(view.draft, hosts), most=10)]
    blocks.append(context(f"Times are in {zone.key}."))
    return view_of(ModalId.WHY, "Why this?", f"{present.id}:{present.version}", blocks)


def _sure(behind: Background) -> str:
    lines = []
    if behind.clears is not None:
        fact, left = behind.clears
        lines.append(
            f"• One fact would clear the flag. This one: “{cut(escape(one_line(fact)), REASON_LIMIT)}” "
            f"Were it as usual, the probability would be {left:.0%}."
        )
    elif behind.forecast is not None:
        lines.append("• No single fact would clear the flag.")
    if behind.fragility:
        lines.append(f"• {cut(escape(one_line(behind.fragility)), 2 * REASON_LIMIT)}")
    return "\n".join(["*How sure is it?*", *lines]) if lines else ""


def _timeline(behind: Background, zone: ZoneInfo) -> str:
    if not behind.happened:
        return "*What happened*\nNothing is known of this customer's way so far."
    lines = [f"_… {behind.earlier} earlier_"] if behind.earlier else []
    lines += [_happened(one, behind.at, zone) for one in behind.happened]
    return "\n".join(["*What happened*", *lines])


def _happened(one: Happened, now: datetime, zone: ZoneInfo) -> str:
    value = f" ({one.value:g})" if one.value is not None else ""
    other = "" if one.this_order else " _(another order, or none)_"
    words = f": “{cut(escape(one_line(one.words)), WORDS_LIMIT)}”" if one.words.strip() else ""
    kind = cut(escape(one_line(one.kind)), 60).replace("_", " ")
    return f"• {_time(one.at, now, zone)}  *{kind}*{value}{other}{words}"


def _policy(behind: Background, zone: ZoneInfo) -> str:
    said = "nothing stands against it leaving now."
    if behind.allowed:
        until = f", until {_time(behind.until, behind.at, zone)}" if behind.until is not None else ""
        said = f"it could not leave now: {escape(behind.allowed)}{until}."
    lines = [f"• Asked again this moment: {said}", *(_ruled(one, behind.at, zone) for one in behind.ruled)]
    return "\n".join(["*What the contact policy says*", *lines])


def _ruled(one: Ruled, now: datetime, zone: ZoneInfo) -> str:
    what = "put off" if one.deferred else "refused"
    until = f" until {_time(one.until, now, zone)}" if one.until is not None else ""
    return f"• {_time(one.at, now, zone)}  {cut(escape(one.playbook), 60)} was {what}{until}: {cut(escape(one.words), 200)}"


def _time(at: datetime, now: datetime, zone: ZoneInfo) -> str:
    local = at.astimezone(zone)
    return f"{local:%a %d %b %H:%M}" if local.year == now.astimezone(zone).year else f"{local:%d %b %Y}"
