"""`outreach`: the review desk on the command line."""

from __future__ import annotations

import getpass
from collections.abc import Callable
from datetime import datetime
from typing import Any

import click

from bot.commands.base import application, config_option, instant_argument, json_option, print_json, print_table
from bot.decide.lifecycle import OPEN, OutreachState
from bot.errors import UsageError
from bot.services.review.desk import ReviewDesk
from bot.store.outreach import Outreach

__all__ = ["outreach_command"]


@click.group("outreach")
def outreach_command() -> None:
    """List proposed check-ins and decide about them (exit 4: somebody was faster, or it is too late)."""


@outreach_command.command("list")
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice([str(one) for one in OutreachState]),
    help="Only these; default: open ones.",
)
@click.option("--all", "everything", is_flag=True, help="Whatever their state.")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True)
@click.option("--offset", type=click.IntRange(0), default=0)
@config_option
@json_option
def list_command(states: tuple[str, ...], everything: bool, limit: int, offset: int, as_json: bool) -> int:
    """Check-ins by state, the most pressing first."""
    wanted = None if everything else {OutreachState(one) for one in states} or OPEN
    with application() as app:
        rows = app.review.listing(wanted, limit=limit, offset=offset)
    if as_json:
        print_json(rows)
        return 0
    columns = ("id", "version", "state", "customer_id", "order_id", "playbook", "channel", "probability", "not_before")
    print_table("Check-ins", columns, (tuple(_cell(row[name]) for name in columns) for row in rows))
    return 0


@outreach_command.command("show")
@click.argument("outreach_id", type=int, metavar="ID")
@config_option
@json_option
def show_command(outreach_id: int, as_json: bool) -> int:
    """One check-in: why, the exact draft, what was decided, every delivery."""
    with application() as app:
        row = app.review.detail(outreach_id)
        card = app.review.card(outreach_id)
    if as_json:
        print_json([row])
        return 0
    click.echo(
        f"Check-in {row['id']} (version {row['version']}, {row['state']}): {row['playbook']}, {card.recipient_label}"
    )
    click.echo(f"To {card.customer_first_name or 'customer'} {card.customer_key}, order {card.order_key or '-'}")
    if card.probability is not None:
        click.echo(f"Expected: {card.predicted_issue or 'trouble'}: {card.probability:.0%} ({card.band})")
    for reason in card.reasons:
        click.echo(f"  - {reason.text}")
    click.echo(f"Leaves {card.local_send_time}; expires {card.expires_at:%Y-%m-%d %H:%M} UTC")
    click.echo(f"\n{card.draft}\n")
    if card.article is not None:
        click.echo(f"Cites {card.article.id} v{card.article.version}: {card.article.title}")
    if card.status_line:
        click.echo(card.status_line)
    for delivery in row["deliveries"]:
        click.echo(f"  attempt {delivery['attempt']}: {delivery['state']} {delivery['error'] or ''}".rstrip())
    return 0


def _decision(name: str, help_text: str, *options: Callable[[Any], Any]) -> Callable[[Callable[..., Outreach]], Any]:
    """Make one decision a command: the id, the version that was seen, who, and how the result is printed."""

    def make(decide: Callable[..., Outreach]) -> Any:
        def run(outreach_id: int, version: int | None, actor: str | None, as_json: bool, **given: Any) -> int:
            with application() as app:
                seen = version if version is not None else app.review.card(outreach_id).outreach.version
                who = f"cli:{actor or _user()}"
                after = decide(app.review, outreach_id, seen, who, settings=app.settings, **given)
                row = app.review.detail(after.id)
            if as_json:
                print_json([row])
            else:
                click.echo(f"Check-in {after.id} is {after.state} now (version {after.version}).")
            return 0

        run.__doc__ = help_text
        command: Any = run
        wrappers: tuple[Callable[[Any], Any], ...] = (
            json_option,
            config_option,
            click.option("--as", "actor", help="Who decides (default: the user of this machine)."),
            click.option("--version", type=int, help="The version that you saw (default: the present one)."),
            *options,
            click.argument("outreach_id", type=int, metavar="ID"),
        )
        for wrap in wrappers:
            command = wrap(command)
        return outreach_command.command(name)(command)

    return make


