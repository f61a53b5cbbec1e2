"""Scoring and planning in parts come to what they do in one piece, whoever does which part and whoever dies."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from bot.clock import local_date
from bot.services.planning.forecasting import SCORING
from bot.services.planning.large_shop import LargeShop, tasks_of
from bot.services.planning.parts import GIVE_UP, PART, WHOLE, Parts
from bot.services.planning.planner import Planner
from bot.services.planning.playbooks import load_playbooks
from bot.store.database import Database
from bot.store.enums import RunState
from bot.store.parts import customer_ranges
from bot.store.runs import latest_runs, run_of, start_run
from bot.store.tables import metadata
from messages.catalogue import Catalogue
from tests.integration.invented import Shop, write_shop
from tests.integration.shop_rows import add_customer

predictions = metadata.tables["predictions"]


@pytest.fixture
def shop(sqlite_database: Database, tmp_path: Path) -> Shop:
    write_shop(tmp_path, orders=400)
    opened = Shop(sqlite_database, tmp_path)
    opened.read_files()
    return opened


class Scores:
    """Stands for a scorer: remembers what it was asked for."""

    def __init__(self, work: Callable[[str, int], None] = lambda kind, first: None) -> None:
        self.done: list[tuple[str, int]] = []
        self._work = work

    def score_part(self, kind: str, _as_of: datetime, first: int, _last: int) -> int:
        self.done.append((kind, first))
        self._work(kind, first)
        return 1

    def forget(self) -> None:
        pass


def planner_of(shop: Shop) -> Planner:
    catalogue = Catalogue.load()
    playbooks = load_playbooks(shop.settings, catalogue.names)
    return Planner(shop.database, shop.clock, shop.settings, catalogue, playbooks)


def parts_of(shop: Shop, scorer: Any = None) -> Parts:
    tasks = tasks_of(scorer or shop.scorer, planner_of(shop))
    return Parts(shop.database, shop.clock, tasks, call=lambda *_: None, size=40)


def large(shop: Shop, parts: Parts | None = None) -> LargeShop:
    kinds = ["churn", "issue"]
    return LargeShop(shop.database, shop.clock, shop.settings, parts or parts_of(shop), planner_of(shop), kinds)


def stored(database: Database) -> dict[tuple[Any, ...], dict[str, Any]]:
    with database.read() as connection:
        rows = [dict(row._mapping) for row in connection.execute(sa.select(predictions))]
    return {(row["kind"], row["moment"], row["subject"], row["as_of"], row["model"]): row for row in rows}


def test_parts_predict_what_one_piece_does(shop: Shop) -> None:
    count = large(shop).score_today()
    found = stored(shop.database)
    assert count == len(found) > 200
    with shop.database.write() as connection:
        assert len(customer_ranges(connection, 40)) > 2
        connection.execute(sa.delete(predictions))
    for kind in ("churn", "issue"):
        shop.scorer.score(kind)
    whole = stored(shop.database)
    assert whole.keys() == found.keys()
    for key, row in whole.items():
        other = found[key]
        assert other["probability"] == pytest.approx(row["probability"], abs=1e-12)
        for name in ("customer_id", "order_id", "band", "stage", "horizon_days", "recorded_at", "fragility", "reasons"):
            assert other[name] == row[name], (key, name)


def test_what_was_predicted_today_is_not_predicted_again_and_a_plan_knows(shop: Shop) -> None:
    assert large(shop).score_today() > 0
    assert large(shop).score_today() == 0
    today = local_date(shop.clock.now(), shop.settings.shop.zone)
    with shop.database.read() as connection:
        run = run_of(connection, SCORING, f"issue:{today}")
    assert run is not None
    assert run.state == RunState.DONE


def test_many_at_once_do_each_part_once(shop: Shop) -> None:
    scores = Scores()
    parts, helper = parts_of(shop, scores), parts_of(shop, scores)
    names = threading.Event()

    def help_out() -> None:
        while not names.is_set():
            with shop.database.read() as connection:
                running = [run.key for run in latest_runs(connection, WHOLE)]
            for name in running:
                helper.help(name)

    thread = threading.Thread(target=help_out)
    thread.start()
    try:
        count = large(shop, parts).score_today()
    finally:
        names.set()
        thread.join()
    assert len(scores.done) == len(set(scores.done)) == count


def test_a_part_whose_process_died_is_taken_over_and_one_that_failed_is_tried_once_more(shop: Shop) -> None:
    name = f"churn:{shop.clock.now().isoformat()}"
    with shop.database.write() as connection:
        first, second, *_ = customer_ranges(connection, 40)
        gone = f"{name}:{first[0]}-{first[1]}"
        start_run(connection, PART, gone, shop.clock.now() - GIVE_UP, {"owner": "elsewhere:1:1"})

    def fail_once(kind: str, low: int) -> None:
        if low == second[0] and scores.done.count((kind, low)) == 1:
            raise ValueError("no luck")

    scores = Scores(fail_once)
    parts = parts_of(shop, scores)
    with pytest.raises(ValueError):
        large(shop, parts).score_today()
    assert ("churn", first[0]) in scores.done
    with shop.database.read() as connection:
        assert run_of(connection, WHOLE, name).state == RunState.FAILED  # type: ignore[union-attr]
    assert parts.help(name) == 0  # nobody works on what was given up
    scores.done.append(("issue", second[0]))  # and the other kind does not fail
    assert large(shop, parts).score_today() > 0


def test_every_customer_is_in_one_range(sqlite_database: Database, clock: Any) -> None:
    for count, size in ((0, 3), (1, 3), (2, 1), (6, 3), (7, 3)):
        with sqlite_database.write() as connection:
            connection.execute(sa.delete(metadata.tables["customers"]))
            ids = [add_customer(connection, f"r{number}", clock.now()) for number in range(count)]
            ranges = customer_ranges(connection, size)
        assert len(ranges) == max(-(-count // size), 1)
        assert [sum(first <= one <= last for first, last in ranges) for one in ids] == [1] * count
        assert all(before[1] + 1 == after[0] for before, after in itertools.pairwise(ranges))
