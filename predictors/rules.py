"""The first stage: rules that work from the first day, before anything could be learned.

Each rule adds log-odds to a base. The numbers are rounded judgements, set by hand and fitted to nothing, so the
probabilities are of the right size at best and not calibrated. What a shop's own labels teach belongs in `predictors.issue`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from sklearn.base import BaseEstimator, ClassifierMixin

from predictors.frames import Array, as_polars, check_target, expit

# Assumed: one order in eleven goes wrong where nothing speaks for it.
BASE_LOG_ODDS = -2.3


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A condition on features, with the log-odds it adds where it holds."""

    name: str
    needs: tuple[str, ...]
    holds: pl.Expr
    log_odds: float


RULES: tuple[Rule, ...] = (
    Rule(name="late", needs=("not_delivered",), holds=pl.col("not_delivered") > 0, log_odds=2.4),
    Rule(
        name="slow",
        needs=("elapsed_days", "not_delivered"),
        holds=(pl.col("elapsed_days") > 21) & (pl.col("not_delivered") == 0),
        log_odds=0.5,
    ),
    Rule(name="never handed over", needs=("shipped", "not_delivered"), holds=(pl.col("shipped") == 0) & (pl.col("not_delivered") > 0), log_odds=0.6),
    Rule(name="handed over late", needs=("handover_late_days",), holds=pl.col("handover_late_days") > 1, log_odds=0.3),
    Rule(name="trouble on the way", needs=("exceptions",), holds=pl.col("exceptions") > 0, log_odds=1.0),
    Rule(name="already complained", needs=("complaints",), holds=pl.col("complaints") > 0, log_odds=1.5),
    Rule(name="several sellers", needs=("sellers",), holds=pl.col("sellers") > 1, log_odds=0.9),
    Rule(name="several items", needs=("items",), holds=pl.col("items") > 2, log_odds=0.5),
    Rule(name="poorly rated seller", needs=("seller_bad_rate",), holds=pl.col("seller_bad_rate") > 0.2, log_odds=0.5),
    Rule(name="poorly rated product", needs=("product_bad_rate",), holds=pl.col("product_bad_rate") > 0.2, log_odds=0.4),
    Rule(name="troubled product", needs=("product_trouble_rate",), holds=pl.col("product_trouble_rate") > 0.15, log_odds=0.7),
    Rule(name="late route", needs=("route_recent_late_rate",), holds=pl.col("route_recent_late_rate") > 0.15, log_odds=0.4),
    Rule(name="tight promise", needs=("promise_margin_days",), holds=pl.col("promise_margin_days") < 3, log_odds=0.3),
)  # fmt: skip


class RulesModel(ClassifierMixin, BaseEstimator):
    """The rules as an estimator; fitting only checks the frame, nothing is learned.

    Parameters
    ----------
    base_log_odds : float
        Log-odds of an issue where no rule holds.
    """

    def __init__(self, base_log_odds: float = BASE_LOG_ODDS) -> None:
        self.base_log_odds = base_log_odds

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> RulesModel:
        frame = as_polars(X)
        check_target(y, frame.height)
        self.columns_ = list(frame.columns)
        self.classes_ = np.array([0, 1])
        return self

    def decision_function(self, X: Any) -> Array:
        """Return log-odds, (n,)."""
        frame = as_polars(X)
        total = np.full(frame.height, self.base_log_odds)
        for rule in RULES:
            if set(rule.needs) <= set(frame.columns):
                numbers = [pl.col(name).cast(pl.Float64, strict=False).fill_nan(None) for name in rule.needs]
                holds = frame.select(numbers).select(rule.holds.fill_null(False).alias("holds"))["holds"]
                total += rule.log_odds * holds.to_numpy()
        return total

    def predict_proba(self, X: Any) -> Array:
        """Return (n, 2) probabilities of no issue and issue."""
        p = expit(self.decision_function(X))
        return np.column_stack([1 - p, p])

    def predict(self, X: Any) -> Any:
        return (self.predict_proba(X)[:, 1] >= 0.5).astype(np.int64)


# What is unremarkable: no rule holds. Reasons are told against these values.
REFERENCE: Mapping[str, float | str | None] = {
    "not_delivered": 0.0, "elapsed_days": 8.0, "shipped": 1.0, "handover_late_days": -1.0, "exceptions": 0.0,
    "complaints": 0.0, "sellers": 1.0, "items": 1.0, "seller_bad_rate": 0.1, "product_bad_rate": 0.1,
    "product_trouble_rate": 0.05, "route_recent_late_rate": 0.05, "promise_margin_days": 8.0,
}  # fmt: skip


def untrained_rules() -> RulesModel:
    """Return rules that score without ever having seen an order's outcome."""
    model = RulesModel()
    model.columns_ = list(REFERENCE)
    model.classes_ = np.array([0, 1])
    return model
