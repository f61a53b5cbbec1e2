"""The tour's middle: an agent approves, edits and rejects, and what they approved reaches the customer once.

It decides through a `Surface` and reads what arrived at the customers' end: Slack's messages and the mail files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from bot.clock import ManualClock
from bot.decide.lifecycle import OutreachState
from bot.demo.mailbox import Mailbox
from bot.demo.narration import Narrator
from bot.demo.surface import Surface
from bot.demo.terminal import shortened
from bot.services.delivery.deliverer import Deliverer, DeliveryReport
from bot.services.review.cards import CardView
from bot.services.review.desk import ReviewDesk
from bot.store.database import Database
from bot.store.outreach import Outreach, list_outreach

__all__ = ["Decided", "decide_three", "deliver", "deliver_three", "work_through_queue"]

EDIT_LINE = "PS: Ada here. If the parcel is a present, tell me the day and I will see to it myself."
REJECT_REASON = "not_needed"


@dataclass(frozen=True, kw_only=True)
class Decided:
    """The three check-ins that the tour decided one by one."""

    approved: CardView
    edited: CardView
    rejected: CardView


def choose(cards: Sequence[CardView]) -> Decided:
    """Take one card to approve (by Slack where that is possible), one to edit (by mail) and one to reject."""
    rest = list(cards)

    def take(channel: str) -> CardView:
        found = next((card for card in rest if card.channel == channel), rest[0])
        rest.remove(found)
        return found

    return Decided(approved=take("slack"), edited=take("email"), rejected=rest[0])


def decide_three(cards: Sequence[CardView], surface: Surface, narrator: Narrator) -> Decided:
    """Approve one, edit one, reject one; show each card and what it says afterwards."""
    chosen = choose(cards)
    narrator.say(f"In {surface.label}, Ada of support sees {len(cards)} cards. Her first:")
    surface.show(chosen.approved)
    seen = surface.approve(chosen.approved)
    narrator.say("She clicks Approve. The buttons vanish, and the card says:")
    narrator.quote("the card", seen.text)
    narrator.expect("Approved" in seen.text, "the card names who approved and when it leaves")

    narrator.say("The next one she wants to word herself:")
    surface.show(chosen.edited, brief=True)
    seen = surface.edit(chosen.edited, f"{chosen.edited.draft.rstrip()}\n\n{EDIT_LINE}")
    narrator.say("She clicks Edit, finds the draft in the modal, adds a line, and submits:")
    narrator.quote("the card", seen.text)
    narrator.expect("Approved" in seen.text, "an edited text is approved with its new words")

    narrator.say("The third is not needed:")
    surface.show(chosen.rejected, brief=True)
    seen = surface.reject(chosen.rejected, REJECT_REASON)
    narrator.say(f"She chooses Reject… and the reason {REJECT_REASON!r}; reasons are labels to learn from.")
    narrator.quote("the card", seen.text)
    narrator.expect("Rejected" in seen.text, "the card says who rejected it")
    return chosen


def deliver(clock: ManualClock, undo_seconds: int, deliverer: Deliverer) -> DeliveryReport:
    """Let the undo window pass and send all that is due."""
    clock.advance(timedelta(seconds=undo_seconds + 1))
    total = DeliveryReport()
    while True:
        report = deliverer.drain()
        total = DeliveryReport(**{name: getattr(total, name) + getattr(report, name) for name in vars(total)})
        if not any(vars(report).values()):
            return total


def deliver_three(
    decided: Decided, clock: ManualClock, undo_seconds: int, deliverer: Deliverer, mailbox: Mailbox, narrator: Narrator
) -> None:
    """Send the two approved ones; hold against what the customers really got."""
    early = deliverer.drain()
    narrator.expect(
        early.sent == 0, f"nothing leaves within the {undo_seconds} seconds in which an approval can be undone"
    )
    report = deliver(clock, undo_seconds, deliverer)
    narrator.say(f"{undo_seconds} seconds later the delivery sends {report.sent} messages.")
    for card, what in ((decided.approved, "approved"), (decided.edited, "edited")):
        got = mailbox.of(f"outreach:{card.outreach.id}", card.channel, card.outreach.customer_id)
        narrator.expect(
            len(got) == 1, f"the {what} check-in reached {card.customer_first_name} once ({card.recipient_label})"
        )
        for message in got:
            narrator.quote(f"{card.customer_first_name} reads ({message.where})", shortened(message.text, last=1))
    none = decided.rejected
    narrator.expect(
        not mailbox.of(f"outreach:{none.outreach.id}", none.channel, none.outreach.customer_id),
        f"the rejected one reached nobody ({decided.rejected.customer_first_name})",
    )
    again = deliverer.drain()
    narrator.expect(again.sent == 0, "draining the queue again sends nothing")


def work_through_queue(review: ReviewDesk, database: Database, surface: Surface, narrator: Narrator) -> list[Outreach]:
    """Approve all that is left in the queue, as an agent would over the day; return what was approved."""
    approved = []
    while queue := review.queue(limit=100):
        approved += [review.approve(one.id, one.version, surface.actor) for one in queue]
    narrator.say(
        f"Ada works through the rest of the queue ({len(approved)} check-ins) by `aftercare outreach approve`."
    )
    with database.read() as connection:
        waiting = list_outreach(connection, {OutreachState.SUGGESTED})
    narrator.expect(not waiting, "the queue is empty")
    return approved
