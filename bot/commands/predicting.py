"""`aftercare train`, `score`, `evaluate` and `models`."""

from __future__ import annotations

import json
from pathlib import Path
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
from bot.errors import GateRefused, UsageError
from bot.services.evaluation_words import METRIC_NAMES, NAMES
from bot.services.retraining import refused
from predictors.backtest import Refit

KIND = click.Choice(["issue", "churn", "uplift"])
MOMENT = click.Choice(["placed", "due"])
horizon_option = click.option("--horizon-days", type=click.IntRange(min=1), help="Days after the moment that count.")

reason_option = click.option("--reason", default="by hand", show_default=True, help="Why; the audit log keeps it.")


@click.command("train")
@click.option("--kind", type=KIND, help="Default: issue and churn.")
@click.option("--moment", type=MOMENT, help="Only one moment of issue.")
@click.option("--as-of", help="See nothing recorded later (default: now).")
@horizon_option
@config_option
@json_option
def train_command(
    kind: str | None, moment: str | None, as_of: str | None, horizon_days: int | None, as_json: bool
) -> None:
    """Train a challenger on what was recorded by an instant; it is promoted only past the gate.

    The first model of its kind promotes itself. Where the gate keeps the old model, the exit status is 4.
    """
    with application() as app:
        until = instant_argument(as_of, app.settings)
        kinds = [kind] if kind else ["issue", "churn"]
        reports = [
            report
            for one in kinds
            for report in app.trainer.train(
                one, moment=moment if one == "issue" else None, as_of=until, horizon_days=horizon_days
            )
        ]
    if as_json:
        print_json(report.line() for report in reports)
    else:
        columns = ("model", "stage", "orders or customers", "with the outcome", "AUC on later data", "decision")
        print_table("Trained", columns, [_training_row(report) for report in reports])
    if kept_out := refused(reports):
        raise GateRefused("\n".join(f"{one.name} was not promoted: {one.reason}" for one in kept_out))


def _training_row(report: Any) -> tuple[Any, ...]:
    auc = _interval(report.metrics.get("aftercare", {}).get("auc"))
    decision = "promoted" if report.promoted else f"kept out: {report.reason}"
    return report.name, report.stage, report.rows, report.positives, auc, decision


@click.command("score")
@click.option("--kind", type=KIND, default="issue", show_default=True)
@click.option(
    "--moment", type=MOMENT, help="At purchase, or when the order is due (default: the later that has passed)."
)
@click.option("--as-of", help="Score all that is recent then (default: now).")
@click.option("--from", "start", help="Score each order at its own moment from here …")
@click.option("--to", "end", help="… up to here (not included): a backtest.")
@click.option("--order", "order_id", help="Only this order (the shop's own id).")
@click.option(
    "--limit", type=click.IntRange(min=1), default=20, show_default=True, help="Rows of the table for people."
)
@horizon_option
@config_option
@json_option
def score_command(
    kind: str,
    moment: str | None,
    as_of: str | None,
    start: str | None,
    end: str | None,
    order_id: str | None,
    limit: int,
    horizon_days: int | None,
    as_json: bool,
) -> None:
    """Predict trouble (issue), leaving (churn) or the gain of a check-in (uplift), with reasons and fragility."""
    with application() as app:
        scored = app.scorer.score(
            kind,
            moment=moment,
            as_of=instant_argument(as_of, app.settings),
            start=instant_argument(start, app.settings),
            end=instant_argument(end, app.settings),
            horizon_days=horizon_days,
            order_id=order_id,
        )
    if as_json:
        print_json(one.line() for one in scored)
        return
    ranked = sorted(scored, key=lambda one: -one.probability)[:limit]
    rows = (
        (
            one.order_key or one.customer_key,
            one.moment,
            f"{one.probability:.1%}",
            one.band,
            one.fragility.level,
            "\n".join(f"{why.text} ({why.effect:+.0%})" for why in one.reasons),
        )
        for one in ranked
    )
    stages = ", ".join(sorted({f"{one.model} ({one.stage})" for one in scored})) or "nothing to score"
    title = f"{kind}: the {len(ranked)} highest of {len(scored)} — {stages}"
    print_table(
        title,
        (
            "customer" if kind == "churn" else "order",
            "moment",
            "gain" if kind == "uplift" else "probability",
            "band",
            "fragility",
            "reasons",
        ),
        rows,
    )