@_decision("approve", "Say yes: it leaves at its planned time, but not before the undo window is over.")
def approve_command(desk: ReviewDesk, outreach_id: int, version: int, actor: str, settings: Any) -> Outreach:
    return desk.approve(outreach_id, version, actor)


@_decision(
    "edit",
    "Replace the draft by other words and approve it.",
    click.option("--text", help="The new words."),
    click.option("--file", "file", type=click.File("r", encoding="utf-8"), help="A file that holds them; - is stdin."),
)
def edit_command(
    desk: ReviewDesk, outreach_id: int, version: int, actor: str, settings: Any, text: str | None, file: Any
) -> Outreach:
    if (text is None) == (file is None):
        raise UsageError("give the new words by --text or by --file")
    return desk.edit(outreach_id, version, actor, text if text is not None else file.read())


@_decision(
    "reject",
    "Say no, with a reason from `review.reject_reasons`.",
    click.option("--reason", required=True, help="Why; a label for learning."),
)
def reject_command(
    desk: ReviewDesk, outreach_id: int, version: int, actor: str, settings: Any, reason: str
) -> Outreach:
    return desk.reject(outreach_id, version, actor, reason)


@_decision(
    "snooze",
    "Put it aside until a time before it expires.",
    click.option("--until", required=True, help="When it comes back, such as 2026-03-11T09:00 (in shop.timezone)."),
)
def snooze_command(desk: ReviewDesk, outreach_id: int, version: int, actor: str, settings: Any, until: str) -> Outreach:
    instant = instant_argument(until, settings)
    assert instant is not None  # click requires it
    return desk.snooze(outreach_id, version, actor, instant)


@_decision("claim", "Keep it to yourself for `review.claim_minutes`.")
def claim_command(desk: ReviewDesk, outreach_id: int, version: int, actor: str, settings: Any) -> Outreach:
    return desk.claim(outreach_id, version, actor)


@_decision("undo", "Take a decision back: an approval until it leaves, a rejection or snooze within the undo window.")
def undo_command(desk: ReviewDesk, outreach_id: int, version: int, actor: str, settings: Any) -> Outreach:
    return desk.undo(outreach_id, version, actor)


@_decision(
    "settle",
    "Say what became of an uncertain one.",
    click.option(
        "--arrived/--lost", "arrived", required=True, help="It arrived; or it did not, and is not sent again."
    ),
)
def settle_command(
    desk: ReviewDesk, outreach_id: int, version: int, actor: str, settings: Any, arrived: bool
) -> Outreach:
    return desk.settle(outreach_id, version, actor, arrived=arrived)


@_decision("retry", "Send a failed one again, or an uncertain one that did not arrive.")
def retry_command(desk: ReviewDesk, outreach_id: int, version: int, actor: str, settings: Any) -> Outreach:
    return desk.retry(outreach_id, version, actor)


@outreach_command.command("stop")
@click.option("--why", default="", help="For those who wonder later; goes to the audit log.")
@config_option
@json_option
def stop_command(why: str, as_json: bool) -> int:
    """Send nothing more to any customer, answers included, until `outreach resume`."""
    with application() as app:
        changed = app.stopping.stop(f"cli:{_user()}", why)
    if as_json:
        print_json([{"stopped": True, "changed": changed}])
    else:
        click.echo(
            "Nothing is sent from now on. Lift it with: aftercare outreach resume"
            if changed
            else "It is stopped already."
        )
    return 0


@outreach_command.command("resume")
@config_option
@json_option
def resume_command(as_json: bool) -> int:
    """Lift the global stop: what was approved and has not expired leaves."""
    with application() as app:
        changed = app.stopping.resume(f"cli:{_user()}")
    if as_json:
        print_json([{"stopped": False, "changed": changed}])
    else:
        click.echo("What was approved leaves again." if changed else "Nothing was stopped.")
    return 0


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run under a number that has no name
        return "unknown"


def _cell(value: Any) -> Any:
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    return f"{value:.2f}" if isinstance(value, float) else value
