"""`aftercare customer show|export|erase` and `aftercare audit verify`."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from bot.commands.base import application, cli_actor, config_option, json_option, print_json, print_table
from bot.errors import UsageError
from bot.store import audit

source_option = click.option("--source", help="Where the customer's id comes from, if several sources share it.")


@click.group("customer")
@config_option
def customer_command() -> None:
    """Show, export or erase a customer (by the shop's id, mail address or Slack user id)."""


@customer_command.command("show")
@click.argument("customer")
@source_option
@config_option
@json_option
def show(customer: str, source: str | None, as_json: bool) -> None:
    """Show a customer's journey: what happened, in the order of happening, and what each counts today, bad and good."""
    with application() as app:
        journey = app.privacy.journey(customer, source)
        ledger = app.touchpoint_ledger.of(journey.orders, journey.touchpoints)
    keys = {order.id: order.external_id for order in journey.orders}
    counted = {entry.touchpoint_id: round(entry.points, 4) for entry in ledger.entries if entry.touchpoint_id}
    rows: list[dict[str, Any]] = [
        {
            "occurred_at": point.occurred_at,
            "recorded_at": point.recorded_at,
            "kind": point.kind,
            "order_id": keys.get(point.order_id) if point.order_id else None,
            "value": point.value,
            "channel": point.channel,
            "text": point.text,
            "points": counted.get(point.id) if point.id else None,
            **_feeling(journey.feelings.get(point.external_id) if point.kind == "reply" else None),
        }
        for point in journey.touchpoints
    ]
    if as_json:
        print_json([{"customer": asdict(journey.customer), "touchpoints": rows, "experience": ledger.line(keys)}])
        return
    # A broken promise has no touchpoint, but it counts.
    rows += [
        {
            **dict.fromkeys(("value", "channel", "text", "sentiment", "urgency")),
            "occurred_at": entry.occurred_at,
            "kind": f"({entry.experience})",
            "order_id": keys.get(entry.order_id) if entry.order_id else None,
            "points": entry.points,
        }
        for entry in ledger.entries
        if entry.touchpoint_id is None
    ]
    rows.sort(key=lambda row: row["occurred_at"])
    who = journey.customer
    zone = app.settings.shop.zone
    title = ", ".join(part for part in (who.external_id, who.name, who.city, who.country) if part)
    columns = ("when", "what", "order", "value", "channel", "points", "text")
    print_table(title, columns, ([_local(row["occurred_at"], zone), *_cells(row)] for row in rows))
    weights = "learned from this shop" if ledger.fitted else "set by hand"
    click.echo(f"Experience today: {ledger.score:+.2f} (0: nothing, or as much good as bad; weights {weights})")


@customer_command.command("export")
@click.argument("customer")
@source_option
@click.option("--output", type=click.Path(path_type=Path), help="A new file; else stdout.")
@config_option
def export(customer: str, source: str | None, output: Path | None) -> None:
    """Give out everything that is kept about a customer, as one JSON object."""
    if output is not None and (output.exists() or not output.parent.is_dir()):
        raise UsageError(f"{output} exists already or its folder does not; name a new file")
    with application() as app:
        everything = app.privacy.export(customer, cli_actor(), source)
    if output is None:
        print_json([everything])
        return
    output.touch(mode=0o600)
    with output.open("w", encoding="utf-8") as file:
        print_json([everything], file)
    click.echo(f"Everything about {customer} stands in {output}.")


@customer_command.command("erase")
@click.argument("customer")
@source_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@config_option
@json_option
def erase(customer: str, source: str | None, yes: bool, as_json: bool) -> None:
    """Take a customer out of every table, for ever. Hashed addresses stay, so that nobody writes to them again."""
    if not yes:
        click.confirm(f"Erase {customer} for ever?", abort=True, err=True)
    with application() as app:
        left = app.privacy.erase(customer, cli_actor(), source)
    if as_json:
        print_json([{"erased": True, "left_as": left}])
    else:
        click.echo("Erased. Backups made before now, mails sent and the shop's own files still hold the customer.")


@click.group("audit")
@config_option
def audit_command() -> None:
    """Verify the audit log."""


@audit_command.command("verify")
@config_option
@json_option
def verify(as_json: bool) -> int:
    """Check the chain of hashes; exit 1 where an entry was changed or is missing."""
    with application() as app, app.database.read() as connection:
        broken = audit.verify(connection)
        entries = audit.count(connection)
    if as_json:
        print_json([{"ok": not broken, "entries": entries, "broken": broken}])
    elif broken:
        click.echo(f"The audit log was changed at or just before: {', '.join(map(str, broken))}.", err=True)
    else:
        click.echo(f"The audit log is intact ({entries:,} entries).")
    return 1 if broken else 0


def _local(instant: datetime, zone: Any) -> str:
    return f"{instant.astimezone(zone):%Y-%m-%d %H:%M}"


def _feeling(felt: tuple[float | None, float | None] | None) -> dict[str, float | None]:
    sentiment, urgency = felt or (None, None)
    return {"sentiment": sentiment, "urgency": urgency}


def _sounds(row: dict[str, Any]) -> str | None:
    parts = [f"{name} {row[name]:.2f}" for name in ("sentiment", "urgency") if row[name] is not None]
    return f"({', '.join(parts)})" if parts else None


def _cells(row: dict[str, Any]) -> list[Any]:
    row = {**row, "text": row["text"] or _sounds(row)}
    text = row["text"] if row["text"] is None or len(row["text"]) <= 60 else f"{row['text'][:59]}…"
    points = None if row["points"] is None else f"{row['points']:+.2f}"
    return [row["kind"], row["order_id"], row["value"], row["channel"], points, text]
