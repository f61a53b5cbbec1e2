"""Fourteen days later, at a word: the rest of the day is worked off, the future is imported, and what writing changed is read.

The bot goes on running meanwhile; the tour does the same step by step (`bot.demo.ending`).
"""

from __future__ import annotations

from datetime import timedelta

from bot.decide.lifecycle import OutreachState
from bot.demo.arrivals import ALL_CARDS, Arrivals, skip_daily_round
from bot.demo.beginning import import_folder
from bot.demo.ending import REACHED, contacts_of, tell_lift
from bot.demo.pace import Pace
from bot.demo.stage import Stage
from bot.errors import AftercareError
from bot.store.outreach import list_outreach

__all__ = ["fourteen_days_on"]

# So long two hundred mails and their cards may take on a slow machine.
PATIENCE_SECONDS = 180
STEP_SECONDS = 0.5
ACTOR = "cli:lin"


def fourteen_days_on(stage: Stage, arrivals: Arrivals, pace: Pace) -> None:
    """Let the day end and fourteen days pass; tell the lift."""
    narrator, app = stage.narrator, stage.app
    narrator.step("Fourteen days later: did writing help?")
    arrivals.bring_all()
    approved = 0
    for one in app.review.queue(ALL_CARDS):
        try:
            app.review.approve(one.id, one.version, ACTOR)
            approved += 1
        except AftercareError:
            continue  # somebody has claimed it, or decided it at this moment
    narrator.say(f"Lin approves the rest of the day’s check-ins ({approved}); half a minute passes, and they leave.")
    stage.workspace.set_clock(app.clock.now() + timedelta(seconds=app.settings.review.undo_seconds + 1))
    for _ in range(round(PATIENCE_SECONDS / STEP_SECONDS)):
        with app.database.read() as connection:
            if not list_outreach(connection, {OutreachState.APPROVED, OutreachState.SENDING}):
                break
        if not pace.wait(STEP_SECONDS):
            return
    with app.database.read() as connection:
        reached = [one.id for one in list_outreach(connection, REACHED)]
    cards = [app.review.card(one) for one in reached]
    folder = stage.scenery.write_later(stage.workspace.folder / "files", contacts_of(cards))
    skip_daily_round(app, stage.scenery.later)
    stage.workspace.set_clock(stage.scenery.later)
    narrator.say(f"It is {app.clock.now():%A %d %B %Y}. The shop's files of these days come in:")
    import_folder(stage, folder)
    app.labeller.label()
    tell_lift(stage)
    narrator.say(
        "The rest of the queue and the fortnight went by without you; what you approved counts among them.",
        f"The same at any time, in another terminal: source {stage.path('demo.env')}; .venv/bin/aftercare report lift",
    )
