"""`aftercare demo`: sets the stage, and either goes on the tour or leaves the bot running for a person to try.

The command line's options are read in `bot.commands.demo`.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from bot.clock import FileClock, ManualClock
from bot.demo.beginning import begin
from bot.demo.narration import Narrator, file_link
from bot.demo.scenery import InventedShop, OwnFiles, Scenery
from bot.demo.stage import Casting, Stage
from bot.demo.story import Story
from bot.demo.terminal import draw_card
from bot.demo.tour import run_tour
from bot.demo.workspace import Workspace
from bot.running import Running

__all__ = ["DemoOptions", "run_demo"]

# Half of all customers are held out on the tour: the effect of one day's check-ins is to be seen.
TOUR_HOLDOUT, TOUR_CAPACITY = 0.5, 250
# A newcomer looks at a dozen cards, not at hundreds.
TRY_HOLDOUT, TRY_CAPACITY = 0.2, 12
CARDS_IN_TERMINAL = 3


@dataclass(frozen=True, kw_only=True)
class DemoOptions:
    """What was asked for on the command line.

    Attributes
    ----------
    local_slack : Path or None
        The binary of local-slack; without it cards are drawn in the terminal.
    """

    tour: bool
    data: Path | None
    folder: Path
    local_slack: Path | None


def run_demo(options: DemoOptions, story: Story | None = None, narrator: Narrator | None = None) -> int:
    """Show the demo; return the exit status.

    Parameters
    ----------
    story : Story, optional
        Another plot for the invented shop, such as a smaller one.
    """
    narrator = narrator or Narrator()
    workspace = Workspace(options.folder)
    narrator.title("Aftercare, the demo", *_opening(options))
    if workspace.make_afresh():
        narrator.say(f"The older demo in {file_link(workspace.folder)} was replaced.")
    scenery: Scenery = OwnFiles(options.data, workspace.folder / "files") if options.data else InventedShop(story)
    workspace.set_clock(scenery.now)
    casting = Casting(
        local_slack=options.local_slack,
        holdout_share=TOUR_HOLDOUT if options.tour else TRY_HOLDOUT,
        capacity=TOUR_CAPACITY if options.tour else TRY_CAPACITY,
    )
    if options.tour:
        standing = ManualClock(scenery.now)
        with Stage(workspace, scenery, standing, casting, narrator) as stage:
            return 0 if run_tour(stage, standing) else 1
    with Stage(workspace, scenery, FileClock(workspace.clock_file), casting, narrator) as stage:
        return _leave_running(stage)


def _opening(options: DemoOptions) -> list[str]:
    what = f"the files in {options.data}" if options.data else "an invented shop"
    lines = [f"It works on {what}, in the folder {file_link(options.folder)}; no account anywhere is needed."]
    if options.tour:
        lines.append("The tour goes through the whole loop by itself and checks what it sees.")
    return lines


def _leave_running(stage: Stage) -> int:
    """Plan a day, and leave the rest to the person at the keyboard."""
    begin(stage)
    narrator, app = stage.narrator, stage.app
    narrator.step("Your turn")
    if stage.slack is None:
        for card in app.review.cards(app.review.queue(CARDS_IN_TERMINAL)):
            narrator.show(draw_card(card))
        _say_what_to_type(stage)
        return 0 if narrator.close() else 1
    running = Running(app)

    def end(_signal: int, _frame: FrameType | None) -> None:
        running.ask_to_end()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    try:
        ready = running.start()
        if ready is not None:
            _say_where_to_click(stage)
            running.wait()
    finally:
        running.stop()
    narrator.say("The demo has ended. `make demo` begins afresh.")
    return 0


def _say_what_to_type(stage: Stage) -> None:
    review = stage.app.review
    first = review.queue(1)[0].id if review.queue(1) else 1
    stage.narrator.say(
        "This is an ordinary installation. To go on from here, type:",
        f"  source {stage.path('demo.env')}",
        "  .venv/bin/aftercare outreach list",
        f"  .venv/bin/aftercare outreach approve {first}",
        f"  .venv/bin/aftercare run --once deliver     # after the undo window; the mail lies in {stage.path('outbox')}",
        "Or see everything happen by itself: make demo ARGS=--tour",
    )


def _say_where_to_click(stage: Stage) -> None:
    assert stage.slack is not None
    queue = stage.app.review.cards(stage.app.review.queue(TRY_CAPACITY))
    reached = [card.customer_first_name for card in queue if card.channel == "slack"]
    people = " or ".join(reached[:2] or [person.name for person in stage.scenery.people()[:2]])
    stage.narrator.say(
        f"Open {stage.slack.base_url} in a browser: it looks like Slack, and needs no account.",
        "  1. As Ada (support), open #aftercare-review and click Approve on a card; for half a minute you can undo it.",
        f"  2. {people} can be reached in Slack, by direct message; mails land as files in {stage.path('outbox')}.",
        "  3. Switch to one of them and write to Aftercare:  My parcel is late, what can I do?",
        "  4. Ask what no article knows:  Can I run the Breeze 2 on a 110 volt socket in Canada?",
        "     It is handed over into #aftercare-review; as Ada, click Reply there.",
        f"In another terminal every command works on it: source {stage.path('demo.env')}; .venv/bin/aftercare outreach list",
        "Ctrl-C ends the demo.",
    )
