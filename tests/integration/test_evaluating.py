"""`evaluate`: rolling origins that see nothing later, spans that cannot be judged, and the report page."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from bot.errors import InputError, Refused, UsageError
from bot.store.database import Database
from predictors import backtest as backtests
from predictors.backtest import Refit, backtest_churn, backtest_issue
from predictors.errors import NotEnoughDataError
from predictors.labels import LabelledBy
from predictors.moments import Moment
from predictors.snapshot import Snapshot
from tests.integration.invented import NOW, SCORED_FROM, SCORED_TO, Shop, write_shop
from tests.unit.shops import START, invented_shop

DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Intervals are not what is tested here."""
    monkeypatch.setattr(backtests, "RESAMPLES", 20)


@pytest.fixture
def shop(sqlite_database: Database, tmp_path: Path) -> Shop:
    write_shop(tmp_path)
    opened = Shop(sqlite_database, tmp_path)
    opened.read_files()
    return opened


@pytest.fixture(scope="module")
def snapshot() -> Snapshot:
    frames = {name: pl.DataFrame(rows, infer_schema_length=None) for name, rows in invented_shop(900, seed=3).items()}
    return Snapshot(**frames, until=NOW)


def _issue(snapshot: Snapshot, start: datetime, end: datetime, refit: Refit = Refit.MONTHLY) -> backtests.Backtest:
    return backtest_issue(
        snapshot,
        Moment.DUE,
        start,
        end,
        horizon_days=20,
        due_days=14,
        labelled_by=LabelledBy.ALL,
        seed=1,
        refit=refit,
    )


def test_each_refit_learns_from_more_and_every_row_is_judged_once(snapshot: Snapshot) -> None:
    told: list[tuple[int, int]] = []
    start, end = SCORED_FROM - 40 * DAY, SCORED_TO
    rolling = backtest_issue(
        snapshot, Moment.DUE, start, end, horizon_days=20, due_days=14, labelled_by=LabelledBy.ALL, seed=1,
        progress=lambda _, done, total: told.append((done, total)),
    )  # fmt: skip
    once = _issue(snapshot, start, end, Refit.ONCE)
    assert len(rolling.refits) >= 2
    assert [one.rows for one in rolling.refits] == sorted({one.rows for one in rolling.refits})
    assert (len(once.refits), once.n, once.positives) == (1, rolling.n, rolling.positives)
    assert np.array_equal(once.y, rolling.y)
    assert told == [(done, len(rolling.refits)) for done in range(len(rolling.refits) + 1)]


def test_what_happens_after_a_refit_changes_no_prediction_that_it_makes(snapshot: Snapshot) -> None:
    cut = datetime(SCORED_FROM.year, SCORED_FROM.month, 1, tzinfo=SCORED_FROM.tzinfo)
    start = cut - 30 * DAY
    before = _issue(snapshot, start, cut)
    spoilt = snapshot.touchpoints.filter(pl.col("recorded_at") <= cut)
    extra = snapshot.touchpoints.filter(pl.col("recorded_at") > cut).with_columns(value=pl.lit(1.0))
    changed = replace(snapshot, touchpoints=pl.concat([spoilt, extra.sample(fraction=0.5, seed=1)]))
    after = _issue(changed, start, cut)
    assert before.n == after.n
    for name, p in before.predictions.items():
        assert after.predictions[name] == pytest.approx(p), name


@pytest.mark.parametrize(
    ("start", "end", "said"),
    [
        (NOW + DAY, NOW + 9 * DAY, "future"),
        (START - 90 * DAY, START - 60 * DAY, "known outcome"),
        (NOW - 2 * DAY, NOW - DAY, "known outcome"),
    ],
)
def test_a_span_that_cannot_be_judged_is_named(snapshot: Snapshot, start: datetime, end: datetime, said: str) -> None:
    with pytest.raises(NotEnoughDataError, match=said):
        _issue(snapshot, start, end)


