"""What a check-in is expected to gain, put beside the forecasts that a plan ranks by, once a model of it was promoted.

Until then check-ins are ranked by risk. What the gain is worth is `bot.decide.value`'s business, how it is learned
`predictors.gain`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bot.config import Settings
from bot.decide.value import Gain
from bot.services.planning.forecasting import Forecasts
from bot.store import models
from bot.store.database import Connection
from bot.store.order_totals import order_totals, usual_order_total
from bot.store.planning import Forecast
from predictors.moments import Moment

__all__ = ["champion_of_gains", "with_gains"]

# A model by which check-ins avert next to nothing would otherwise make every gain look enormous beside a risk.
LEAST_AVERTED = 0.05


def champion_of_gains(connection: Connection, settings: Settings) -> models.ModelVersion | None:
    """Return the model that predicts gains at the horizon of issues; None while uplift is locked or not learned."""
    return models.champion(connection, "uplift", Moment.NOW.value, settings.predictors.issue.horizon_days)


def with_gains(
    connection: Connection, settings: Settings, forecasts: Forecasts, wanted: Sequence[Forecast]
) -> Sequence[Forecast]:
    """Return forecasts, those of issues with the gain that was predicted today of a check-in about the same order."""
    champion = champion_of_gains(connection, settings)
    of_issues = [one for one in wanted if one.kind == "issue" and one.order_id is not None]
    if champion is None or not of_issues:
        return wanted
    customers = [one.customer_id for one in of_issues]
    gains = {one.order_id: one.probability for one in forecasts(connection, "uplift", (min(customers), max(customers)))}
    averted, value = _averted_share(champion), settings.value
    totals = order_totals(connection, [one.order_id for one in of_issues if one.order_id is not None])
    usual = usual_order_total(connection)
    base = value.margin_share * (usual or 0.0) + value.issue_cost

    def gain_of(order_id: int) -> Gain:
        """Weigh the gain by what is at stake, less what the message costs; where nothing is known, all orders are alike."""
        total = totals.get(order_id, usual)
        if total is None or base <= 0:
            return Gain(probability=gains[order_id], averted_share=averted)
        return Gain(
            probability=gains[order_id],
            averted_share=averted,
            stake=(value.margin_share * total + value.issue_cost) / base,
            message=(value.contact_cost + value.fatigue_cost) / base,
        )

    return [
        replace(one, gain=gain_of(one.order_id))
        if one.kind == "issue" and one.order_id is not None and one.order_id in gains
        else one
        for one in wanted
    ]


def _averted_share(champion: models.ModelVersion) -> float:
    """Return which share of the issues of those held out a check-in averts on average."""
    risk = float(champion.metrics["issue_rate_holdout"])
    return max(float(champion.metrics["gain_mean"]) / risk, LEAST_AVERTED) if risk > 0 else 1.0
