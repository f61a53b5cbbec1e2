"""`aftercare demo`: sets the stage, and either goes on the tour or leaves the bot running for a person to try.

The command line's options are read in `bot.commands.demo`; what happens while it runs is `bot.demo.left_running`'s business.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from bot.clock import FileClock, ManualClock
from bot.demo.left_running import leave_running
from bot.demo.narration import Narrator, file_link
from bot.demo.scenery import InventedShop, OwnFiles, Scenery
from bot.demo.stage import Casting, Stage
from bot.demo.story import Story
from bot.demo.tour import run_tour
from bot.demo.workspace import Workspace

__all__ = ["DemoOptions", "run_demo"]

# Half of all customers are held out on the tour: the effect of one day's check-ins is to be seen.
TOUR_HOLDOUT, TOUR_CAPACITY = 0.5, 250
# The day that a person looks at has fewer held out; they see a dozen cards, and the rest when the fortnight passes.
TRY_HOLDOUT, TRY_CAPACITY = 0.3, 200
# What a shell makes of a process that Ctrl-C ended.
INTERRUPTED = 130


@dataclass(frozen=True, kw_only=True)
class DemoOptions:
    """What was asked for on the command line.

    Attributes
    ----------
    local_slack : Path or None
        The binary of local-slack; without it cards are drawn in the terminal.
    pace : float
        Stretches the pauses of the day that is shown while it is left running; 0: nothing happens by itself.
    """

    tour: bool
    data: Path | None
    folder: Path
    local_slack: Path | None
    pace: float = 1.0


def run_demo(options: DemoOptions, story: Story | None = None, narrator: Narrator | None = None) -> int:
    """Show the demo; return the exit status.

    Parameters
    ----------
    story : Story, optional
        Another plot for the invented shop, such as a smaller one.
    """
    narrator = narrator or Narrator()
    try:
        with _terminated_like_ctrl_c():
            return _run(options, story, narrator)
    except KeyboardInterrupt:
        narrator.say("", "Stopped before it was ready. `make demo` begins afresh.")
        return INTERRUPTED


def _run(options: DemoOptions, story: Story | None, narrator: Narrator) -> int:
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
        served=not options.tour,
    )
    if options.tour:
        standing = ManualClock(scenery.now)
        with Stage(workspace, scenery, standing, casting, narrator) as stage:
            return 0 if run_tour(stage, standing) else 1
    with Stage(workspace, scenery, FileClock(workspace.clock_file), casting, narrator) as stage:
        return leave_running(stage, options.pace)


def _opening(options: DemoOptions) -> list[str]:
    what = f"the files in {options.data}" if options.data else "an invented shop"
    lines = [f"It works on {what}, in the folder {file_link(options.folder)}; no account anywhere is needed."]
    if options.tour:
        lines.append("The tour goes through the whole loop by itself and checks what it sees.")
    else:
        lines.append("Half a minute of preparation, then two addresses to open. Ctrl-C ends it at any time.")
    return lines


@contextmanager
def _terminated_like_ctrl_c() -> Iterator[None]:
    """Let SIGTERM end what was started, local-slack above all, as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
