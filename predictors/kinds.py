"""Which issue it would be: so that the answer that is attached to a check-in fits.

The kind of a past issue is read off what was recorded by the time of it, never from words: the snapshot holds none. How
probable an issue is at all belongs in `predictors.issue`.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import numpy as np
import polars as pl
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from predictors.errors import FrameError, NotEnoughDataError
from predictors.frames import Array, FrameEncoder, as_polars
from predictors.labels import outcome_events
from predictors.snapshot import Snapshot

# Issues that the shares of kinds begin with, one of each kind: no kind is ever impossible.
PRIOR_EACH = 1.0
# Fewer issues of the second most frequent kind than this teach shares only, not what they depend on.
MIN_SECOND_KIND = 40


class IssueKind(StrEnum):
    DELIVERY = "delivery"  # the parcel was late, under way past an exception, or had not come when trouble was reported
    SETUP = "setup"  # a ticket or complaint about a parcel that came as promised: mostly how it works
    QUALITY = "quality"  # a bad rating or a return of a parcel that came as promised
    BILLING = "billing"  # a refund of a parcel that came as promised, without a return before


KINDS = tuple(kind.value for kind in IssueKind)


def kinds_of_issues(snapshot: Snapshot, moments: pl.DataFrame) -> pl.DataFrame:
    """Return the kind of each order's first issue: order_id, recorded_at, issue_kind.

    Parameters
    ----------
    moments : polars.DataFrame
        From `predictors.moments.order_moments`.
    """
    issues = (
        outcome_events(snapshot)
        .filter("is_issue")
        .sort("recorded_at", "kind")
        .group_by("order_id", maintain_order=True)
        .first()
    )
    troubled = snapshot.touchpoints.filter(pl.col("kind") == "exception")
    exceptions = troubled.group_by("order_id").agg(exception_at=pl.col("recorded_at").min())
    told = issues.join(moments.select("order_id", "promised_end", "delivered_at"), on="order_id").join(
        exceptions, on="order_id", how="left"
    )
    at = pl.col("recorded_at")
    late = pl.min_horizontal("delivered_at", at) > pl.col("promised_end")
    # A shop that never records a delivery says nothing by not having recorded this one.
    tracks = moments["delivered_at"].is_not_null().any()
    waiting = pl.lit(tracks) & (pl.col("delivered_at").is_null() | (pl.col("delivered_at") > at))
    delivery = late.fill_null(False) | waiting | (pl.col("exception_at") <= at).fill_null(False)
    kind = (
        pl.when(delivery)
        .then(pl.lit(IssueKind.DELIVERY.value))
        .when(pl.col("kind").is_in(["ticket_opened", "complaint"]))
        .then(pl.lit(IssueKind.SETUP.value))
        .when(pl.col("kind") == "refunded")
        .then(pl.lit(IssueKind.BILLING.value))
        .otherwise(pl.lit(IssueKind.QUALITY.value))
    )
    return told.select("order_id", "recorded_at", issue_kind=kind)


class KindModel(ClassifierMixin, BaseEstimator):
    """P(kind | there is an issue): multinomial logistic regression over shares, shrunk to all kinds alike.

    Parameters
    ----------
    C : float
        Inverse penalty. On Olist's issues of 2017-08 to 2018-01 .1 had the lowest log loss when due (.033; shares alone
        .689) and, within .003, at purchase (.655; shares alone .698).
    """

    def __init__(self, C: float = 0.1) -> None:
        self.C = C

    def fit(self, X: Any, y: Any) -> KindModel:
        """Learn from issues only.

        Raises
        ------
        NotEnoughDataError
            There is no issue.
        FrameError
            A kind is none of `KINDS`, or their number is not that of the rows.
        """
        frame, kinds = as_polars(X), np.asarray(y, dtype=object)
        if not frame.height:
            raise NotEnoughDataError("there are no issues to learn kinds from; train later")
        if kinds.shape != (frame.height,):
            raise FrameError(f"the kinds have shape {kinds.shape}; each of the {frame.height} rows needs one")
        if unknown := sorted(set(kinds) - set(KINDS)):
            raise FrameError(f"{unknown[0]!r} is no kind of issue; there are {', '.join(KINDS)}")
        counts = np.array([(kinds == kind).sum() for kind in KINDS], dtype=np.float64)
        self.rows_ = frame.height
        self.shares_: Array = counts / frame.height
        self.encoder_ = FrameEncoder().fit(frame)
        self.pipeline_: Pipeline | None = None
        if np.sort(counts)[-2] >= MIN_SECOND_KIND:
            self.pipeline_ = make_pipeline(
                SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True),
                StandardScaler(),
                LogisticRegression(C=self.C, max_iter=2000),
            )
            with threadpool_limits(limits=1):
                self.pipeline_.fit(self.encoder_.transform(frame), kinds.astype(str))
        self.classes_ = np.array(KINDS)
        return self

    def predict_proba(self, X: Any) -> Array:
        """Return (n, 4) shares in the order of `KINDS`, each row adding up to 1."""
        matrix = self.encoder_.transform(X)
        shares = np.tile(self.shares_, (len(matrix), 1))
        if self.pipeline_ is not None and len(matrix):
            shares = np.zeros_like(shares)
            shares[:, [KINDS.index(kind) for kind in self.pipeline_.classes_]] = self.pipeline_.predict_proba(matrix)
        result: Array = (self.rows_ * shares + PRIOR_EACH) / (self.rows_ + PRIOR_EACH * len(KINDS))
        return result

    def predict(self, X: Any) -> Any:
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


def shares_of(shares: Array) -> list[Mapping[str, float]]:
    """Return what `KindModel.predict_proba` gives as one mapping of kind to share for each subject."""
    return [dict(zip(KINDS, row, strict=True)) for row in shares.round(4).tolist()]