def test_outcomes_that_are_all_alike_are_named(snapshot: Snapshot) -> None:
    quiet = replace(
        snapshot, touchpoints=snapshot.touchpoints.filter(pl.col("kind").is_in(["paid", "shipped", "delivered"]))
    )
    with pytest.raises(NotEnoughDataError, match="longer span"):
        _issue(quiet, SCORED_FROM, SCORED_TO)


def test_churn_is_judged_on_every_window_of_the_horizon_in_the_span(snapshot: Snapshot) -> None:
    start = SCORED_FROM - 20 * DAY
    whole = backtest_churn(snapshot, start, start + 60 * DAY, seed=1)
    rolling = backtest_churn(snapshot, start, start + 60 * DAY, seed=1, horizon_days=20)
    assert len(whole.refits) == 1
    assert len(rolling.refits) > 1
    assert rolling.n > whole.n
    assert set(rolling.predictions) >= {"aftercare", "bgnbd", "base_rate", "recency", "logistic"}
    with pytest.raises(NotEnoughDataError, match="shorter"):
        backtest_churn(snapshot, start, start + 10 * DAY, seed=1, horizon_days=20)
    with pytest.raises(NotEnoughDataError, match="has not passed"):
        backtest_churn(snapshot, NOW - 5 * DAY, NOW + 5 * DAY, seed=1)


class _Page(HTMLParser):
    """Collects what a page would fetch or run, and checks that its tags are balanced."""

    VOID = frozenset({"meta", "path", "use"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.fetched: list[str] = []
        self.seen: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "xlink:href", "action", "data", "srcset") and not (value or "").startswith("#"):
                self.fetched.append(f"{tag} {name}={value}")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag in self.VOID:
            return
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_report_is_one_page_that_fetches_nothing_and_says_what_the_lines_say(shop: Shop, tmp_path: Path) -> None:
    evaluations = shop.evaluator.evaluate("issue", start=SCORED_FROM, end=SCORED_TO)
    file = tmp_path / "page.html"
    shop.evaluator.report(evaluations, file)
    html = file.read_text(encoding="utf-8")
    page = _Page()
    page.feed(html)
    assert page.open == []
    assert page.fetched == []
    assert "script" not in page.seen
    assert set(re.findall(r"https?://[^\"'<\s]+", html)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }
    ids = re.findall(r' id="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    assert page.seen.count("svg") == 5 * len(evaluations)
    for one in evaluations:
        for sentence in one.line()["verdict"]:
            assert sentence in page.text
        assert f"{one.n:,} orders" in page.text


def test_a_report_that_cannot_be_written_is_named(shop: Shop, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--report"):
        shop.evaluator.report([], tmp_path / "nowhere" / "page.html")


def test_the_verdict_says_worse_where_ours_is_worse(shop: Shop) -> None:
    (found,) = shop.evaluator.evaluate("issue", start=SCORED_FROM, end=SCORED_TO, moment="due")
    ours = found.backtest.predictions["aftercare"]
    turned = {"aftercare": 1 - ours, "logistic": ours}
    comparison = backtests.compare(found.backtest.y, turned, seed=1)
    upside_down = replace(found.backtest, predictions=turned, comparison=comparison)
    sentences: list[str] = replace(found, backtest=upside_down).line()["verdict"]
    assert "worse than the best baseline, logistic regression" in sentences[0]
    assert any("Brier score than logistic regression" in one for one in sentences)
    assert any("take the ranking rather" in one for one in sentences)


def test_what_does_not_fit_is_a_usage_error(shop: Shop) -> None:
    with pytest.raises(UsageError, match="empty span"):
        shop.evaluator.evaluate("issue", start=SCORED_TO, end=SCORED_TO)
    with pytest.raises(UsageError, match="moments"):
        shop.evaluator.evaluate("churn", start=SCORED_FROM, end=SCORED_TO, moment="due")
    with pytest.raises(Refused, match="future"):
        shop.evaluator.evaluate("issue", start=NOW + DAY, end=NOW + 2 * DAY)
