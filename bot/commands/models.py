"""`aftercare models`: which there are, who scores, whether they still fit."""

from __future__ import annotations

import json
from typing import Any

import click

from bot.commands.base import (
    application,
    cli_actor,
    config_option,
    instant_argument,
    json_option,
    print_json,
    print_table,
)
from bot.commands.predicting import KIND, MOMENT, horizon_option, interval
from bot.errors import NotFound, UsageError

__all__ = ["models_command"]

reason_option = click.option("--reason", default="by hand", show_default=True, help="Why; the audit log keeps it.")
# So many features are shown to people; `--json` has all.
SHOWN_FEATURES = 8


@click.group("models")
def models_command() -> None:
    """List, show, promote or roll back models, and see whether they still fit."""


@models_command.command("list")
@config_option
@json_option
def list_models(as_json: bool) -> None:
    """List all models; the champion of each kind scores."""
    with application() as app:
        found = app.promoter.list_models()
        strangers = app.promoter.strangers()
    if as_json:
        print_json(_model_line(one) for one in found)
        return
    rows = (
        (
            one.name,
            one.status.value,
            one.stage,
            one.trained_as_of.date().isoformat(),
            interval(one.metrics.get("aftercare", {}).get("auc")).partition(" ")[0],
        )
        for one in found
    )
    print_table("Models", ("model", "status", "stage", "trained", "AUC"), rows)
    if strangers:
        click.echo(f"In models.dir, and unknown to this database: {', '.join(strangers)}")


@models_command.command("show")
@click.argument("name")
@click.option("--card", is_flag=True, help="Print the model card, in Markdown.")
@config_option
@json_option
def show_model(name: str, card: bool, as_json: bool) -> None:
    """Show a model's manifest and the way it was promoted."""
    with application() as app:
        found = app.promoter.show(name)
        history = [one for one in app.promoter.history(found.series) if one.model == name]
        path = app.promoter.card(found)
    if card:
        if not path.is_file():
            raise NotFound(f"{name} has no card at {path}; models of before there were cards have none")
        click.echo(path.read_text(encoding="utf-8"))
        return
    if as_json:
        print_json([{**_model_line(found), "manifest": dict(found.manifest)}])
        return
    for one in reversed(history):
        click.echo(f"{one.recorded_at.isoformat()} {one.way.value} by {one.actor}: {one.reason}", err=True)
    if path.is_file():
        click.echo(f"card: {path}", err=True)
    # The reference distributions of the features are for machines: thousands of numbers.
    shown = {key: value for key, value in found.manifest.items() if key != "reference"}
    click.echo(json.dumps(shown, indent=2, ensure_ascii=False))


@models_command.command("promote")
@click.argument("name")
@reason_option
@config_option
def promote_model(name: str, reason: str) -> None:
    """Let a model score from now on, whatever the gate said."""
    with application() as app:
        chosen = app.promoter.promote(name, actor=cli_actor(), reason=reason)
    click.echo(f"{chosen.name} scores from now on.")


@models_command.command("rollback")
@click.option("--kind", type=KIND, required=True)
@click.option("--moment", type=MOMENT, help="For issue; default: due.")
@horizon_option
@reason_option
@config_option
def rollback_model(kind: str, moment: str | None, horizon_days: int | None, reason: str) -> None:
    """Go back to the model that scored before; again, to the one before that."""
    if kind != "issue" and moment:
        raise UsageError(f"{kind} has no moments; leave --moment out")
    with application() as app:
        settings = app.settings.predictors
        horizon = horizon_days or (settings.churn if kind == "churn" else settings.issue).horizon_days
        at = (moment or "due") if kind == "issue" else "now"
        chosen, undone = app.promoter.rollback(kind, at, horizon, actor=cli_actor(), reason=reason)
    click.echo(f"{chosen.name} scores again, instead of {undone.model}.")


@models_command.command("drift")
@click.option("--as-of", help="Look as of here (default: now).")
@config_option
@json_option
def drift_command(as_of: str | None, as_json: bool) -> None:
    """Whether the champions still fit: features against those of the training, outcomes against predictions."""
    with application() as app:
        reports = app.drift.look(as_of=instant_argument(as_of, app.settings))
    if as_json:
        print_json(report.line() for report in reports)
        return
    if not reports:
        click.echo("There is no champion yet; `aftercare train` makes one.")
    for report in reports:
        _print_drift(report)


def _print_drift(report: Any) -> None:
    line = report.line()
    click.echo(f"{line['model']}, trained as of {line['trained_as_of'][:10]}:")
    for text in [*line["alarms"], *line["not_enough"]] or ["fits"]:
        click.echo(f"  {text}")
    if line["retrain"]:
        click.echo(f"  to be trained again: {line['retrain']}")
    if features := line["features"][:SHOWN_FEATURES]:
        rows = (
            (
                one["feature"],
                f"{one['psi']:.2f}",
                f"{one['bound']:.2f}",
                "alarm" if one["alarm"] else "always wandered" if one["wanders"] else "",
            )
            for one in features
        )
        print_table(f"Features of {line['recent_rows']} recent rows", ("feature", "PSI", "alarm from", ""), rows)
    if weeks := line["weeks"]:
        rows_of_weeks = (
            (one["week"], one["rows"], f"{one['expected']:.1%}", f"{one['observed']:.1%}",
             f"{one['low']:.1%} to {one['high']:.1%}")
            for one in weeks
        )  # fmt: skip
        print_table(
            "Outcomes that the model had not seen", ("week", "rows", "expected", "observed", "95 %"), rows_of_weeks
        )


def _model_line(one: Any) -> dict[str, Any]:
    return {
        "model": one.name,
        "kind": one.kind,
        "moment": one.moment,
        "horizon_days": one.horizon_days,
        "version": one.version,
        "status": one.status.value,
        "stage": one.stage,
        "sha256": one.sha256,
        "trained_as_of": one.trained_as_of.isoformat(),
        "metrics": dict(one.metrics),
    }
