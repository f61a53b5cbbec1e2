"""`aftercare train`, `score`, `evaluate` and `models`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from bot.commands.base import (
    application,
    config_option,
    instant_argument,
    json_option,
    print_json,
    print_table,
)
from bot.errors import GateRefused, UsageError
from bot.services.prediction.evaluation_words import METRIC_NAMES, NAMES
from bot.services.prediction.retraining import refused
from predictors.backtest import Refit

KIND = click.Choice(["issue", "churn", "uplift"])
MOMENT = click.Choice(["placed", "due"])
horizon_option = click.option("--horizon-days", type=click.IntRange(min=1), help="Days after the moment that count.")


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
        columns = ("model", "stage", "learned from", "outcomes", "AUC later", "decision")
        print_table("Trained", columns, [_training_row(report) for report in reports])
    if kept_out := refused(reports):
        raise GateRefused("\n".join(f"{one.name} was not promoted: {one.reason}" for one in kept_out))


def _training_row(report: Any) -> tuple[Any, ...]:
    auc = interval(report.metrics.get("aftercare", {}).get("auc"))
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
        batches = app.scorer.batches(
            kind,
            moment=moment,
            as_of=instant_argument(as_of, app.settings),
            start=instant_argument(start, app.settings),
            end=instant_argument(end, app.settings),
            horizon_days=horizon_days,
            order_id=order_id,
        )
        if as_json:
            print_json(one.line() for batch in batches for one in batch)
            return
        count, stages, highest = 0, set(), []
        for batch in batches:
            count += len(batch)
            stages.add(f"{batch.name} ({batch.model.stage.value})")
            highest += batch.highest(limit)
    ranked = sorted(highest, key=lambda one: -one.probability)[:limit]
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
    title = f"{kind}: the {len(ranked)} highest of {count} — {', '.join(sorted(stages)) or 'nothing to score'}"
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
    return interval(metric).replace(" [", "\n[", 1)


def _show_refit(what: str, done: int, total: int) -> None:
    if done < total:
        click.echo(f"fitting {what} ({done + 1} of {total})", err=True)


def interval(metric: Any) -> str:
    """Write a value with its interval, as far as they are there."""
    if not metric or metric["value"] is None:
        return ""
    low, high = metric["low"], metric["high"]
    return f"{metric['value']:.3f}" + ("" if low is None or high is None else f" [{low:.3f}, {high:.3f}]")
