"""How soon planted troubles are found, how often a quiet shop alarms, and what real orders show.

    python -m benchmarks.patterns [noise|planted|olist]...        (default: all three)

`noise`: shops without any planted trouble are looked at every third day for four months; every pattern that is news
is a false alarm. Not only Poisson noise: products, regions and sellers differ, sellers have bad weeks, the shop has seasons
(`benchmarks.shops.planted`). `planted`: one trouble begins, and the days are counted until its own cell is news. `olist`:
the real orders of AFTERCARE_DATA or ../shared/data, looked at every four weeks, with the time that one look takes. The exit
status is 1 where a quiet shop alarms more than once in four months.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
from scipy.stats import chi2

from benchmarks.shops.planted import START, Planted, PlantedShop, planted_shop
from bot.clock import ManualClock
from bot.config import Settings
from bot.decide.emergence import Change, Identity, OpenPattern, Step, follow
from bot.services.importing.importer import Importer
from bot.services.prediction.patterns import Patterns
from bot.store import migrations
from bot.store.database import open_database
from predictors.patterns import Pattern, find_patterns

DAYS = 300
BEGINS = 245
NOISE_FROM = 180
NOISE_EVERY_DAYS = 3
OLIST_EVERY = timedelta(days=28)
NOISE_SHOPS = range(100, 104)
PLANTED_SHOPS = range(200, 203)
MOST_ALARMS_A_MONTH = 0.25
# A lot is sold for 45 days, so it begins with its own first sale: B5 with day 225, hence the lot's later begin.
TROUBLES = (
    ("lot, charging", "lot", "0/B5-1", (0.15, 0.4)),
    ("seller, charging", "seller", "s3", (0.05, 0.15)),
    ("region, charging", "region", "r2", (0.05, 0.15)),
)
OLIST_SETTINGS = {"shop": {"timezone": "America/Sao_Paulo"}}


@dataclass(frozen=True, kw_only=True)
class Look:
    """One day's look: what was news, and what was there."""

    day: int
    news: list[Identity]
    found: list[Pattern]


def looks(shop: PlantedShop, days: Iterable[int]) -> Iterable[Look]:
    """Look at a shop day by day as the daily round does, remembering what is open."""
    opened: dict[Identity, OpenPattern] = {}
    for day in days:
        now = START + timedelta(days=day)
        found = find_patterns(*shop.at(day), due_days=14, known=tuple(opened))
        troubled = {one.identity: one.troubled for one in found}
        changes = follow(list(opened.values()), troubled, now)
        for change in changes:
            _remember(opened, change, troubled, now)
        yield Look(day=day, news=[change.identity for change in changes if change.is_news], found=found)


def _remember(
    opened: dict[Identity, OpenPattern], change: Change, troubled: dict[Identity, int], now: datetime
) -> None:
    if change.step is Step.CLOSED:
        del opened[change.identity]
        return
    known = opened.get(change.identity)
    told = troubled[change.identity] if change.is_news or known is None else known.told_troubled
    opened[change.identity] = OpenPattern(identity=change.identity, told_troubled=told, last_seen_at=now)


def noise() -> bool:
    """Count the false alarms of quiet shops."""
    alarms: list[tuple[int, int, Identity]] = []
    months = 0.0
    for seed in NOISE_SHOPS:
        shop = planted_shop(seed=seed, days=DAYS)
        before = len(alarms)
        for look in looks(shop, range(NOISE_FROM, DAYS, NOISE_EVERY_DAYS)):
            alarms += [(seed, look.day, one) for one in look.news]
        months += (DAYS - NOISE_FROM) / 30
        print(
            f"  shop {seed}: {len(alarms) - before} false alarms in {(DAYS - NOISE_FROM) / 30:.0f} months", flush=True
        )
    n = len(alarms)
    low, high = (chi2.ppf(0.025, 2 * n) / 2 if n else 0.0), chi2.ppf(0.975, 2 * n + 2) / 2
    print(
        f"noise: {n} false alarms in {months:.0f} shop months: {n / months:.2f} a month "
        f"[{low / months:.2f}, {high / months:.2f}]"
    )
    for seed, day, identity in alarms:
        print(f"  shop {seed}, day {day}: {' '.join(identity)}")
    return n / months <= MOST_ALARMS_A_MONTH


