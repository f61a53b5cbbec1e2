"""`aftercare demo --tour`: the whole loop by itself, step by step, checked as it goes.

The steps are told in `beginning`, `deciding`, `talking` and `ending`; here is their order and what connects them.
"""

from __future__ import annotations

from bot.channels.slack.connection import SlackConnection
from bot.clock import ManualClock
from bot.demo.beginning import begin
from bot.demo.deciding import decide_three, deliver, deliver_three, work_through_queue
from bot.demo.ending import fourteen_days_later
from bot.demo.mailbox import Mailbox
from bot.demo.stage import Stage
from bot.demo.surface import SlackSurface, Surface, TerminalSurface
from bot.demo.talking import Dialogue, MailDialogue, SlackDialogue, talk
from bot.errors import NotFound
from bot.services.review.cards import CardView
from bot.store.shop import customer

__all__ = ["run_tour"]

ANSWERABLE = "My parcel is late, what can I do?"
SOURCE = "What happens when a parcel is late"
UNANSWERABLE = "Can I run the Breeze 2 on a 110 volt socket in Canada?"
ALL_CARDS = 1000


def run_tour(stage: Stage, clock: ManualClock) -> bool:
    """Go through the loop; return whether every step showed what it must."""
    narrator, app = stage.narrator, stage.app
    lines = begin(stage)
    mailbox = Mailbox(app.database, stage.workspace.outbox, stage.slack)
    if app.slack is not None:
        app.slack.start()
    try:
        narrator.step("Review: an agent decides")
        surface = _surface(stage)
        if app.slack is not None and stage.slack is not None:
            narrator.say(f"{_post_cards(app.slack)} cards are posted to #aftercare-review at {stage.slack.base_url}.")
        decided = decide_three(app.review.cards(app.review.queue(ALL_CARDS)), surface, narrator)

        narrator.step("Delivery: what was approved leaves, once")
        deliver_three(decided, clock, app.settings.review.undo_seconds, app.deliverer, mailbox, narrator)
        if app.slack is not None:
            app.slack.sync()
            narrator.expect(
                "Sent" in surface.status(decided.approved), "the card of the approved one says that it was sent"
            )

        narrator.step("The customer writes back")
        partner = app.review.card(decided.approved.outreach.id)
        talk(
            _dialogue(stage, partner, mailbox), partner.customer_first_name, ANSWERABLE, SOURCE, UNANSWERABLE, narrator
        )

        narrator.step("The rest of the day")
        approved = work_through_queue(app.review, app.database, surface, narrator)
        report = deliver(clock, app.settings.review.undo_seconds, app.deliverer)
        narrator.say(f"{report.sent} more messages leave; {mailbox.count()} mails lie in {stage.path('outbox')}.")
        got = [len(mailbox.of(f"outreach:{one.id}", one.channel, one.customer_id)) for one in approved]
        narrator.expect(report.sent == len(got) and set(got) <= {1}, "each of them reached its customer exactly once")
    finally:
        if app.slack is not None:
            app.slack.stop()
    fourteen_days_later(stage, clock, lines)
    return narrator.close()


def _post_cards(slack: SlackConnection) -> int:
    """Post every card, in as many rounds as the ticks of a running bot would take."""
    count = 0
    while posted := slack.sync():
        count += posted
    return count


def _surface(stage: Stage) -> Surface:
    if stage.slack is None:
        return TerminalSurface(stage.app.review, stage.narrator)
    return SlackSurface(stage.slack, stage.app.database, stage.app.review, stage.narrator)


def _dialogue(stage: Stage, card: CardView, mailbox: Mailbox) -> Dialogue:
    app = stage.app
    if stage.slack is None or card.channel != "slack":
        return MailDialogue(card, app.conversations, app.deliverer, app.database, app.clock, mailbox)
    with app.database.read() as connection:
        known = customer(connection, card.outreach.customer_id)
    if known is None or known.slack_user_id is None:
        raise NotFound(f"the customer of check-in {card.outreach.id} is not in Slack")
    return SlackDialogue(stage.slack, known.slack_user_id, known.id, mailbox)
