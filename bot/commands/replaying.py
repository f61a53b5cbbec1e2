"""`aftercare replay`: whom we would have contacted in the past."""

from __future__ import annotations

from pathlib import Path

import click

from bot.commands.base import application, config_option, instant_argument, json_option, print_json, print_table
from bot.errors import UsageError

__all__ = ["replay_command"]


@click.command("replay")
@click.option("--from", "start", required=True, help="Decide from this day on …")
@click.option("--to", "end", required=True, help="… up to here (not included).")
@click.option(
    "--capacity", type=float, default=0.05, show_default=True, help="Contacts a day, as a share of a day's orders."
)
@click.option("--horizon-days", type=click.IntRange(min=1), help="Days after the contact in which trouble counts.")
@click.option(
    "--report", type=click.Path(dir_okay=False, path_type=Path), help="Also write a page with plots: one HTML file."
)
@click.option("--limit", type=click.IntRange(min=0), default=15, show_default=True, help="Contacts in the table.")
@config_option
@json_option
def replay_command(
    start: str, end: str, capacity: float, horizon_days: int | None, report: Path | None, limit: int, as_json: bool
) -> None:
    """Decide each past day with what was known then: whom, when, how early, how much caught, beside a rule.

    Models are refitted at --from and at each first of a month after it. Nothing is written to the database.
    """
    if report is not None and not report.absolute().parent.is_dir():
        raise UsageError(f"there is no folder {report.absolute().parent} for the report; make it first")
    with application() as app:
        first, last = instant_argument(start, app.settings), instant_argument(end, app.settings)
        assert first is not None
        assert last is not None
        replayed = app.retrospector.replay(
            start=first, end=last, capacity=capacity, horizon_days=horizon_days, progress=_show
        )
        if report is not None:
            app.retrospector.report(replayed, report)
            click.echo(f"Wrote {report}", err=True)
    lines = list(replayed.lines())
    if as_json:
        print_json(lines)
        return
    print_table(
        f"{replayed.start} to {replayed.end}: {replayed.found.orders:,} orders",
        ("policy", "contacts", "later issues caught", "of contacts", "notice in days (quartiles)"),
        [
            (
                one["policy"].replace("_", " "), one["contacts"], one["caught"],
                "" if one["precision"] is None else f"{one['precision']:.0%}", _lead(one["lead_days"]),
            )
            for one in lines
            if one["row"] == "policy"
        ],
    )  # fmt: skip
    contacts = [one for one in lines if one["row"] == "contact" and one["policy"] == "aftercare"]
    if limit and contacts:
        print_table(
            f"The {min(limit, len(contacts))} surest contacts",
            ("order", "day", "trouble to come", "first sign", "days of notice"),
            [
                (
                    one["order_id"], one["local_date"], f"{one['probability']:.0%}",
                    "" if one["first_sign"] is None else f"{one['first_sign']} {one['first_sign_at'][:10]}", one["lead_days"],
                )
                for one in sorted(contacts, key=lambda one: -one["probability"])[:limit]
            ],
        )  # fmt: skip
    for one in lines:
        if one["row"] == "verdict":
            for sentence in one["sentences"]:
                click.echo(sentence)


def _show(what: str, done: int, total: int) -> None:
    click.echo(f"fitting {what} ({done + 1} of {total})", err=True)


def _lead(days: dict[str, float | None]) -> str:
    if days["median"] is None:
        return ""
    return f"{days['median']:.1f} ({days['low_quartile']:.1f} to {days['high_quartile']:.1f})"
