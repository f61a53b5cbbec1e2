"""How an order ended counts in histories as far as nobody was contacted about it; who was held out stands for others."""

from __future__ import annotations

import math
from typing import Any

import polars as pl
import pytest

from benchmarks.contacted import HISTORIES, HISTORY_WAYS, history_bias
from predictors.features import issue_features
from predictors.labels import CONTACT
from predictors.moments import Moment, issue_subjects, order_moments
from predictors.standing import FOLLOWED_DAYS, MAX_WEIGHT
from tests.unit.shops import Rows, hours, invented_shop, snapshot

DAY = 24
# Every order is due after ten days; the last is asked about long after all others.
DUE, ASKED = 10 * DAY, 200 * DAY


def shop(*, orders: int = 4) -> Rows:
    """Return some orders of one seller at the same time, and one much later; each of a customer of its own."""
    rows: Rows = {"customers": [], "products": [], "orders": [], "order_lines": [], "touchpoints": [], "draws": []}
    for number in range(orders + 1):
        placed = ASKED if number == orders else 0
        rows["customers"].append({"customer_id": number, "region": "north", "recorded_at": hours(0)})
        rows["orders"].append(
            {"order_id": number, "customer_id": number, "placed_at": hours(placed), "promised_at": hours(placed + DUE - 12),
             "total": 9.0, "recorded_at": hours(placed)}
        )  # fmt: skip
        rows["order_lines"].append(
            {"order_id": number, "line_no": 1, "product_id": 1, "seller_id": "s", "recorded_at": hours(placed)}
        )
    return rows


def happened(
    rows: Rows, order: int | None, kind: str, day: float, value: float | None = None, customer: int = 0
) -> None:
    at = hours(day * DAY)
    rows["touchpoints"].append(
        {"touchpoint_id": len(rows["touchpoints"]), "customer_id": customer if order is None else order, "order_id": order,
         "kind": kind, "occurred_at": at, "recorded_at": at, "value": value}
    )  # fmt: skip


def drawn(rows: Rows, order: int, day: float, propensity: float, contacted: int) -> None:
    rows["draws"].append({"order_id": order, "at": hours(day * DAY), "propensity": propensity, "contacted": contacted})


def seller(rows: Rows) -> dict[str, Any]:
    """Return the last order's features at purchase; its seller is the only one, so that rates are shrunk to themselves."""
    seen = snapshot(rows)
    moments = order_moments(seen, due_days=14)
    features = issue_features(seen, moments, issue_subjects(moments, Moment.PLACED), Moment.PLACED)
    return features.row(by_predicate=pl.col("order_id") == features["order_id"].max(), named=True)


def test_without_any_contact_every_rate_is_made_of_plain_counts_to_the_last_bit() -> None:
    rows = invented_shop(300, seed=6)
    for number in range(0, 300, 7):
        at = rows["orders"][number]["placed_at"] + (hours(9.5 * DAY) - hours(0))
        rows["touchpoints"].append(
            {"touchpoint_id": 10_000 + number, "customer_id": number % 151, "order_id": number, "kind": "complaint",
             "occurred_at": at, "recorded_at": at}
        )  # fmt: skip
    seen = snapshot(rows)
    moments = order_moments(seen, due_days=14)
    features = issue_features(seen, moments, issue_subjects(moments, Moment.PLACED), Moment.PLACED)
    sellers = {row["order_id"]: row["seller_id"] for row in rows["order_lines"]}
    due = dict(moments.select("order_id", "due_moment").iter_rows())
    for row in features.filter(pl.col("order_id") % 40 == 39).iter_rows(named=True):
        found = dict.fromkeys(("bad", "rated", "trouble", "due"), 0.0)
        whole = dict(found)
        for counts, which in ((found, sellers[row["order_id"]]), (whole, None)):
            of_seller = {order for order, one in sellers.items() if which in (None, one)}
            for point in rows["touchpoints"]:
                if point["order_id"] in of_seller and point["recorded_at"] < row["moment"]:
                    counts["rated"] += point["kind"] == "review"
                    counts["bad"] += point["kind"] == "review" and point["value"] == 1.0
                    counts["trouble"] += point["kind"] == "complaint"
            counts["due"] = float(sum(due[order] < row["moment"] for order in of_seller))
        for rate, (top, bottom) in {"bad_rate": ("bad", "rated"), "trouble_rate": ("trouble", "due")}.items():
            prior = whole[top] / whole[bottom]
            assert row[f"seller_{rate}"] == (found[top] + 20.0 * prior) / (found[bottom] + 20.0)
        assert row["seller_ratings_log"] == math.log1p(found["rated"])


