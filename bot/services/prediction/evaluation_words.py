"""What an evaluation comes to, in plain words: how well it ranks, what that is worth, and whether to trust its level."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from predictors.backtest import OURS, Backtest
from predictors.evaluation import LOSSES, Interval

# A calibration error beyond this misleads whoever reads the probability as one.
TRUSTED_ECE = 0.03
NAMES: Mapping[str, str] = {
    OURS: "Aftercare",
    "base_rate": "prior (base rate)",
    "rules": "first-day rules",
    "late_by_due": "rule: not delivered by the promised day",
    "logistic": "logistic regression",
    "hist_gradient_boosting": "plain gradient boosting",
    "bgnbd": "BG/NBD alone",
    "recency": "silence alone",
}
METRIC_NAMES: Mapping[str, str] = {
    "auc": "ROC-AUC",
    "average_precision": "average precision",
    "brier": "Brier score",
    "ece": "calibration error",
    "log_loss": "log loss",
    "precision_at_5_percent": "precision at 5 %",
    "precision_at_10_percent": "precision at 10 %",
}
OUTCOMES: Mapping[str, str] = {"issue": "had an issue", "churn": "stayed away"}
SUBJECTS: Mapping[str, str] = {"issue": "orders", "churn": "customers"}


def verdict(kind: str, backtest: Backtest) -> Iterator[str]:
    """Yield the verdict, a sentence each; what does not stand above noise is said not to."""
    yield _against_the_best(backtest, "auc")
    yield _against_the_best(backtest, "average_precision")
    worse = sorted(
        f"{METRIC_NAMES[metric]} than {NAMES[name]}"
        for name, metrics in backtest.comparison.differences.items()
        for metric, difference in metrics.items()
        if metric in ("auc", "average_precision", "brier") and side(metric, difference) < 0
    )
    if worse:
        yield f"Beyond noise Aftercare is worse in {'; '.join(worse)}."
    ours = backtest.comparison.models[OURS]
    share, top = backtest.positives / backtest.n, ours["precision_at_10_percent"]["value"]
    if top is not None:
        yield (
            f"Of the 10 % of {SUBJECTS[kind]} with the highest probability, {100 * top:.0f} % {OUTCOMES[kind]}; "
            f"of all, {100 * share:.0f} %."
        )
    error = ours["ece"]["value"]
    if error is not None:
        mean = float(backtest.predictions[OURS].mean())
        trust = (
            "the probabilities can be taken at their word"
            if error <= TRUSTED_ECE
            else f"above {TRUSTED_ECE:.2f}, so take the ranking rather than the probabilities at their word"
        )
        yield f"On average {100 * mean:.1f} % were predicted and {100 * share:.1f} % observed; calibration error {error:.3f}: {trust}."


def _against_the_best(backtest: Backtest, metric: str) -> str:
    models, differences = backtest.comparison.models, backtest.comparison.differences
    values = {name: found for name in differences if (found := models[name][metric]["value"]) is not None}
    ours = models[OURS][metric]["value"]
    if not values or ours is None:
        return f"There is no baseline to compare the {METRIC_NAMES[metric]} with."
    best = max(values, key=lambda name: values[name])
    difference = differences[best][metric]
    said = {1: "better than the best baseline", 0: "no better than noise allows against the best baseline",
            -1: "worse than the best baseline"}[side(metric, difference)]  # fmt: skip
    gap, low, high = (difference[key] or 0.0 for key in ("value", "low", "high"))
    return (
        f"In {METRIC_NAMES[metric]} Aftercare is {said}, {NAMES[best]}: {ours:.3f} against {values[best]:.3f}, "
        f"difference {gap:+.3f} [{low:+.3f}, {high:+.3f}]."
    )


def side(metric: str, difference: Interval) -> int:
    """Return 1 where ours is better beyond noise, -1 where worse, else 0."""
    low, high = difference["low"], difference["high"]
    if low is None or high is None or low <= 0 <= high:
        return 0
    return 1 if (low > 0) != (metric in LOSSES) else -1
