"""`report`: what the loop did and what it changed."""

from __future__ import annotations

import click
from rich.markup import escape

from bot.commands.base import application, config_option, instant_argument, json_option, print_json, print_table

__all__ = ["report_command"]


@click.group("report")
def report_command() -> None:
    """KPIs and lift."""


@report_command.command("kpis")
@click.option("--days", type=click.IntRange(1), default=30, show_default=True, help="Look back so many days.")
@config_option
@json_option
def kpis_command(days: int, as_json: bool) -> int:
    """How the loop is doing, held against the targets in `journey`."""
    with application() as app:
        kpis = app.insight.kpis(days)
    if as_json:
        print_json(kpi.line() for kpi in kpis)
        return 0
    rows = []
    for kpi in kpis:
        bounds = [
            f"≥ {kpi.at_least:g}" if kpi.at_least is not None else "",
            f"≤ {kpi.at_most:g}" if kpi.at_most is not None else "",
        ]
        met = {True: "met", False: "missed", None: ""}[kpi.met]
        value = "-" if kpi.value is None else f"{kpi.value:.1%}" if kpi.name.endswith("_rate") else f"{kpi.value:g}"
        rows.append((kpi.name, value, kpi.n, " ".join(filter(None, bounds)), met))
    print_table(f"The last {days} days", ("KPI", "value", "of", "target", ""), rows)
    return 0


@report_command.command("lift")
@click.option("--playbook", help="Only this one.")
@config_option
@json_option
def lift_command(playbook: str | None, as_json: bool) -> int:
    """What check-ins changed, against the holdout, by intention to treat, with 95 % intervals."""
    with application() as app:
        found = app.insight.lift(playbook)
    if as_json:
        print_json(one.line() for one in found)
        return 0
    if not found:
        click.echo("No outcomes yet: they are observed at the end of each horizon (predictors.*.horizon_days).")
    for one in found:
        variant = "" if one.arm == "treated" else f" ({one.arm})"
        click.echo(f"{one.playbook}{variant}, {one.outcome}: {one.text}")
    return 0


@report_command.command("patterns")
@click.option("--as-of", "as_of", metavar="T", help="What was known at an instant, instead of now.")
@config_option
@json_option
def patterns_command(as_of: str | None, as_json: bool) -> int:
    """Lots, products, sellers and regions with more trouble lately than expected, and who has not complained yet."""
    with application() as app:
        found = app.patterns.report(instant_argument(as_of, app.settings))
        zone = app.settings.shop.zone
    if as_json:
        print_json(one.line() for one in found)
        return 0
    if not found:
        click.echo("No group of orders has more trouble than expected.")
        return 0
    rows = [
        (
            escape(one.sentence),
            f"{one.stored.first_seen_at.astimezone(zone):%Y-%m-%d}" if one.stored else "now",
            len(one.silent),
        )
        for one in found
    ]
    print_table("Patterns, most surprising first", ("pattern", "known since", "silent orders"), rows)
    return 0