@click.command("evaluate")
@click.argument("kind", type=click.Choice(["issue", "churn"]))
@click.option("--from", "start", required=True, help="Judge from here …")
@click.option("--to", "end", required=True, help="… up to here (not included).")
@click.option("--moment", type=MOMENT, help="Only one moment of issue.")
@click.option(
    "--refit",
    type=click.Choice([one.value for one in Refit]),
    default=Refit.MONTHLY.value,
    show_default=True,
    help="Learn anew at --from and at the first of each month after it, or only at --from.",
)
@click.option(
    "--report", type=click.Path(dir_okay=False, path_type=Path), help="Also write a page with plots: one HTML file."
)
@horizon_option
@config_option
@json_option
def evaluate_command(
    kind: str,
    start: str,
    end: str,
    moment: str | None,
    refit: str,
    report: Path | None,
    horizon_days: int | None,
    as_json: bool,
) -> None:
    """Compare our model with named baselines on a later span, with 95 % intervals."""
    if report is not None and not report.absolute().parent.is_dir():
        raise UsageError(f"there is no folder {report.absolute().parent} for the report; make it first")
    with application() as app:
        first, last = instant_argument(start, app.settings), instant_argument(end, app.settings)
        assert first is not None
        assert last is not None
        evaluations = app.evaluator.evaluate(
            kind,
            start=first,
            end=last,
            moment=moment,
            horizon_days=horizon_days,
            refit=Refit(refit),
            progress=_show_refit,
        )
        if report is not None:
            app.evaluator.report(evaluations, report)
            click.echo(f"Wrote {report}", err=True)
    if as_json:
        print_json(one.line() for one in evaluations)
        return
    for one in evaluations:
        rows = (
            (NAMES[name], *(_stacked_interval(values[metric]) for metric in _SHOWN_METRICS))
            for name, values in one.models.items()
        )
        title = f"{one.kind} at {one.moment}: {one.n} known, {one.positives} with the outcome"
        print_table(title, ("model", *(METRIC_NAMES[metric] for metric in _SHOWN_METRICS)), rows)
        for sentence in one.line()["verdict"]:
            click.echo(sentence)


# As many as fit a terminal; the rest is in the JSON and on the report page.
_SHOWN_METRICS = ("auc", "average_precision", "brier", "ece", "precision_at_10_percent")


def _stacked_interval(metric: Any) -> str:
    """Write the interval below the value: columns stay narrow enough for a terminal."""
    return _interval(metric).replace(" [", "\n[", 1)


def _show_refit(what: str, done: int, total: int) -> None:
    if done < total:
        click.echo(f"fitting {what} ({done + 1} of {total})", err=True)


@click.group("models")
def models_command() -> None:
    """List, show, promote or roll back models."""


@models_command.command("list")
@config_option
@json_option
def list_models(as_json: bool) -> None:
    """List all models; the champion of each kind scores."""
    with application() as app:
        found = app.promoter.list_models()
    if as_json:
        print_json(_model_line(one) for one in found)
        return
    columns = ("model", "status", "stage", "trained as of", "AUC on later data", "sha256")
    rows = (
        (
            one.name,
            one.status.value,
            one.stage,
            one.trained_as_of.isoformat(),
            _interval(one.metrics.get("aftercare", {}).get("auc")),
            one.sha256[:12],
        )
        for one in found
    )
    print_table("Models", columns, rows)


@models_command.command("show")
@click.argument("name")
@config_option
@json_option
def show_model(name: str, as_json: bool) -> None:
    """Show a model's manifest."""
    with application() as app:
        found = app.promoter.show(name)
    if as_json:
        print_json([{**_model_line(found), "manifest": dict(found.manifest)}])
    else:
        click.echo(json.dumps(dict(found.manifest), indent=2, ensure_ascii=False))


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


def _interval(metric: Any) -> str:
    if not metric or metric["value"] is None:
        return ""
    low, high = metric["low"], metric["high"]
    return f"{metric['value']:.3f}" + ("" if low is None or high is None else f" [{low:.3f}, {high:.3f}]")
