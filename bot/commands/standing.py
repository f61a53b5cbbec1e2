"""`report journey` and `report scoreboard`: where customers stand, and how agents and the model did."""

from __future__ import annotations

import click

from bot.commands.base import application, config_option, json_option, print_json, print_table

__all__ = ["journey_command", "scoreboard_command"]


@click.command("journey")
@click.option("--customer", metavar="ID", help="Only this customer (the shop's own id).")
@click.option("--days", type=click.IntRange(1), default=30, show_default=True, help="How far back the KPIs look.")
@config_option
@json_option
def journey_command(customer: str | None, days: int, as_json: bool) -> int:
    """Where customers stand, for how long, what they have been through, and what misses the targets of `journey`."""
    with application() as app:
        if customer is not None:
            one = app.journey_board.of_customer(customer)
            if as_json:
                print_json([one.line()])
                return 0
            since = one.position.since
            zone = app.settings.shop.zone
            known = "nothing is known yet" if since is None else f"since {since.astimezone(zone):%Y-%m-%d %H:%M}"
            click.echo(
                f"{one.customer_id}: {_words(one.position.stage.value)}, {known}; experience {one.experience:+.2f}"
            )
            return 0
        board = app.journey_board.board(days)
    if as_json:
        print_json(board.lines())
        return 0
    print_table(
        f"{board.customers:,} customers",
        ("stage", "customers", "share", "median days", "experience"),
        [
            (
                _words(stage.value), f"{number:,}", f"{number / board.customers:.1%}" if board.customers else "",
                "" if waited is None else f"{waited:.1f}", "" if points is None else f"{points:+.2f}",
            )
            for stage, number, waited, points in board.stages
        ],
    )  # fmt: skip
    targeted = [one for one in board.figures if one.at_least is not None or one.at_most is not None]
    if not targeted and not board.unknown:
        click.echo(
            "No targets yet: say in `journey` of config.yaml what you want, such as stage.at_risk.share: {at_most: 0.1}."
        )
    for text in board.gap_texts:
        click.echo(f"Gap: {text}.")
    if targeted and not board.gaps:
        click.echo("Every target that has a figure is met.")
    for name in board.unknown:
        click.echo(f"`journey` names {name}, of which there is no figure.")
    return 0


@click.command("scoreboard")
@config_option
@json_option
def scoreboard_command(as_json: bool) -> int:
    """What became of check-ins that agents rejected, beside those they approved and what the model expected."""
    with application() as app:
        found = app.scoreboard.read()
    if as_json:
        print_json(one.line() for one in found)
        return 0
    if not found:
        click.echo("No decided check-in has an outcome yet: they are observed at the end of each horizon.")
    for one in found:
        name = "all" if one.group == "all" else f"{one.group} {_words(one.name)}"
        click.echo(f"{one.outcome}, {name}, {one.score.side}: {one.text}")
    return 0


def _words(name: str) -> str:
    return name.replace("_", " ")
