"""`aftercare demo`: the whole loop on an invented shop, or on a shop's own files."""

from __future__ import annotations

from pathlib import Path

import click

from bot.demo.show import DemoOptions, run_demo
from bot.demo.workspace import default_folder, local_slack_binary


@click.command("demo")
@click.option("--tour", is_flag=True, help="Go through the whole loop by itself, check each step, and end.")
@click.option(
    "--data",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Show it on canonical files in this folder instead of the invented shop.",
)
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=default_folder,
    show_default="demo-shop",
    help="Where the demo works; an older demo there is replaced.",
)
@click.option("--terminal", is_flag=True, help="Draw the cards in the terminal even if local-slack is there.")
@click.option(
    "--pace",
    type=click.FloatRange(0, 100),
    default=1.0,
    show_default=True,
    help="How long the pauses of the day are that it shows by itself; 0: nothing happens unless you do it.",
)
def demo_command(tour: bool, data: Path | None, folder: Path, terminal: bool, pace: float) -> int:
    """Show the whole loop on an invented shop.

    Without --tour it stays there to be tried out: mails can be read and answered on a page of this machine. With
    AFTERCARE_LOCAL_SLACK naming local-slack's binary (`make demo` sees to it) the cards are posted to a Slack-speaking
    server; otherwise they are drawn here.
    """
    binary = None if terminal else local_slack_binary()
    return run_demo(DemoOptions(tour=tour, data=data, folder=folder, local_slack=binary, pace=pace))
