"""What a replay comes to, in sentences, and its page: one HTML file with its plots in it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from html import escape

from bot.services.prediction.page import page, table
from predictors import retrospect_plots as plots
from predictors.retrospect import Comparison, Retrospect, Run

__all__ = ["retrospect_page", "sentences"]

RULE_NAME = "rule: not delivered by the promised day"
# So many contacts stand on the page; all are in the JSON.
SHOWN_CONTACTS = 40


def sentences(found: Retrospect) -> list[str]:
    """Return the verdict, a sentence each; what does not stand above noise is said not to."""
    ours, rule = found.ours, found.rule
    said = [
        (
            f"With a capacity of {found.share:.0%} of the orders of a day Aftercare would have made {ours.n:,} contacts and "
            f"caught {ours.caught:,} later issues ({_share(ours)}), {_lead(ours)}."
        ),
        (
            f"The rule 'not delivered by the promised day' meant {found.flagged:,} orders; with the same capacity it would "
            f"have contacted {rule.n:,} and caught {rule.caught:,} ({_share(rule)}), {_lead(rule)}."
        ),
        f"With the same capacity: {_against(found.same_capacity)}.",
        f"With as many contacts as the rule on each day: {_against(found.same_contacts)}, {_lead(found.same_contacts.ours)}.",
    ]
    blind = found.observed_until - timedelta(days=found.horizon_days)
    last = ours.contacts["at"].max()
    if isinstance(last, datetime) and last > blind:
        said.append(
            f"The last touchpoint is of {found.observed_until:%Y-%m-%d}: contacts after {blind:%Y-%m-%d} are judged by less "
            f"than the {found.horizon_days} days of the horizon, both ways alike."
        )
    return said


def retrospect_page(
    found: Retrospect, *, span: str, names: Mapping[int, tuple[str, str]], shop: str, made_at: datetime
) -> str:
    """Return the page.

    Parameters
    ----------
    names : mapping
        Our id of an order: the shop's own ids of order and customer.
    made_at : datetime
        Local to the shop.
    """
    runs = {"Aftercare": found.ours, RULE_NAME: found.rule}
    figures = (
        plots.by_volume_plot(
            {"Aftercare": found.by_capacity["aftercare"], RULE_NAME: found.by_capacity["rule"]},
            asked=found.share,
            title="Later issues caught, by volume",
        ),
        plots.lead_plot({name: run.leads for name, run in runs.items()}, title="How early"),
        plots.timing_plot(found.ours.contacts, title="When Aftercare would have written"),
        plots.by_week_plot({name: run.contacts for name, run in runs.items()}, title="Week by week"),
    )
    verdict = "".join(f"<li>{escape(one)}</li>" for one in sentences(found))
    rows = [
        _row("ours", "Aftercare", found.ours),
        _row("", RULE_NAME, found.rule),
        _row("ours", "Aftercare, as many contacts a day as the rule", found.same_contacts.ours),
    ]
    body = (
        f'<section><h2>{escape(span)}</h2><p class="about">{found.orders:,} orders on {found.days} days; trouble is a bad '
        f"rating, a ticket, a complaint, a return or a refund within {found.horizon_days} days of the contact.</p>"
        f'<ul class="verdict">{verdict}</ul>'
        f'<div class="plots">{"".join(f"<figure>{svg}</figure>" for svg in figures)}</div>'
        f"<h3>Ways to choose</h3>{table(_COLUMNS, rows)}"
        "<h3>Aftercare against the rule: later issues caught, how many times as many; bold: beyond noise</h3>"
        f"{_comparisons(found)}"
        f"<h3>The {min(SHOWN_CONTACTS, found.ours.n)} surest contacts</h3>{_contacts(found.ours, names)}"
        '<p class="note">Each morning was decided with what had been recorded by then, by models refitted at the start of '
        "each month; nobody is contacted about an order twice. Trouble that had shown before the contact counts for neither "
        "way. Nobody was really contacted: how much of the trouble a message would have averted is what "
        "<code>aftercare report lift</code> measures.</p></section>"
    )
    return page(f"Whom we would have contacted: {shop}", f"Made {made_at:%Y-%m-%d %H:%M} by aftercare replay.", body)


_COLUMNS = ("way to choose", "contacts", "later issues caught", "of the contacts", "median notice (days)", "quartiles")


def _row(kind: str, name: str, run: Run) -> tuple[str, str, list[str]]:
    low, middle, high = (run.lead(q) for q in (0.25, 0.5, 0.75))
    quartiles = "" if low is None or high is None else f"{low:.1f} to {high:.1f}"
    return (
        kind,
        name,
        [f"{run.n:,}", f"{run.caught:,}", _share(run), "" if middle is None else f"{middle:.1f}", quartiles],
    )


def _comparisons(found: Retrospect) -> str:
    rows = []
    for name, one in (("same capacity", found.same_capacity), ("as many contacts on each day", found.same_contacts)):
        ratio = "" if one.ratio is None else f"{one.ratio:.2f}"
        interval = "" if one.low is None or one.high is None else f"{one.low:.2f} to {one.high:.2f}"
        sense = "better" if (one.low or 0) > 1 else "worse" if one.high is not None and one.high < 1 else ""
        cells = [f"{one.ours.caught:,}", f"{one.rule.caught:,}", f'<span class="{sense}">{ratio}</span>', interval]
        rows.append(("", name, cells))
    return table(("compared with", "Aftercare", "rule", "ratio", "95 % interval"), rows)


def _contacts(run: Run, names: Mapping[int, tuple[str, str]]) -> str:
    rows = []
    for one in run.contacts.sort("score", descending=True).head(SHOWN_CONTACTS).iter_rows(named=True):
        order, customer = names[one["order_id"]]
        sign = (
            ""
            if one["first_sign"] is None
            else f"{one['first_sign'].replace('_', ' ')}, {one['first_sign_at']:%Y-%m-%d}"
        )
        lead = "" if one["lead_days"] is None else f"{one['lead_days']:.1f}"
        cells = [escape(customer), f"{one['local_date']}", f"{one['score']:.0%}", escape(sign), lead]
        rows.append(("", order, cells))
    return table(("order", "customer", "contact", "trouble to come", "first sign", "days of notice"), rows)


def _share(run: Run) -> str:
    return f"{run.caught / run.n:.0%}" if run.n else "none"


def _lead(run: Run) -> str:
    low, middle, high = (run.lead(q) for q in (0.25, 0.5, 0.75))
    if low is None or middle is None or high is None:
        return "with nothing caught"
    return f"by the median {middle:.1f} days before the first sign (quartiles {low:.1f} to {high:.1f})"


def _against(comparison: Comparison) -> str:
    if comparison.ratio is None:
        return f"{comparison.ours.caught:,} against none caught"
    said = f"{comparison.ours.caught:,} against {comparison.rule.caught:,} caught, {comparison.ratio:.2f} times as many"
    if comparison.low is None or comparison.high is None:
        return said
    noise = "" if comparison.low > 1 or comparison.high < 1 else ", no more than noise allows"
    return f"{said} [{comparison.low:.2f}, {comparison.high:.2f}]{noise}"
