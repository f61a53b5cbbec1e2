"""The demo left running: the bot, the mailbox page and the day's story, until the person ends it.

It says where to look and what to try; what happens by itself is `bot.demo.day`'s business.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from bot.demo.arrivals import Arrivals, skip_daily_round
from bot.demo.beginning import prepare
from bot.demo.day import ANSWERABLE, UNANSWERABLE, Day, Tools
from bot.demo.fortnight import fourteen_days_on
from bot.demo.mail_program import MailProgram
from bot.demo.mailbox_server import door_of, serve_mailbox
from bot.demo.pace import LIFT, LOOK_SECONDS, Keyboard, RealPace
from bot.demo.stage import Stage
from bot.running import Running
from bot.services.review.cards import CardView

__all__ = ["leave_running"]

FIRST_CARDS = 4


def leave_running(stage: Stage, pace: float) -> int:
    """Prepare a day, show it, and leave the rest to the person at the keyboard; return the exit status.

    Parameters
    ----------
    pace : float
        Stretches the pauses of the story; 0: without it.
    """
    app, narrator = stage.app, stage.narrator
    prepare(stage)
    arrivals, cards = _first_check_ins(stage)
    running = Running(app)
    keyboard = Keyboard.at_terminal()
    with _ends_on_signals(running):
        try:
            stage.release_web_port()
            if running.start() is not None:
                program = MailProgram(stage.workspace.outbox, stage.workspace.sent, app.settings.shop.zone)
                door = door_of(app)
                with serve_mailbox(app, program, door) as mailbox:
                    _say_where_to_look(stage, mailbox, keyboard, cards)
                    real = RealPace(running.wait, keyboard, pace)
                    tools = Tools(
                        app=app,
                        arrivals=arrivals,
                        program=program,
                        door=door,
                        pace=real,
                        narrator=narrator,
                        in_slack=stage.slack is not None,
                    )
                    day = Day(tools)
                    day.draw(cards)
                    if pace > 0:
                        narrator.step(
                            "The day" + (" (Enter: do not wait for what comes next)" if keyboard.present else "")
                        )
                        day.play()
                    _go_on(stage, running, keyboard, arrivals, real)
        finally:
            running.stop()
    narrator.say("", f"The demo has ended. `make demo` begins afresh; until then its shop stays in {stage.path('')}.")
    return 0


def _first_check_ins(stage: Stage) -> tuple[Arrivals, list[CardView]]:
    """Make the list of the day, and propose the first on it."""
    narrator, app = stage.narrator, stage.app
    narrator.step("Plan: whom to write to today")
    skip_daily_round(app, app.clock.now())
    arrivals = Arrivals(app)
    waiting = sum(arrivals.counts().values())
    share = app.settings.experiments.holdout_share
    narrator.say(
        f"{waiting} check-ins are worth proposing today, of {len(arrivals.counts())} playbooks. They come a few at a time here,",
        f"so that you can follow. {share:.0%} of the customers are held out by a draw, so that one can say later whether",
        "writing helped.",
    )
    cards = arrivals.bring(1, "delivery_at_risk", in_slack=True) if stage.slack is not None else []
    cards += arrivals.bring(FIRST_CARDS - len(cards), "delivery_at_risk")
    narrator.expect(bool(cards), "the first check-ins are there, each with its reasons and its draft")
    return arrivals, cards


def _go_on(stage: Stage, running: Running, keyboard: Keyboard, arrivals: Arrivals, pace: RealPace) -> None:
    """Do what is typed until the person ends it."""
    if keyboard.present and not keyboard.asks_for(LIFT):
        stage.narrator.say("", "From here on it is yours; all goes on running. Type lift and Enter, or Ctrl-C to end.")
    while not running.wait(LOOK_SECONDS):
        if keyboard.asks_for(LIFT):
            if stage.app.clock.now() < stage.scenery.later:
                fourteen_days_on(stage, arrivals, pace)
            else:
                stage.narrator.say("The fourteen days have passed already. Ctrl-C ends the demo.")
            keyboard.answered()


def _say_where_to_look(stage: Stage, mailbox: str, keyboard: Keyboard, cards: list[CardView]) -> None:
    narrator = stage.narrator
    narrator.step("Your turn: open " + ("these in a browser" if stage.slack is not None else "this in a browser"))
    if stage.slack is not None:
        narrator.say(f"  Slack    {stage.slack.base_url}     looks like Slack, and needs no account")
    narrator.say(f"  Mailbox  {mailbox}     every mail that the shop sends, as its reader sees it", "")
    narrator.say("What to try:")
    if stage.slack is not None:
        people = [card.customer_first_name for card in cards if card.channel == "slack"]
        person = next(iter([*people, *(one.name for one in stage.scenery.people())]), "a customer")
        by_mail = next((card.customer_first_name for card in cards if card.channel == "email"), "anybody")
        narrator.say(
            "  1. In Slack, as Ada (support), open #aftercare-review.",
            f"     Click Approve on {by_mail}’s card: for half a minute you can undo it.",
            "  2. Half a minute later, read the mail in the mailbox; look at its headers, and at the link in its foot.",
            f"  3. There, reply as {by_mail}:  {ANSWERABLE}",
            f"     and then what no article knows:  {UNANSWERABLE}",
            "  4. The second one comes to #aftercare-review as a hand-over. As Ada, click Reply; read it in the mailbox.",
            f"  5. {person} is reached in Slack: approve that card too; when it was sent, “Act as” {person},",
            "     open the direct messages, and answer there; write stop, and it stops.",
        )
    else:
        first = next((card.outreach.id for card in cards if card.channel == "email"), 1)
        narrator.say(
            "  1. In another terminal, in this folder:",
            f"       source {stage.path('demo.env')}",
            "       .venv/bin/aftercare outreach list",
            f"       .venv/bin/aftercare outreach approve {first}",
            "  2. Half a minute later, read the mail in the mailbox; look at its headers, and at the link in its foot.",
            f"  3. There, reply to it:  {ANSWERABLE}",
            f"     and then what no article knows:  {UNANSWERABLE}",
            "     Agents answer hand-overs in Slack; with npm you can try that too. Here a colleague answers one below.",
        )
    if keyboard.present:
        number = 6 if stage.slack is not None else 4
        narrator.say(
            f"  {number}. Type lift and Enter here: fourteen days pass, and you see what the check-ins changed."
        )
    if stage.slack is not None:
        narrator.say(
            f"Every command works on it from another terminal: source {stage.path('demo.env')}; .venv/bin/aftercare outreach list"
        )
    narrator.say("Ctrl-C ends the demo; `make demo` then begins afresh.")


@contextmanager
def _ends_on_signals(running: Running) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end the bot in order, from before it starts until it has ended."""

    def end(_signal: int, _frame: FrameType | None) -> None:
        running.ask_to_end()

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
