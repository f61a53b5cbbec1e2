"""The report page of `aftercare evaluate`: one HTML file with its plots in it, which fetches nothing from anywhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from html import escape

from bot.services.prediction.evaluation_words import METRIC_NAMES, NAMES, SUBJECTS, side, verdict
from predictors import plots
from predictors.backtest import OURS, Backtest
from predictors.evaluation import Interval

__all__ = ["evaluation_page"]

_STYLE = """
body { margin: 0; background: #f4f6f5; color: #1c2b29; font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 72rem; margin: 0 auto; padding: 2rem 1.5rem 4rem; }
h1 { margin: 0; font-size: 1.7rem; } h2 { margin: 2.5rem 0 .25rem; font-size: 1.3rem; } h3 { margin: 1.75rem 0 .5rem; font-size: 1rem; }
.about { margin: .25rem 0 1rem; color: #5b6d6a; }
.verdict { margin: 0; padding: 1rem 1.25rem 1rem 2.25rem; background: #fff; border-left: 4px solid #0b5c55; border-radius: 0 8px 8px 0; }
.verdict li { margin: .2rem 0; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(24rem, 1fr)); gap: 1rem; margin: 1rem 0; }
figure { margin: 0; padding: .75rem; background: #fff; border-radius: 8px; } figure svg { width: 100%; height: auto; display: block; }
.wide { overflow-x: auto; background: #fff; border-radius: 8px; }
table { border-collapse: collapse; width: 100%; font-size: .85rem; font-variant-numeric: tabular-nums; }
th, td { padding: .45rem .6rem; text-align: right; white-space: nowrap; border-bottom: 1px solid #e9eeed; }
th:first-child, td:first-child { text-align: left; } thead th { color: #5b6d6a; font-weight: 600; white-space: normal; }
tr.ours td { font-weight: 600; color: #0b5c55; } .interval { display: block; color: #5b6d6a; font-weight: 400; font-size: .78rem; }
.better { font-weight: 600; color: #0b5c55; } .worse { font-weight: 600; color: #a3320b; } .note { color: #5b6d6a; font-size: .85rem; }
@media print { body { background: #fff; } figure, h3 { break-inside: avoid; } }
"""
# What asks for nothing gets nothing, even where the page is opened from a server.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
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
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body><main>"
        f'<h1>{escape(title)}</h1><p class="about">Made {made_at:%Y-%m-%d %H:%M} by aftercare evaluate.</p>'
        f"{body}</main></body></html>\n"
    )


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
    return _table(("model", *METRIC_NAMES.values()), rows)


def _differences(backtest: Backtest) -> str:
    rows = (
        (
            "",
            NAMES.get(model, model),
            [_cell(values[metric], "{:+.3f}", _sense(metric, values[metric])) for metric in METRIC_NAMES],
        )
        for model, values in backtest.comparison.differences.items()
    )
    return _table(("against", *METRIC_NAMES.values()), rows)


def _refits(backtest: Backtest) -> str:
    rows = (
        ("", f"{one.as_of:%Y-%m-%d}", [f"{one.rows:,}", f"{one.positives:,}", escape(one.stage)])
        for one in backtest.refits
    )
    return _table(("as of", "rows learned from", "with the outcome", "stage"), rows)


def _table(columns: Iterable[str], rows: Iterable[tuple[str, str, Sequence[str]]]) -> str:
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    body = "".join(
        f'<tr class="{kind}"><td>{escape(name)}</td>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'
        for kind, name, cells in rows
    )
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


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
