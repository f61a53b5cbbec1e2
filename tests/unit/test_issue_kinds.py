"""Which kind an issue was is read off what was recorded by then, and learned from."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from sklearn.base import clone

from predictors.errors import FeatureMismatchError, FrameError, NotEnoughDataError
from predictors.kinds import KINDS, IssueKind, KindModel, kinds_of_issues, shares_of
from predictors.moments import Moment, issue_subjects, order_moments
from predictors.scoring import score_issue
from predictors.training import train_issue
from tests.unit.shops import START, Rows, hours, invented_shop, snapshot


def kinds(rows: Rows) -> dict[int, str]:
    seen = snapshot(rows)
    found = kinds_of_issues(seen, order_moments(seen, due_days=14))
    return dict(found.select("order_id", "issue_kind").iter_rows())


def shop_with(kind: str, *, after_days: float, delivered_days: float | None, more: list[str] | None = None) -> Rows:
    """One order promised within six days, delivered or not, about which something is recorded after some days."""
    rows = invented_shop(2, seed=1, days=100)
    placed = rows["orders"][0]["placed_at"]

    def point(number: int, what: str, days: float, value: float | None = None) -> dict[str, object]:
        at = placed + timedelta(days=days)
        about = {"customer_id": rows["orders"][0]["customer_id"], "order_id": 0}
        return {"touchpoint_id": number, **about, "kind": what, "occurred_at": at, "recorded_at": at, "value": value}

    points = [point(1, kind, after_days, 1.0)]
    points += [point(10 + n, what, 1.0) for n, what in enumerate(more or [])]
    if delivered_days is not None:
        points.append(point(2, "delivered", delivered_days))
    # Another order shows that this shop records deliveries.
    points.append({**point(3, "delivered", 60.0), "order_id": 1})
    return {**rows, "touchpoints": points}


@pytest.mark.parametrize(
    ("kind", "after_days", "delivered_days", "more", "expected"),
    [
        ("review", 12, 9, [], IssueKind.DELIVERY),
        ("review", 5, 3, [], IssueKind.QUALITY),
        ("review", 5, 3, ["exception"], IssueKind.DELIVERY),
        ("ticket_opened", 3, 5, [], IssueKind.DELIVERY),
        ("ticket_opened", 8, None, [], IssueKind.DELIVERY),
        ("ticket_opened", 5, 3, [], IssueKind.SETUP),
        ("complaint", 5, 3, [], IssueKind.SETUP),
        ("return_requested", 5, 3, [], IssueKind.QUALITY),
        ("refunded", 5, 3, [], IssueKind.BILLING),
    ],
)
def test_a_kind_follows_from_what_was_recorded_by_the_issue(
    kind: str, after_days: float, delivered_days: float | None, more: list[str], expected: IssueKind
) -> None:
    assert kinds(shop_with(kind, after_days=after_days, delivered_days=delivered_days, more=more))[0] == expected


def test_a_shop_that_records_no_deliveries_says_nothing_by_their_absence() -> None:
    rows = shop_with("ticket_opened", after_days=5, delivered_days=None)
    rows["touchpoints"] = [row for row in rows["touchpoints"] if row["kind"] != "delivered"]
    assert kinds(rows)[0] == IssueKind.SETUP


def test_an_exception_recorded_after_the_issue_does_not_change_its_kind() -> None:
    rows = shop_with("review", after_days=5, delivered_days=3, more=["exception"])
    rows["touchpoints"][1]["recorded_at"] = hours(24 * 300)
    assert kinds(rows)[0] == IssueKind.QUALITY


def issues(rows: int = 400) -> tuple[pl.DataFrame, np.ndarray]:
    rng = np.random.default_rng(0)
    X = pl.DataFrame({"late": rng.integers(0, 2, rows).astype(float), "zip": rng.choice(["a", "b"], rows)})
    return X, np.where(X["late"].to_numpy() > 0, "delivery", "quality").astype(object)


def test_shares_depend_on_the_features_and_no_kind_is_impossible() -> None:
    X, y = issues()
    shares = KindModel().fit(X, y).predict_proba(pl.DataFrame({"late": [0.0, 1.0], "zip": ["a", "new"]}))
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    assert (shares > 0).all()
    late = KINDS.index("delivery")
    assert shares[1, late] > 0.7 > 0.3 > shares[0, late]
    assert list(shares_of(shares)[0]) == list(KINDS)


def test_few_issues_teach_shares_only() -> None:
    X, y = issues(30)
    shares = KindModel().fit(X, y).predict_proba(X)
    assert np.ptp(shares, axis=0).max() == 0
    assert shares[0, KINDS.index("delivery")] == pytest.approx(((y == "delivery").sum() + 1) / 34)


def test_wrong_input_is_a_named_error_and_missing_values_are_borne() -> None:
    X, y = issues()
    with pytest.raises(NotEnoughDataError, match="no issues"):
        KindModel().fit(X.head(0), [])
    with pytest.raises(FrameError, match="'odd' is no kind"):
        KindModel().fit(X, np.array(["odd"] * X.height, dtype=object))
    with pytest.raises(FrameError, match="shape"):
        KindModel().fit(X, y[:3])
    fitted = clone(KindModel()).fit(X.with_columns(never=pl.lit(None, dtype=pl.Float64)), y)
    with pytest.raises(FeatureMismatchError, match="never"):
        fitted.predict_proba(X)
    assert np.isfinite(fitted.predict_proba(X.with_columns(never=pl.lit(None), late=pl.lit(None)))).all()
    assert fitted.predict_proba(X.head(0).with_columns(never=pl.lit(None))).shape == (0, 4)


def test_a_trained_model_says_delivery_of_late_parcels_and_quality_of_punctual_ones() -> None:
    seen = snapshot(invented_shop(900, seed=3), START + timedelta(days=230))
    model = train_issue(seen, Moment.DUE, horizon_days=20).model
    moments = order_moments(seen, due_days=14)
    subjects = issue_subjects(moments, Moment.DUE).tail(60)
    scored = score_issue(model, seen, moments, subjects)
    delivered = dict(moments.select("order_id", pl.col("delivered_at") > pl.col("promised_end")).iter_rows())
    by_late = {
        late: [one.issue_kinds["delivery"] for one in scored if delivered[one.order_id] == late]
        for late in (True, False)
    }
    assert min(len(values) for values in by_late.values()) >= 5
    assert np.mean(by_late[True]) > 0.8 > 0.2 > np.mean(by_late[False])
