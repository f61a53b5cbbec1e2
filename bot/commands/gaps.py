"""The report on questions that no article answers, as `kb gaps` and `report gaps` print it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from bot.commands.base import application, config_option, instant_argument, json_option, print_json, print_table
from bot.errors import UsageError

__all__ = ["gap_options", "propose_drafts", "show_gaps"]


def gap_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the span of time that is looked at, `--json` and `--config`."""
    for option in (
        config_option,
        json_option,
        click.option("--as-of", "as_of", metavar="T", help="The end of the days, instead of now."),
        click.option(
            "--days", default=90, show_default=True, type=click.IntRange(1, 3650), help="How far back to look."
        ),
    ):
        function = option(function)
    return function


def propose_drafts(as_json: bool, *, alone: bool) -> int:
    """Propose a draft for each gap that is large enough, and print what was proposed."""
    if not alone:
        raise UsageError("--propose looks at what was asked up to now; leave out --draft and --as-of")
    with application() as app:
        views = [app.gap_desk.view(one) for one in app.gap_desk.propose()]
        customers = app.settings.knowledge.gaps.customers
    if as_json:
        print_json({"id": one.id, "title": one.title, "customers": one.customers, "times": one.times} for one in views)
    elif views:
        print_table("Proposed", ("", "title", "customers"), [(one.id, one.title, one.customers) for one in views])
    else:
        click.echo(f"Nothing new: no other gap of {customers} customers has an agent's reply to draft from.")
    return 0


def show_gaps(days: int, as_of: str | None, as_json: bool) -> int:
    """Print the gaps of some days, those that affect most first."""
    with application() as app:
        gaps = app.curation.gaps(days, as_of=instant_argument(as_of, app.settings))
    if as_json:
        print_json(gap.line() for gap in gaps)
        return 0
    if not gaps:
        click.echo("Every question was answered.")
        return 0
    print_table(
        f"What no article answers, in {days} days",
        ("", "about", "customers", "affected", "times", "replies", "question"),
        [
            (gap.rank, gap.name, gap.customers, f"{gap.affected:.1f}", gap.times, len(gap.replies), gap.question)
            for gap in gaps
        ],
    )
    return 0
