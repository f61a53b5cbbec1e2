"""The modals: a card, edit, reject, snooze, and the reply to a customer that was handed over; `why` is a module of its own.

A modal carries `ID:VERSION` (a hand-over's its id) in `private_metadata`, so that a draft decided meanwhile is an error
on its field and nothing is sent. Opening them and acting on them is `actions`' business.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from bot.channels.slack.cards import NAME_LIMIT, Rendered, context, section
from bot.channels.slack.payloads import ModalId
from bot.channels.slack.text import SECTION_LIMIT, cut, escape, one_line, quoted, width
from bot.channels.slack.times import snooze_times
from bot.services.review.cards import CardView
from bot.services.review.desk import DRAFT_LIMIT
from bot.store.slack import HandoffFacts

__all__ = ["card", "edit", "handoff_reply", "notice", "plain", "reject", "snooze", "view_of"]

View = dict[str, Any]
_REASONS = {
    "not_needed": "Not needed",
    "wrong_customer": "Wrong customer",
    "wrong_answer": "The answer is wrong",
    "bad_wording": "Badly worded",
    "already_in_contact": "We are already in contact",
    "other": "Something else",
}


def card(view: CardView, rendered: Rendered) -> View:
    """The card itself, for whoever does not look into the review channel; its buttons work as there."""
    return view_of(ModalId.CARD, "Check-in", _target(view), rendered.blocks)


def edit(view: CardView) -> View:
    """The draft, prefilled; submitting approves the new words."""
    if width(view.draft) > DRAFT_LIMIT:
        return notice(
            "Too long to edit here",
            f"This draft has {len(view.draft)} characters and a field in Slack holds {DRAFT_LIMIT}. "
            f"Use `aftercare outreach edit {view.outreach.id}`, or reject it.",
        )
    field = {
        "type": "plain_text_input",
        "action_id": "text",
        "multiline": True,
        "initial_value": view.draft,
        "max_length": DRAFT_LIMIT,
    }
    if not view.draft.strip():
        field.pop("initial_value")
    leaves = f"Saving approves these words. They would leave {escape(view.local_send_time)}, the customer's time."
    return view_of(
        ModalId.EDIT,
        "Edit the message",
        _target(view),
        [_reader(view), _input("draft", "Message", field), context(leaves)],
        submit="Approve this text",
    )


def reject(view: CardView, reasons: Sequence[str]) -> View:
    """Why not? The answer is a label that the product learns from."""
    options = [_option(_REASONS.get(reason, reason.replace("_", " ").capitalize()), reason) for reason in reasons]
    select = {
        "type": "static_select",
        "action_id": "select",
        "placeholder": plain("Choose a reason"),
        "options": options,
    }
    return view_of(
        ModalId.REJECT,
        "Reject this check-in",
        _target(view),
        [_reader(view), _input("reason", "Why should it not be sent?", select)],
        submit="Reject",
    )


def snooze(view: CardView, now: datetime, zone: ZoneInfo) -> View:
    """Until when? Times are in the agent's own zone, and before the card expires."""
    times = snooze_times(now, zone, view.expires_at)
    if not times:
        return notice("Too late to snooze", "This check-in expires within the hour: approve, edit or reject it.")
    select = {
        "type": "static_select",
        "action_id": "select",
        "placeholder": plain("Choose a time"),
        "options": [_option(label, instant.isoformat()) for label, instant in times],
    }
    return view_of(
        ModalId.SNOOZE,
        "Snooze this check-in",
        _target(view),
        [_reader(view), _input("until", "Show it again", select), context(f"Times are in {zone.key}.")],
        submit="Snooze",
    )


def handoff_reply(facts: HandoffFacts, question: str) -> View:
    """Words of an agent's own; the modal says who will read them."""
    name = cut(escape(one_line((facts.customer_name or "").split(" ")[0])), NAME_LIMIT) or "The customer"
    way = {"slack": "as a direct message in Slack", "email": "as an email"}.get(facts.channel, "")
    reader = section(
        f"👤 *{name}, your customer, will read this* {way}. Colleagues see it in the thread.".replace("  ", " ")
    )
    blocks = [reader]
    if question.strip():
        blocks += [section(part) for part in quoted(escape(question), 1500, most=1)]
    field = {"type": "plain_text_input", "action_id": "text", "multiline": True, "max_length": DRAFT_LIMIT}
    blocks.append(_input("reply", "Your reply", field))
    return view_of(ModalId.HANDOFF_REPLY, "Reply to the customer", str(facts.id), blocks, submit="Send")


def notice(title: str, text: str) -> View:
    """Say something that needs no answer."""
    return view_of(ModalId.NOTICE, cut(title, 24), "", [section(cut(text, SECTION_LIMIT))])


def view_of(callback: ModalId, title: str, reference: str, blocks: Sequence[View], submit: str | None = None) -> View:
    """Put a modal together; `reference` is ids only."""
    view: View = {
        "type": "modal",
        "callback_id": callback.value,
        "title": plain(title),
        "close": plain("Cancel" if submit else "Close"),
        "private_metadata": reference,
        "blocks": list(blocks),
    }
    return view | ({"submit": plain(submit)} if submit else {})


def _target(view: CardView) -> str:
    return f"{view.outreach.id}:{view.outreach.version}"


def _reader(view: CardView) -> View:
    name = cut(escape(one_line(view.customer_first_name)), NAME_LIMIT) or "the customer"
    order = f", order {cut(escape(one_line(view.order_key)), NAME_LIMIT)}" if view.order_key else ""
    return section(f"To *{name}*{order}, by {escape(view.recipient_label)}.")


def _input(block: str, label: str, element: View) -> View:
    return {"type": "input", "block_id": block, "label": plain(label), "element": element}


def _option(label: str, value: str) -> View:
    return {"text": plain(cut(label, 75)), "value": value}


def plain(text: str) -> View:
    """A text that is shown as it is."""
    return {"type": "plain_text", "text": text}
