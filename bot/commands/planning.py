"""`plan` and `playbook`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from bot.commands.autonomy import autonomy_command
from bot.commands.base import application, config_option, json_option, print_json, print_table
from bot.decide.playbook import Playbook
from bot.errors import InputError, NotFound
from bot.services.planning.planner import PlanLine
from bot.services.planning.playbooks import PlaybookFile, load_playbooks, read_file
from bot.services.planning.simulating import Simulated
from bot.store.instances import keep_version, move_journeys
from bot.store.shop import customer_by_key
from bot.wiring import App

__all__ = ["plan_command", "playbook_command"]


@click.command("plan")
@click.option("--dry-run", is_flag=True, help="Say whom, what and when, and whom not and why; write nothing at all.")
@click.option(
    "--explain", "customer", metavar="CUSTOMER", help="Show the whole chain for one customer; writes nothing."
)
@config_option
@json_option
def plan_command(dry_run: bool, customer: str | None, as_json: bool) -> int:
    """Propose today's check-ins and remember who is left alone and why.

    Running it again on the same local date proposes nothing twice.
    """
    with application() as app:
        if customer is not None:
            _print_chain(app.planner.explain(customer), as_json)
            return 0
        lines = app.planner.plan(dry_run=dry_run)
    if as_json:
        print_json(line.line() for line in lines)
        return 0
    columns = ("customer", "order", "playbook", "decision", "why", "when", "channel", "risk", "article")
    print_table("Plan (nothing was written)" if dry_run else "Plan", columns, (_row(line) for line in lines))
    counts = Counter(line.decision.value for line in lines)
    click.echo(", ".join(f"{counts[name]} {word}" for name, word in _WORDS.items()))
    if lines:
        ranked = Counter(line.ranking for line in lines)
        click.echo("Ranking: " + ", ".join(f"{number} {name}" for name, number in sorted(ranked.items())))
    return 0


_WORDS = {"suggest": "suggested", "defer": "deferred", "refuse": "left alone"}


def _row(line: PlanLine) -> tuple[Any, ...]:
    when = line.not_before if line.decision == "suggest" else line.until
    return (
        line.customer_id,
        line.order_id,
        line.playbook,
        line.decision.value,
        line.reason,
        f"{when:%Y-%m-%d %H:%M} UTC" if when else None,
        line.channel,
        None if line.probability is None else f"{line.probability:.0%} {line.band}",
        line.article,
    )


def _print_chain(chain: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        print_json(chain)
        return
    for link in chain:
        click.echo(f"{link['playbook']}: audience: {link['audience']}")
        for name, value in link.items():
            if name not in ("playbook", "audience", "customer_id", "rules") and value not in (None, []):
                click.echo(f"  {name}: {value}")
        for rule in link.get("rules", ()):
            click.echo(f"  {'passed ' if rule['passed'] else 'REFUSED'}  {rule['rule']}: {rule['words']}")


@click.group("playbook")
def playbook_command() -> None:
    """List, check, show or simulate playbooks."""


@playbook_command.command("list")
@config_option
@json_option
def list_playbooks(as_json: bool) -> int:
    """The playbooks: the shipped ones and those in `playbooks.dir`, and which are in force."""
    with application() as app:
        files = app.playbooks.files
        levels = _levels(app)
    if as_json:
        print_json(_summary(one, levels) for one in files)
        return 0
    columns = ("id", "title", "on", "goal", "owner", "autonomy", "level", "audience", "trigger", "steps", "from")
    print_table("Playbooks", columns, (tuple(_summary(one, levels)[name] for name in columns) for one in files))
    return 0


@playbook_command.command("lint")
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path), metavar="[FILE…]")
@config_option
def lint_playbooks(paths: tuple[Path, ...]) -> int:
    """Name every mistake of FILEs, or of all playbooks in force, with file and line."""
    with application() as app:
        names = app.catalogue.names
        if not paths:
            found = load_playbooks(app.settings, names).known
            click.echo(f"{len(found)} playbooks are sound.")
            return 0
    mistakes: list[str] = []
    for path in paths:
        try:
            read_file(path, names)
        except InputError as error:
            mistakes.append(str(error))
    if mistakes:
        raise InputError("\n".join(mistakes))
    click.echo(f"{len(paths)} {'playbook is' if len(paths) == 1 else 'playbooks are'} sound.")
    return 0


@playbook_command.command("show")
@click.argument("playbook_id", metavar="ID")
@config_option
@json_option
def show_playbook(playbook_id: str, as_json: bool) -> int:
    """One playbook, as it is written, and how far it may go by itself now."""
    with application() as app:
        one = app.playbooks.get(playbook_id)
        levels = _levels(app)
    if as_json:
        print_json([_summary(one, levels)])
    else:
        text = one.path.read_text(encoding="utf-8")
        click.echo(text, nl=not text.endswith("\n"))
        if not one.enabled:
            click.echo(
                f"# Not in force: write `enable: [{playbook_id}]` under `playbooks` in config.yaml to let it run."
            )
        level = levels.get(playbook_id, one.playbook.autonomy.value)
        click.echo(f"# Autonomy in force: {level} (`aftercare playbook autonomy {playbook_id}` says why)")
    return 0


@playbook_command.command("simulate")
@click.argument("playbook", metavar="ID|FILE")
@click.option("--customer", metavar="CUSTOMER", help="Only this customer, step by step.")
@click.option(
    "--days", type=click.IntRange(0, 366), default=0, help="Begin so many days ago, with what was known then."
)
@config_option
@json_option
def simulate_playbook(playbook: str, customer: str | None, days: int, as_json: bool) -> int:
    """Whom a playbook would reach today, or step by step over past days; writes nothing."""
    with application() as app:
        found = _find(playbook, app.playbooks.known, app.catalogue.names)
        if customer is None and days == 0:
            lines = app.planner_of(found).plan(dry_run=True)
        else:
            walked = list(app.simulation_of(found).run(days, customer))
            columns = ("at", "customer_id", "order_id", "step", "decision", "reason")
            if as_json:
                print_json({name: getattr(one, name) for name in columns} for one in walked)
            else:
                title = f"Would have happened in {days} days, if each step had been sent at once"
                print_table(title, columns, ([f"{one.at:%Y-%m-%d}", *_cells(one, columns[1:])] for one in walked))
            return 0
    counts = Counter((line.playbook, line.decision.value, line.reason, line.channel) for line in lines)
    rows = [
        {"playbook": name, "decision": decision, "reason": reason, "channel": channel, "customers": number}
        for (name, decision, reason, channel), number in counts.most_common()
    ]
    if as_json:
        print_json(rows)
    else:
        print_table(
            "Would happen today",
            ("decision", "reason", "channel", "customers"),
            (list(row.values())[1:] for row in rows),
        )
        click.echo(f"{len(lines)} customers are in the audience.")
    return 0


@playbook_command.command("move")
@click.argument("playbook_id", metavar="ID")
@click.option("--customer", metavar="CUSTOMER", help="Only this customer's way.")
@config_option
def move_playbook(playbook_id: str, customer: str | None) -> int:
    """Let customers who are on their way go on by the playbook as it is written now.

    Without this each keeps to the version with which their way began.
    """
    with application() as app:
        one = app.playbooks.get(playbook_id)
        with app.database.write() as connection:
            person = customer_by_key(connection, customer) if customer is not None else None
            if customer is not None and person is None:
                raise NotFound(f"there is no customer {customer!r}; use the shop's own customer id")
            keep_version(connection, one.playbook.id, one.playbook.version, one.text, app.clock.now())
            moved, left = move_journeys(
                connection,
                one.playbook.id,
                one.playbook.version,
                [step.id for step in one.playbook.steps],
                None if person is None else person.id,
            )
    click.echo(f"{moved} moved to version {one.playbook.version}.")
    if left:
        click.echo(f"{left} stand at a step that this version does not have, and keep to theirs.")
    return 0


playbook_command.add_command(autonomy_command)


def _cells(one: Simulated, columns: tuple[str, ...]) -> list[Any]:
    return [getattr(one, name) for name in columns]


def _find(name: str, known: list[Playbook], templates: tuple[str, ...]) -> Playbook:
    found = next((one for one in known if one.id == name), None)
    if found is not None:
        return found
    if Path(name).is_file():
        return read_file(Path(name), templates)
    raise NotFound(f"there is no playbook or file {name!r}; known: {', '.join(one.id for one in known)}")


def _levels(app: App) -> dict[str, str]:
    with app.database.read() as connection:
        return {name: found.level.value for name, found in app.levels.of_playbooks(connection).items()}


def _summary(one: PlaybookFile, levels: Mapping[str, str]) -> dict[str, Any]:
    playbook = one.playbook
    trigger = playbook.trigger
    return {
        "id": playbook.id,
        "version": playbook.version,
        "title": playbook.title,
        "goal": playbook.goal.value,
        "owner": playbook.owner,
        "autonomy": playbook.autonomy.value,
        "level": levels.get(playbook.id, playbook.autonomy.value),
        "on": one.enabled,
        "purpose": playbook.purpose.value,
        "audience": _audience(playbook),
        "trigger": f"{_days(trigger.after)} to {_days(trigger.within)} after {trigger.event}",
        "steps": len(playbook.steps),
        "templates": [step.template for step in playbook.steps],
        "exit": sorted(playbook.exits),
        "channels": list(playbook.channels),
        "from": "shipped" if one.shipped else str(one.path),
    }


def _audience(playbook: Playbook) -> str:
    need, pattern = playbook.audience.prediction, playbook.audience.pattern
    if need is not None:
        return f"{need.kind}, {need.band} or more"
    if pattern is None:
        return "everybody to whom it happened"
    wanted = [*pattern.dimensions, *pattern.kinds]
    return "a pattern: " + (", ".join(wanted) or "any")


def _days(span: Any) -> str:
    return f"{span.total_seconds() / 86400:g} d"
