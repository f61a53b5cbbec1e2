"""The report page of `aftercare evaluate`: one HTML file with its plots in it, which fetches nothing from anywhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from html import escape

from bot.services.prediction.evaluation_words import METRIC_NAMES, NAMES, SUBJECTS, side, verdict
from bot.services.prediction.page import page, table
from predictors import plots
from predictors.backtest import OURS, Backtest
from predictors.evaluation import Interval

__all__ = ["evaluation_page"]

_GRADED = (OURS, "bgnbd", "logistic", "hist_gradient_boosting")
_MOMENTS = {"placed": "at purchase", "due": "when due", "now": "for every customer"}


def evaluation_page(parts: Sequence[tuple[str, str, str, int, Backtest]], *, shop: str, made_at: datetime) -> str:
    """Return the page.

    Parameters
    ----------
    parts : sequence of (kind, moment, span in words, horizon in days, backtest)
    shop : str
        Its name.
    made_at : datetime
        Local to the shop.
    """
    body = "".join(_section(*part) for part in parts)
    title = f"How good the predictions were: {shop}"
    return page(title, f"Made {made_at:%Y-%m-%d %H:%M} by aftercare evaluate.", body)


def _section(kind: str, moment: str, span: str, horizon_days: int, backtest: Backtest) -> str:
    name = f"{kind.capitalize()}, {_MOMENTS.get(moment, moment)}"
    each = SUBJECTS[kind]
    share = backtest.positives / backtest.n
    about = (
        f"{backtest.n:,} {each} from {span}; {backtest.positives:,} of them ({100 * share:.1f} %) with the outcome within "
        f"{horizon_days} days."
    )
    sentences = "".join(f"<li>{escape(one)}</li>" for one in verdict(kind, backtest))
    return (
        f'<section><h2>{escape(name)}</h2><p class="about">{escape(about)}</p><ul class="verdict">{sentences}</ul>'
        f'<div class="plots">{_figures(name, each, backtest)}</div>'
        f"<h3>All models, with 95 % bootstrap intervals</h3>{_metrics(backtest)}"
        f"<h3>Aftercare minus each baseline, paired on the same rows; bold green: better beyond noise, bold red: worse</h3>{_differences(backtest)}"
        f"<h3>Refits</h3>{_refits(backtest)}"
        '<p class="note">Each refit saw only what had been recorded by its instant. Brier score, calibration error and '
        "log loss: less is better. The prior is one number a refit; where the level moves against it from refit to "
        "refit, it ranks worse than chance.</p></section>"
    )


def _figures(name: str, each: str, backtest: Backtest) -> str:
    y = backtest.y
    shown = {NAMES.get(model, model): p for model, p in backtest.predictions.items()}
    # Of the others the probabilities are not meant as such, or are but one or two.
    graded = {name: p for name, p in shown.items() if name in {NAMES[model] for model in _GRADED}}
    drawn = (
        plots.roc_plot(y, shown, title=f"ROC: {name}"),
        plots.precision_recall_plot(y, shown, title=f"Precision and recall: {name}"),
        plots.reliability_plot(y, graded, title=f"Reliability: {name}"),
        plots.precision_at_capacity_plot(y, shown, each=each, title=f"Precision at capacity: {name}"),
        plots.level_by_month_plot(backtest.months, y, backtest.predictions[OURS], title=f"Level by month: {name}"),
    )
    return "".join(f"<figure>{svg}</figure>" for svg in drawn)


def _metrics(backtest: Backtest) -> str:
    rows = (
        (
            "ours" if model == OURS else "",
            NAMES.get(model, model),
            [_cell(values[metric], "{:.3f}") for metric in METRIC_NAMES],
        )
        for model, values in backtest.comparison.models.items()
    )
    return table(("model", *METRIC_NAMES.values()), rows)


def _differences(backtest: Backtest) -> str:
    rows = (
        (
            "",
            NAMES.get(model, model),
            [_cell(values[metric], "{:+.3f}", _sense(metric, values[metric])) for metric in METRIC_NAMES],
        )
        for model, values in backtest.comparison.differences.items()
    )
    return table(("against", *METRIC_NAMES.values()), rows)


def _refits(backtest: Backtest) -> str:
    rows = (
        ("", f"{one.as_of:%Y-%m-%d}", [f"{one.rows:,}", f"{one.positives:,}", escape(one.stage)])
        for one in backtest.refits
    )
    return table(("as of", "rows learned from", "with the outcome", "stage"), rows)


def _sense(metric: str, difference: Interval) -> str:
    return {1: "better", 0: "", -1: "worse"}[side(metric, difference)]


def _cell(interval: Mapping[str, float | None], form: str, sense: str = "") -> str:
    value, low, high = interval["value"], interval["low"], interval["high"]
    if value is None:
        return ""
    if low is None or high is None:
        return form.format(value)
    span = f'<span class="{sense}">' if sense else "<span>"
    bounds = f"{form.format(low)} to {form.format(high)}"
    return f'{span}{form.format(value)}</span><span class="interval">{bounds}</span>'
