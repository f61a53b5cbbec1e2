"""`report`: what the loop did and what it changed."""

from __future__ import annotations

import click

from bot.commands.base import application, config_option, instant_argument, json_option, print_json, print_table
from bot.commands.gaps import gap_options, show_gaps
from bot.commands.standing import journey_command, scoreboard_command
from bot.store.experiments import Segmentation

__all__ = ["report_command"]

EARNED_BY = ("playbook", "message", "article")


@click.group("report")
def report_command() -> None:
    """KPIs, the journey, gaps, lift, the scoreboard, patterns and value."""


report_command.add_command(journey_command)
report_command.add_command(scoreboard_command)


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


@report_command.command("gaps")
@gap_options
def gaps_command(days: int, as_of: str | None, as_json: bool) -> int:
    """What customers ask and no article answers, by whom it affects."""
    return show_gaps(days, as_of, as_json)


@report_command.command("lift")
@click.option("--playbook", help="Only this one.")
@click.option("--by", type=click.Choice([one.value for one in Segmentation]), help="Read each segment by itself.")
@config_option
@json_option
def lift_command(playbook: str | None, by: str | None, as_json: bool) -> int:
    """What check-ins changed, against the holdout, by intention to treat; readings hold however often one looks."""
    with application() as app:
        found = app.insight.lift(playbook, None if by is None else Segmentation(by))
    if as_json:
        print_json(one.line() for one in found)
        return 0
    if not found:
        click.echo("No outcomes yet: they are observed at the end of each horizon (predictors.*.horizon_days).")
    for one in found:
        whole = "all playbooks together" if one.playbook == "*" else one.playbook
        name = whole if one.arm == "treated" else f"{whole} ({one.arm})"
        where = "" if one.segment is None else f", {one.by} {one.segment}"
        click.echo(f"{name}, {one.outcome}{where}: {one.text}")
        if one.variants is not None:
            click.echo(f"    {one.variants}")
        for harm in one.harms:
            if one.segment is None and harm.effect.treated.value + harm.effect.holdout.value > 0:
                click.echo(f"    beside it: {harm.text}")
    if by is not None and found:
        click.echo(
            "Of many segments some look special by chance: one is said to help or harm only where at most one in twenty of "
            "those said so is expected to be false."
        )
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
            one.sentence,
            f"{one.stored.first_seen_at.astimezone(zone):%Y-%m-%d}" if one.stored else "now",
            len(one.silent),
        )
        for one in found
    ]
    print_table("Patterns, most surprising first", ("pattern", "known since", "silent orders"), rows)
    return 0


def _show_earned(by: str, as_json: bool) -> int:
    with application() as app:
        found = app.earned(by)
    if as_json:
        print_json(one.line() for one in found)
        return 0
    if not found:
        click.echo("No outcomes yet: they are observed at the end of each horizon (predictors.*.horizon_days).")
    for one in found:
        click.echo(one.text)
    if found and by == "article":
        click.echo("Articles are not drawn but go with what customers bought: take these as hints.")
    return 0


@report_command.command("value")
@click.option("--as-of", "as_of", metavar="T", help="What was known at an instant, instead of now.")
@click.option("--horizon-days", type=click.IntRange(1), default=365, show_default=True, help="Orders so far ahead.")
@click.option("--discount", type=click.FloatRange(0), default=0.1, show_default=True, help="Of a year.")
@click.option("--top", type=click.IntRange(0), default=20, show_default=True, help="Customers of each currency.")
@click.option("--by", type=click.Choice(EARNED_BY), help="What each has earned instead, by what its experiment showed.")
@config_option
@json_option
def value_command(
    as_of: str | None, horizon_days: int, discount: float, top: int, by: str | None, as_json: bool
) -> int:
    """What customers are expected to order, and how much of it is at risk; with --by, what contacting them earned."""
    if by is not None:
        return _show_earned(by, as_json)
    with application() as app:
        report = app.valuer.report(
            as_of=instant_argument(as_of, app.settings), horizon_days=horizon_days, yearly_discount=discount, top=top
        )
        zone = app.settings.shop.zone
    if as_json:
        print_json(report.lines())
        return 0
    if not report.segments:
        click.echo("Nobody has ordered yet; run `aftercare import` first.")
        return 0

    def amount(value: float | None, currency: str | None) -> str:
        return "unknown" if value is None or currency is None else f"{value:,.2f} {currency}"

    print_table(
        f"Expected within {report.horizon_days} days, at risk by no order within {report.risk_days} ({report.model})",
        ("bought", "risk", "customers", "orders", "value", "mean risk", "value at risk"),
        [
            (
                one.segment, one.band, f"{one.customers:,}", f"{one.expected_purchases:,.1f}",
                amount(one.expected_value, one.currency), f"{one.churn_probability:.0%}",
                amount(one.value_at_risk, one.currency),
            )
            for one in report.segments
        ],
    )  # fmt: skip
    print_table(
        "Most at risk",
        ("customer", "orders so far", "next order", "value", "risk", "value at risk"),
        [
            (
                one.customer_id, one.purchases,
                f"{one.next_order_at.astimezone(zone):%Y-%m-%d}" if one.next_order_at else "not foreseeable",
                amount(one.expected_value, one.currency), f"{one.churn_probability:.0%}",
                amount(one.value_at_risk, one.currency),
            )
            for one in report.customers
        ],
    )  # fmt: skip
    return 0
