"""The tour's end: fourteen days later the future is imported, outcomes are labelled, lift is read, models retrained.

The world has moved on as the check-ins made it; Aftercare knows no more of it than the files say.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bot.clock import ManualClock
from bot.decide.lifecycle import OutreachState
from bot.decide.playbook import Goal
from bot.demo.beginning import import_folder, train_again
from bot.demo.stage import Stage
from bot.demo.timeline import Contacts
from bot.services.insight import Insight, Lift
from bot.services.planning.plan_lines import PlanLine
from bot.services.prediction.labelling import Labeller
from bot.services.review.cards import CardView
from bot.store.enums import PlanDecision
from bot.store.outreach import list_outreach

__all__ = ["REACHED", "contacts_of", "fourteen_days_later", "tell_lift"]

REACHED = frozenset({OutreachState.SENT, OutreachState.REPLIED, OutreachState.CLOSED})
# The playbook whose true effect the invented shop knows.
PLANTED = "delivery_at_risk"


def fourteen_days_later(stage: Stage, clock: ManualClock, lines: Sequence[PlanLine]) -> None:
    """Move the clock, import what happened meanwhile, label, measure and retrain."""
    narrator, app = stage.narrator, stage.app
    narrator.step("Fourteen days later: what became of everybody")
    with app.database.read() as connection:
        reached = {one.id for one in list_outreach(connection, REACHED)}
    sent = [line for line in lines if line.outreach_id in reached]
    contacts = Contacts(
        orders=frozenset(line.order_id for line in sent if line.order_id is not None),
        customers=frozenset(line.customer_id for line in sent if line.order_id is None),
    )
    folder = stage.scenery.write_later(stage.workspace.folder / "files", contacts)
    clock.set(stage.scenery.later)
    narrator.say(f"It is {clock.now():%A %d %B %Y}. The shop's files of these days come in:")
    import_folder(stage, folder)
    labeller = Labeller(app.database, app.clock, app.settings, app.playbooks)
    labelled = labeller.label()
    narrator.say(f"`aftercare run --once label` writes down {labelled} outcomes, each with the arm that was drawn.")
    narrator.expect(labelled > 0, "outcomes were labelled at their horizon")
    narrator.expect(labeller.label() == 0, "labelling again adds nothing")
    _measure(stage, lines)
    narrator.step("Retrain: the old model against the new one")
    train_again(stage)


def _measure(stage: Stage, lines: Sequence[PlanLine]) -> None:
    stage.narrator.step("Lift: did writing help?")
    lifts = tell_lift(stage)
    measured = next((lift for lift in lifts if lift.playbook == PLANTED), None)
    if measured is not None:
        _hold_against_truth(stage, lines, measured)


def tell_lift(stage: Stage) -> Sequence[Lift]:
    """Say what writing changed, playbook by playbook."""
    narrator = stage.narrator
    lifts = Insight(stage.app.database, stage.app.clock, stage.app.settings).lift()
    narrator.say("aftercare report lift, which compares those drawn to be contacted with those held out:")
    for lift in lifts:
        narrator.say(f"  {lift.playbook}:", f"    {lift.text}")
    for playbook in stage.app.playbooks.all:
        if playbook.goal is Goal.KEEP_CUSTOMER:
            days = stage.app.settings.predictors.churn.horizon_days
            narrator.say(f"  {playbook.id}:", f"    not yet: whether a customer came back is seen after {days} days")
    narrator.expect(any(lift.effect.treated.n and lift.effect.holdout.n for lift in lifts), "both arms were compared")
    return lifts


def contacts_of(cards: Iterable[CardView]) -> Contacts:
    """Return who was written to, by the check-ins that left."""
    sent = list(cards)
    return Contacts(
        orders=frozenset(card.order_key for card in sent if card.order_key is not None),
        customers=frozenset(card.customer_key for card in sent if card.order_key is None),
    )


def _hold_against_truth(stage: Stage, lines: Sequence[PlanLine], measured: Lift) -> None:
    narrator, effect = stage.narrator, measured.effect
    drawn = [
        line.order_id
        for line in lines
        if line.playbook == PLANTED
        and line.order_id
        and (line.decision is PlanDecision.SUGGEST or line.reason == "holdout")
    ]
    truth = stage.scenery.truth(drawn)
    if truth is None:
        narrator.say(
            "What these customers did next was recorded long before anybody could write to them: a difference here",
            "is chance, and an interval that holds zero is the right result.",
        )
        return
    expected = -truth.effect * measured.sent_share
    inside = effect.low <= expected <= effect.high
    narrator.say(
        f"Only the generator knows both futures of these {len(drawn)} orders: {truth.untouched:.0%} with a problem if nobody",
        f"writes, {truth.contacted:.0%} if somebody does. With {measured.sent_share:.0%} of the drawn ones reached that is",
        f"{expected * 100:+.1f} points; the interval [{effect.low * 100:+.1f}, {effect.high * 100:+.1f}] {'holds' if inside else 'misses'} it.",
    )