def test_a_seller_whose_contacted_orders_ended_well_is_judged_by_those_left_alone() -> None:
    rows = shop()
    for order, contacted in enumerate((True, True, False, False)):
        if contacted:
            happened(rows, order, CONTACT, 9)
        happened(rows, order, "review", 12, 5.0 if contacted or order == 3 else 1.0)
    happened(rows, 2, "complaint", 11)
    found = seller(rows)
    assert found["seller_bad_rate"] == pytest.approx(1 / 2)
    assert found["seller_trouble_rate"] == pytest.approx(1 / 2)
    assert found["seller_ratings_log"] == pytest.approx(math.log1p(2))
    # Whether the parcels were late is no matter of contacts.
    assert found["seller_late_rate"] == pytest.approx(1.0)


def test_who_was_held_out_stands_for_those_who_were_drawn_and_is_told_of_as_one_rating() -> None:
    rows = shop()
    drawn(rows, 0, 9, 0.75, 1)  # drawn to be contacted, sent or not
    drawn(rows, 1, 9, 0.75, 0)
    for order, stars in enumerate((5.0, 1.0, 5.0, 5.0)):
        happened(rows, order, "review", 12, stars)
    happened(rows, 1, "complaint", 11)
    found = seller(rows)
    assert found["seller_bad_rate"] == pytest.approx(4 / 6)
    assert found["seller_trouble_rate"] == pytest.approx(4 / 6)
    assert found["seller_stars"] == pytest.approx((4 * 1 + 2 * 5) / 6)
    assert found["seller_ratings_log"] == pytest.approx(math.log1p(3))


def test_what_came_before_a_contact_counts_and_a_contact_after_the_first_issue_changes_nothing() -> None:
    rows = shop()
    happened(rows, 0, "complaint", 5)
    happened(rows, 0, CONTACT, 6)
    happened(rows, 1, CONTACT, 20)
    happened(rows, 1, "review", 15, 5.0)
    happened(rows, 1, "complaint", 25)
    found = seller(rows)
    # Order 1 is followed until day 20 only, without trouble until then: it is left out as a whole.
    assert found["seller_trouble_rate"] == pytest.approx(1 / 3)
    assert found["seller_ratings_log"] == pytest.approx(math.log1p(1))


def test_a_contact_that_names_no_order_is_about_what_the_customer_had_bought_lately() -> None:
    rows = shop()
    happened(rows, None, CONTACT, 9, customer=0)
    happened(rows, None, CONTACT, DUE / DAY + FOLLOWED_DAYS + 1, customer=1)
    for order in range(4):
        happened(rows, order, "review", DUE / DAY + FOLLOWED_DAYS + 2, 1.0)
    assert seller(rows)["seller_ratings_log"] == pytest.approx(math.log1p(3))


def test_a_contact_counts_from_when_it_was_known() -> None:
    rows = shop()
    happened(rows, 0, "review", 12, 5.0)
    happened(rows, 0, CONTACT, 11)
    rows["touchpoints"][-1]["recorded_at"] = hours(13 * DAY)
    assert seller(rows)["seller_ratings_log"] == pytest.approx(math.log1p(1))


def test_nobody_stands_for_more_than_the_bound() -> None:
    rows = shop()
    drawn(rows, 0, 8, 0.99, 0)
    drawn(rows, 1, 8, 0.5, 0)
    drawn(rows, 1, 9, 0.5, 0)
    for order, stars in enumerate((1.0, 5.0, 5.0, 5.0)):
        happened(rows, order, "review", 12, stars)
    assert seller(rows)["seller_bad_rate"] == pytest.approx(MAX_WEIGHT / (MAX_WEIGHT + 4 + 2))


def test_without_weights_check_ins_make_poor_sellers_look_safe_and_with_them_they_do_not() -> None:
    found = {way: history_bias("drawn by the product", way, orders=4000, repeats=2) for way in HISTORY_WAYS}
    for feature in HISTORIES:
        naive, left, weighted = (found[way][feature].bias for way in HISTORY_WAYS)
        assert naive < -0.06
        assert abs(weighted) < 0.03 < abs(left)  # leaving them out is not enough: those who remain are others