def planted() -> None:
    """Count the days until planted troubles are found."""
    print("planted: trouble, share of orders concerned | found | days from the first order concerned (median, worst) |")
    print("         from its first report | buyers in trouble and silent orders when found | elsewhere")
    for name, dimension, value, shares in TROUBLES:
        for share in shares:
            print(f"  {name}, {share:.0%} | {_found(dimension, value, share)}", flush=True)


def _found(dimension: str, value: str, share: float) -> str:
    waits, reports, troubled, silent, elsewhere, shops = [], [], [], [], 0, 0
    for seed in PLANTED_SHOPS:
        begins = 0.0 if dimension == "lot" else float(BEGINS)
        trouble = Planted(dimension=dimension, value=value, since_day=begins, share=share)
        shop = planted_shop(seed=seed, days=DAYS, planted=trouble)
        shops += 1
        began = 225.0 if dimension == "lot" else begins
        first, third = _reports(shop)
        # With fewer than three buyers in trouble nothing can be found yet.
        for look in looks(shop, range(int(third), DAYS)):
            mine = [one for one in look.found if one.cell.key.endswith(_cell(dimension, value))]
            elsewhere += sum(not identity[0].endswith(_cell(dimension, value)) for identity in look.news)
            if mine:
                waits.append(look.day - began)
                reports.append(look.day - first)
                troubled.append(mine[0].troubled)
                silent.append(len(mine[0].silent_orders))
                break
    if not waits:
        return f"0 of {shops} | elsewhere {elsewhere}"
    return (
        f"{len(waits)} of {shops} | {np.median(waits):.0f}, {max(waits):.0f} | {np.median(reports):.0f} | "
        f"{np.median(troubled):.0f} and {np.median(silent):.0f} | {elsewhere}"
    )


def _cell(dimension: str, value: str) -> str:
    return {"lot": value.replace("/", ":"), "seller": f"seller::{value}", "region": f"region::DE/{value}"}[dimension]


def _reports(shop: PlantedShop) -> tuple[float, float]:
    """Return the days of the first and of the third report of the planted trouble, whose words nothing else uses."""
    words = shop.texts.filter(pl.col("text").str.contains("charg|battery"))
    points = shop.snapshot.touchpoints.join(words, on="touchpoint_id")["recorded_at"].sort()
    days = ((points - START).dt.total_seconds() / 86400).to_list()
    return days[0], days[2]


def olist() -> None:
    """Look at the real orders every four weeks from August 2017 on."""
    folder = Path(os.environ.get("AFTERCARE_DATA") or "../shared/data") / "olist"
    if not folder.is_dir():
        print(f"olist: {folder} is absent")
        return
    settings = Settings.model_validate(OLIST_SETTINGS)
    with tempfile.TemporaryDirectory() as scratch:
        database = open_database(f"sqlite:///{scratch}/olist.db")
        migrations.upgrade(database)
        clock = ManualClock(datetime(2018, 5, 1, tzinfo=UTC))
        Importer(database, clock, settings).import_paths([folder])
        news, seconds, looked = 0, [], 0
        clock.set(datetime(2017, 8, 1, tzinfo=UTC))
        while clock.now() < datetime(2018, 5, 1, tzinfo=UTC):
            patterns = Patterns(database, clock, settings)
            began = time.perf_counter()
            fresh = patterns.refresh()
            seconds.append(time.perf_counter() - began)
            news += fresh
            looked += 1
            if fresh:
                for report in patterns.report():
                    if report.stored is not None and report.stored.news_at == clock.now():
                        print(f"  {clock.now():%Y-%m-%d} {report.sentence}; {len(report.silent)} silent orders")
            clock.advance(OLIST_EVERY)
        database.close()
    print(
        f"olist: {news} news in {looked} looks, one in four weeks; one look {np.median(seconds):.1f} s, slowest {max(seconds):.1f} s"
    )


def main() -> int:
    """Measure what was asked for."""
    asked = set(sys.argv[1:]) or {"noise", "planted", "olist"}
    quiet = noise() if "noise" in asked else True
    if "planted" in asked:
        planted()
    if "olist" in asked:
        olist()
    return 0 if quiet else 1


if __name__ == "__main__":
    sys.exit(main())
