"""Plots of how good probabilities were, as SVG text to put straight into a page or beside a model card.

Each function takes arrays and returns one `<svg>` element: no file, no window, no state that outlives the call, the
same text for the same numbers, nothing that a browser would have to fetch. Plots of one page need titles of their own,
which keep the ids within them apart. What is drawn is computed in
`predictors.curves`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from html import escape
from io import StringIO
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from predictors.curves import (
    Bins,
    Line,
    grouped,
    precision_recall_line,
    reliability_bins,
    roc_line,
    wilson,
)
from predictors.evaluation import Target, precision_at
from predictors.frames import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.typing import RcKeyType

# After Okabe & Ito (2008): told apart by people of all kinds of colour vision. The first is the one of interest.
COLOURS = ("#0b5c55", "#d55e00", "#0072b2", "#cc79a7", "#e69f00", "#56b4e9", "#666666")
DASHES = ("solid", "dashed", "dashdot", "dotted", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 3)))
_GUIDE = "#b8c2c0"
_INK = "#1c2b29"
_SIZE_INCHES = (4.8, 4.0)
_STYLE: dict[RcKeyType, Any] = {
    # Text stays text: it can be selected, searched and read aloud, and the file stays small.
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.0,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": _GUIDE,
    "axes.labelcolor": _INK,
    "text.color": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e9eeed",
    "legend.frameon": False,
    "legend.fontsize": 8.0,
}
# Smallest to largest share of the orders that a team could look at.
_CAPACITIES = np.linspace(0.01, 0.5, 50)


def roc_plot(y: Target, predictions: Mapping[str, Array], *, title: str = "ROC") -> str:
    """Draw how many of the cases are found for how many false alarms.

    Parameters
    ----------
    y : (n,) array of 0 and 1
    predictions : mapping of name to (n,) probabilities
        The first is drawn in front.
    """

    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=_GUIDE, linewidth=1, label="no skill")
        _draw_lines(axes, {name: roc_line(y, p) for name, p in predictions.items()})
        axes.set_xlabel("false alarms (% of the rows without the outcome)")
        axes.set_ylabel("found (% of the rows with the outcome)")
        _percent(axes, "x", 1.0)
        _percent(axes, "y", 1.0)
        axes.legend(loc="lower right")

    return drawn(title, draw)


def precision_recall_plot(y: Target, predictions: Mapping[str, Array], *, title: str = "Precision and recall") -> str:
    """Draw what share of the flagged rows are cases, for each share of the cases that is found."""

    def draw(axes: Axes) -> None:
        rate = float(y.mean()) if len(y) else 0.0
        axes.axhline(rate, color=_GUIDE, linewidth=1, label=f"no skill ({rate:.0%})")
        _draw_lines(axes, {name: precision_recall_line(y, p) for name, p in predictions.items()})
        axes.set_xlabel("recall: found (% of the rows with the outcome)")
        axes.set_ylabel("precision (% of the flagged rows)")
        _percent(axes, "x", 1.0)
        _percent(axes, "y", 1.0)
        axes.legend(loc="upper right")

    return drawn(title, draw)


def reliability_plot(y: Target, predictions: Mapping[str, Array], *, bins: int = 10, title: str = "Reliability") -> str:
    """Draw observed against predicted shares in bins of equal counts; the first with 95 % intervals of each bin."""

    def draw(axes: Axes) -> None:
        found = {name: reliability_bins(y, p, bins) for name, p in predictions.items()}
        first = next(iter(found.values()), None)
        reach = [v for one in found.values() for v in (*one.predicted, *one.observed)]
        top = max([0.05, *reach, *([] if first is None else first.high)])
        axes.plot([0, 1], [0, 1], color=_GUIDE, linewidth=1, label="predicted = observed")
        lines = {name: Line(x=one.predicted, y=one.observed) for name, one in found.items()}
        _draw_lines(axes, lines, marker="o")
        if first is not None:
            _draw_intervals(axes, first.predicted, first)
        axes.set_xlabel("predicted probability (%), mean of the bin")
        axes.set_ylabel("observed share (%), 95 % interval")
        _percent(axes, "x", min(1.0, 1.05 * top))
        _percent(axes, "y", min(1.0, 1.05 * top))
        axes.legend(loc="upper left")

    return drawn(title, draw)


def precision_at_capacity_plot(
    y: Target, predictions: Mapping[str, Array], *, each: str = "orders", title: str = "Precision at capacity"
) -> str:
    """Draw what share of those looked at are cases, for each share that a team can look at.

    Parameters
    ----------
    each : str
        What a row is, in the plural.
    """

    def draw(axes: Axes) -> None:
        rate = float(y.mean()) if len(y) else 0.0
        axes.axhline(rate, color=_GUIDE, linewidth=1, label=f"at random ({rate:.0%})")
        shares = _CAPACITIES[_CAPACITIES * len(y) >= 1]
        lines = {name: Line(x=shares, y=precision_at(y, p, shares)) for name, p in predictions.items()}
        if lines and len(shares):
            low, high = wilson(next(iter(lines.values())).y, np.floor(shares * len(y)))
            axes.fill_between(shares, low, high, color=COLOURS[0], alpha=0.15, linewidth=0)
        _draw_lines(axes, lines)
        axes.set_xlabel(f"capacity (% of all {each}, highest probability first)")
        axes.set_ylabel("with the outcome (% of those looked at)")
        _percent(axes, "x", 0.5)
        _percent(axes, "y", 1.0)
        axes.legend(loc="upper right")

    return drawn(title, draw)


def level_by_month_plot(months: Sequence[str], y: Target, p: Array, *, title: str = "Level by month") -> str:
    """Draw the observed share of each month, with its 95 % interval, beside the mean prediction.

    Parameters
    ----------
    months : sequence of str
        (n,) the month of each row, as `2018-02`.
    """

    def draw(axes: Axes) -> None:
        names, groups = np.unique(np.asarray(months, dtype=str), return_inverse=True)
        one = grouped(y, p, groups)
        at = np.arange(len(names), dtype=np.float64)
        axes.plot(at, one.observed, color=COLOURS[0], marker="o", linewidth=1.5, label="observed, 95 % interval")
        _draw_intervals(axes, at, one)
        axes.plot(at, one.predicted, color=COLOURS[1], marker="s", markersize=4, linestyle="dashed", label="predicted")
        # Where there are many months, only some have room for their names.
        shown = at[:: max(1, -(-len(at) // 8))]
        axes.set_xticks(shown, [names[int(i)] for i in shown])
        axes.set_xlim(-0.5, max(len(at) - 0.5, 0.5))
        axes.set_xlabel("month of the moment")
        axes.set_ylabel("rows with the outcome (%)")
        _percent(axes, "y", 1.25 * max([0.04, *one.high.tolist(), *one.predicted.tolist()]))
        axes.legend(loc="upper left", ncols=2)

    return drawn(title, draw)


def _draw_lines(axes: Axes, lines: Mapping[str, Line], marker: str = "") -> None:
    for rank, (name, line) in enumerate(lines.items()):
        axes.plot(
            line.x,
            line.y,
            label=name,
            marker=marker,
            markersize=3.5,
            color=COLOURS[rank % len(COLOURS)],
            linestyle=DASHES[rank % len(DASHES)],
            linewidth=2.0 if rank == 0 else 1.2,
            # The first lies in front of the others.
            zorder=10 - rank,
        )


def _draw_intervals(axes: Axes, at: Array, bins: Bins) -> None:
    axes.vlines(at, bins.low, bins.high, color=COLOURS[0], linewidth=1.2, zorder=11)


def _percent(axes: Axes, which: Literal["x", "y"], top: float) -> None:
    from matplotlib.ticker import PercentFormatter

    (axes.set_xlim if which == "x" else axes.set_ylim)(0, top)
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_formatter(PercentFormatter(1.0, decimals=0 if top > 0.06 else 1))


def drawn(title: str, draw: Callable[[Axes], None]) -> str:
    """Let `draw` fill the axes of one plot, and return it as one `<svg>` element."""
    # Imported here: loading matplotlib takes as long as all the rest, and only plots need it.
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    text = StringIO()
    # The salt makes the ids of shapes repeatable, and different in the plots of one page.
    with rc_context({**_STYLE, "svg.hashsalt": title}):
        figure = Figure(figsize=_SIZE_INCHES, layout="constrained", facecolor="white")
        axes = figure.add_subplot()
        draw(axes)
        axes.set_title(title)
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    return _inline(text.getvalue(), title)


def _inline(document: str, title: str) -> str:
    """Keep the `<svg>` element alone: with a name for those who cannot see it, only the ids that are used, and without
    its style sheet, which would reach the whole page."""
    svg = document[document.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>\s*", "", svg, flags=re.DOTALL)
    used = set(re.findall(r"(?:href=\"#|url\(#)([^\")]+)", svg))
    svg = re.sub(r' id="([^"]+)"', lambda found: found[0] if found[1] in used else "", svg)
    named = f'<svg role="img" aria-label="{escape(title, quote=True)}" style="stroke-linejoin: round" '
    return svg.replace("<svg ", named, 1).strip()
