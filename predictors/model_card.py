"""A model's card: what it is, what it learned from, how it did on later data, and what it looks at, as Markdown.

After Mitchell et al., Model Cards for Model Reporting (2019). Plots are SVG texts from `predictors.plots`; where the card
and its plots are written belongs to the product.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from predictors.frames import Array
from predictors.model import TrainedModel
from predictors.plots import level_by_month_plot, precision_recall_plot, reliability_plot, roc_plot
from predictors.training import HeldOut

__all__ = ["card_plots", "importances", "model_card"]

# Rows that are enough to rank what a model looks at.
_SAMPLE = 1000
_MEANINGS = {
    "issue": "P(a bad rating, a ticket, a complaint, a return or a refund within the horizon) of an order",
    "churn": "P(no further order within the horizon) of a customer",
    "uplift": "by how much a check-in raises P(no issue within the horizon), for an order and now",
}
_TITLES = {
    "reliability": "Reliability",
    "roc": "ROC",
    "precision_recall": "Precision and recall",
    "level_by_month": "Level by month",
}


def card_plots(held_out: HeldOut | None) -> dict[str, str]:
    """Draw the judged fit on the later rows; nothing where there were none of both classes."""
    if held_out is None or not 0 < held_out.y.sum() < len(held_out.y):
        return {}
    y, p = held_out.y, held_out.p
    months = held_out.moments.dt.strftime("%Y-%m").to_list()
    return {
        "reliability": reliability_plot(y, {"model": p}),
        "roc": roc_plot(y, {"model": p}),
        "precision_recall": precision_recall_plot(y, {"model": p}),
        "level_by_month": level_by_month_plot(months, y, p),
    }


def importances(
    model: TrainedModel, frame: pl.DataFrame, groups: Mapping[str, Sequence[str]], *, seed: int
) -> dict[str, float]:
    """Return how far predictions move, on average, when the features of one fact are shuffled over the rows.

    By permutation, as Breiman (2001) does, but of predictions and not of a loss, so that no outcomes are needed and
    features that say the same thing are shuffled together. It says what the model looks at, not what causes trouble.

    Parameters
    ----------
    frame : polars.DataFrame
        Features, one row a subject.
    groups : mapping
        Fact: its features; those that the model does not take are ignored.

    Returns
    -------
    dict
        Fact: mean absolute change of the probability; the largest first.
    """
    sample = frame.sample(min(frame.height, _SAMPLE), seed=seed) if frame.height else frame
    if not sample.height:
        return {}
    plain = model.probabilities(sample)
    order = np.random.default_rng(seed).permutation(sample.height)
    found: dict[str, float] = {}
    for name, features in groups.items():
        used = [feature for feature in features if feature in model.features]
        if used:
            shuffled = sample.with_columns(sample.select(used)[order])
            found[name] = _mean_change(plain, model.probabilities(shuffled))
    return dict(sorted(found.items(), key=lambda one: -one[1]))


def model_card(manifest: Mapping[str, Any], plots: Sequence[str]) -> str:
    """Write the card from a model's manifest.

    Parameters
    ----------
    plots : sequence of str
        The names of the plots that lie beside it, as `NAME.PLOT.svg`.
    """
    name, metrics = manifest["name"], manifest.get("metrics") or {}
    lines = [f"# {name}", "", f"Predicts {_MEANINGS.get(manifest['kind'], manifest['kind'])}.", ""]
    lines += _table(("", ""), [(label, _plain(value)) for label, value in _facts(manifest) if value not in (None, "")])
    gate = manifest.get("gate") or {}
    lines += ["## The gate", "", _gate_text(gate, manifest), ""]
    lines += ["## On later data", "", _later_text(metrics), ""]
    if ours := metrics.get("aftercare"):
        lines += _table(("metric", "value", "95 % interval"), [_metric_row(*item) for item in ours.items()])
    lines += [f"![{_TITLES[plot]}]({name}.{plot}.svg)" for plot in plots]
    if losses := metrics.get("log_loss_by_stage"):
        rows = [(stage, "" if loss is None else f"{loss:.4f}") for stage, loss in losses.items()]
        lines += ["", "## Stages that were tried", "", *_table(("stage", "log loss on later data"), rows)]
    if weights := manifest.get("importances"):
        lines += ["", "## What it looks at", ""]
        lines += ["Mean change of a prediction when the fact is shuffled over the rows; no statement of cause.", ""]
        lines += _table(("fact", "change"), [(fact, f"{change:.4f}") for fact, change in weights.items()])
    libraries = manifest.get("libraries") or {}
    lines += ["", "## Made with", ""]
    lines += _table(("", ""), [*libraries.items(), ("code of predictors", manifest.get("code", "unknown"))])
    lines += [f"{len(manifest.get('features', []))} features: {', '.join(manifest.get('features', []))}.", ""]
    return "\n".join(lines)


def _facts(manifest: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return [
        ("kind, moment", f"{manifest['kind']}, {manifest['moment']}"),
        ("horizon", f"{manifest['horizon_days']} days"),
        ("stage", manifest["stage"]),
        ("trained as of", manifest["trained_as_of"]),
        ("learned from", f"{manifest['rows']} rows, {manifest['positives']} with the outcome"),
        ("of", " to ".join(filter(None, (manifest.get("data_from"), manifest.get("data_until"))))),
        ("labelled by", manifest.get("labelled_by")),
        ("settings", ", ".join(f"{key} {value}" for key, value in (manifest.get("settings") or {}).items())),
        ("sha256", manifest["sha256"]),
    ]


def _gate_text(gate: Mapping[str, Any], manifest: Mapping[str, Any]) -> str:
    verdict = gate.get("reason") or manifest.get("verdict") or "not judged"
    against = f" Judged against {manifest['parent']}." if manifest.get("parent") else ""
    replayed = gate.get("replayed_as_of")
    how = f" Its recipe was replayed as of {replayed}." if replayed else ""
    return f"{'Passed' if gate.get('passed', True) else 'Kept out'}: {verdict}.{against}{how}"


def _later_text(metrics: Mapping[str, Any]) -> str:
    rows = metrics.get("later_rows")
    if not rows:
        return "There was too little later data to judge by."
    return (
        f"The same recipe, fitted on the earlier part, on {rows} later rows that it had not seen; "
        "the model itself was then fitted on all of them."
    )


def _metric_row(name: str, metric: Mapping[str, float | None]) -> tuple[str, str, str]:
    value, low, high = (metric.get(key) for key in ("value", "low", "high"))
    interval = "" if low is None or high is None else f"{low:.3f} to {high:.3f}"
    return name, "" if value is None else f"{value:.3f}", interval


def _table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    lines = [f"| {' | '.join(columns)} |", f"| {' | '.join('---' for _ in columns)} |"]
    return [*lines, *(f"| {' | '.join(_plain(cell) for cell in row)} |" for row in rows), ""]


def _plain(value: Any) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")


def _mean_change(before: Array, after: Array) -> float:
    return round(float(np.abs(after - before).mean()), 6)
