"""Plots of a replay: how much trouble was caught at which volume, how early, when in the life of an order, and week by week.

In the manner of `predictors.plots`: each function returns one `<svg>` element.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from predictors.frames import Array
from predictors.plots import COLOURS, DASHES, drawn

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["by_volume_plot", "by_week_plot", "lead_plot", "timing_plot"]

# Notice beyond this is drawn as this much.
LONGEST_LEAD_DAYS = 21
# Contacts further from the promised day stand in the outermost bars.
NEAREST_DAYS, FURTHEST_DAYS = -5, 10


def by_volume_plot(
    by_capacity: Mapping[str, Sequence[tuple[float, int, int]]], *, asked: float, title: str = "Caught by volume"
) -> str:
    """Draw contacts against the later issues that they caught, at several capacities.

    Parameters
    ----------
    by_capacity : mapping of name to sequence of (share, contacts, caught)
    asked : float
        The share that is marked.
    """

    def draw(axes: Axes) -> None:
        for rank, (name, rows) in enumerate(by_capacity.items()):
            colour, dash = COLOURS[rank % len(COLOURS)], DASHES[rank % len(DASHES)]
            x, y = [0, *(row[1] for row in rows)], [0, *(row[2] for row in rows)]
            axes.plot(x, y, color=colour, linestyle=dash, marker="o", markersize=3, label=name, zorder=10 - rank)
            for share, contacts, caught in rows:
                if share == asked:
                    axes.plot([contacts], [caught], marker="o", markersize=9, color=colour, fillstyle="none", zorder=11)
        axes.set_xlabel(f"contacts (circles: at {asked:.0%} of the orders of a day)")
        axes.set_ylabel("later issues caught")
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
        axes.legend(loc="lower right")

    return drawn(title, draw)


def lead_plot(leads: Mapping[str, Array], *, title: str = "Notice") -> str:
    """Draw how many of the issues caught left at least so many days between contact and first sign of trouble."""

    def draw(axes: Axes) -> None:
        days = np.linspace(0, LONGEST_LEAD_DAYS, 4 * LONGEST_LEAD_DAYS + 1)
        for rank, (name, of) in enumerate(leads.items()):
            left = np.array([(of >= day).sum() for day in days])
            axes.plot(
                days,
                left,
                color=COLOURS[rank % len(COLOURS)],
                linestyle=DASHES[rank % len(DASHES)],
                label=name,
                zorder=9 - rank,
            )
        axes.set_xlabel("days between the contact and the first sign of trouble, at least")
        axes.set_ylabel("later issues caught")
        axes.set_xlim(0, LONGEST_LEAD_DAYS)
        axes.set_ylim(bottom=0)
        axes.legend(loc="upper right")

    return drawn(title, draw)


def timing_plot(contacts: pl.DataFrame, *, title: str = "When we would have written") -> str:
    """Draw our contacts by the day before or after the end of the promised day, with and without trouble later."""

    def draw(axes: Axes) -> None:
        day = contacts["promise_days"].drop_nulls().floor().clip(NEAREST_DAYS, FURTHEST_DAYS)
        troubled = contacts.filter(pl.col("promise_days").is_not_null())["first_sign_at"].is_not_null()
        at = np.arange(NEAREST_DAYS, FURTHEST_DAYS + 1)
        yes = np.array([int(((day == one) & troubled).sum()) for one in at])
        no = np.array([int(((day == one) & ~troubled).sum()) for one in at])
        axes.set_axisbelow(True)
        axes.bar(at, yes, color=COLOURS[0], width=0.8, label="trouble followed")
        axes.bar(at, no, bottom=yes, color="#b8c2c0", width=0.8, label="none within the horizon")
        axes.axvline(-0.5, color=COLOURS[1], linewidth=1, linestyle="dashed", label="the promise breaks")
        axes.set_xlabel("mornings after the end of the promised day (below 0: before it)")
        axes.set_ylabel("contacts")
        axes.legend(loc="upper right")

    return drawn(title, draw)


def by_week_plot(runs: Mapping[str, pl.DataFrame], *, title: str = "Week by week") -> str:
    """Draw the later issues that each way's contacts of a week caught."""

    def draw(axes: Axes) -> None:
        days = [day for of in runs.values() for day in of["local_date"].to_list()]
        weeks = sorted({day - timedelta(days=day.weekday()) for day in days})
        for rank, (name, of) in enumerate(runs.items()):
            caught = of.filter(pl.col("first_sign_at").is_not_null())["local_date"].dt.truncate("1w")
            axes.plot(
                np.arange(len(weeks)), [int((caught == week).sum()) for week in weeks], color=COLOURS[rank % len(COLOURS)],
                linestyle=DASHES[rank % len(DASHES)], marker="o", markersize=3, label=name, zorder=9 - rank,
            )  # fmt: skip
        shown = np.arange(0, len(weeks), max(1, -(-len(weeks) // 6)))
        axes.set_xticks(shown, [f"{weeks[i]:%Y-%m-%d}" for i in shown])
        axes.set_xlabel("week of the contact")
        axes.set_ylabel("later issues caught")
        # Room for the legend above the lines.
        axes.set_ylim(0, 1.25 * max(axes.get_ylim()[1], 1.0))
        axes.legend(loc="upper right")

    return drawn(title, draw)
