"""One contestant of `benchmarks.scoring`, in a process of its own, so that its memory can be counted.

    python -m benchmarks.shops.scored train|ours|floor|warm FOLDER

Prints {"seconds", "cpu", "gibibytes", "subjects"} on its last line; `warm`, which scores single orders in one process, also
the milliseconds that half of them and 99 of 100 stayed within.
"""

from __future__ import annotations

import json
import logging
import resource
import sqlite3
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.shops.generated import DAYS, END, START
from bot.cli import configure_logging
from bot.clock import ManualClock
from bot.config import Settings
from bot.services.prediction.champions import open_champion, read_snapshot
from bot.services.prediction.retraining import Trainer
from bot.services.prediction.scoring import Scorer
from bot.store.database import Database, open_database
from predictors.features import IDENTITY
from predictors.moments import order_moments
from predictors.scoring import recent_subjects
from predictors.windows import OrdersByTime

# A model learns from about so many orders, whatever the size of the shop.
TRAINED_ON = 20_000
# Single orders that are scored one after the other.
SINGLE_ORDERS = 200


def main() -> None:
    """Do what was asked for, and print what it took."""
    configure_logging(logging.WARNING)
    what, home = sys.argv[1], Path(sys.argv[2])
    database = open_database(f"sqlite:///{home / 'shop.db'}")
    tree = {"predictors": {"issue": {"recent_days": 10 * DAYS}}}
    settings = Settings.model_validate(tree).model_copy(update={"home": home})
    work: dict[str, Callable[[Database, Settings, Path], int]] = {
        "train": _train,
        "ours": _ours,
        "floor": _floor,
        "warm": _warm,
    }
    if what != "train":
        _forget(home / "shop.db")
    began, cpu = time.perf_counter(), time.process_time()
    subjects = work[what](database, settings, home / "shop.db")
    found = {
        "seconds": time.perf_counter() - began,
        "cpu": time.process_time() - cpu,
        "gibibytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "subjects": subjects,
        **({"p50": float(np.quantile(_TOOK, 0.5)), "p99": float(np.quantile(_TOOK, 0.99))} if _TOOK else {}),
    }
    database.close()
    print(json.dumps(found))


def _train(database: Database, settings: Settings, file: Path) -> int:
    with sqlite3.connect(file) as connection:
        orders = int(connection.execute("SELECT count(*) FROM orders").fetchone()[0])
    # The first months, and the horizon after them.
    days = DAYS * min(TRAINED_ON / orders, 0.6) + settings.predictors.issue.horizon_days + 20
    Trainer(database, ManualClock(END), settings).train("issue", as_of=START + timedelta(days=min(days, DAYS)))
    return TRAINED_ON


def _ours(database: Database, settings: Settings, _file: Path) -> int:
    return Scorer(database, ManualClock(END), settings).store("issue")


# Milliseconds of each single order.
_TOOK: list[float] = []


def _warm(database: Database, settings: Settings, file: Path) -> int:
    scorer = Scorer(database, ManualClock(END), settings)
    with sqlite3.connect(file) as connection:
        orders = int(connection.execute("SELECT count(*) FROM orders").fetchone()[0])
    chosen = np.random.default_rng(0).integers(1, orders + 1, SINGLE_ORDERS + 2)
    for number, order in enumerate(chosen.tolist()):
        began = time.perf_counter()
        scorer.score("issue", order_id=f"o{order}")
        if number > 1:  # the first reads the shop, the second finds its pages
            _TOOK.append(1000 * (time.perf_counter() - began))
    return len(_TOOK)


def _floor(database: Database, settings: Settings, file: Path) -> int:
    issue = settings.predictors.issue
    snapshot = read_snapshot(database, settings, END)
    moments = order_moments(snapshot, due_days=issue.due_days)
    in_memory = OrdersByTime(facts_a_window=sys.maxsize)
    in_memory.add(snapshot, moments, recent_subjects(snapshot, moments, None, recent_days=issue.recent_days))
    count = 0
    for moment, frame in in_memory.frames():
        found = open_champion(database, settings, "issue", moment, issue.horizon_days)
        assert found is not None, "train first"
        model, version = found
        p = model.estimator.predict_proba(model.taken(frame))[:, 1]
        rows = frame.select(IDENTITY).with_columns(
            probability=pl.Series(p), moment=pl.col("moment").dt.strftime("%Y-%m-%d %H:%M:%S.%6f")
        )
        count += rows.height
        with sqlite3.connect(file) as connection:
            connection.executemany(
                "INSERT INTO predictions (order_id, customer_id, as_of, probability, kind, moment, subject, horizon_days, "
                f"band, stage, model, recorded_at) VALUES (?1, ?2, ?3, ?4, 'issue', '{moment.value}', 'o' || ?1, 45, 'low', "
                f"'boosting', '{version.name}', ?3)",
                rows.iter_rows(),
            )
    return count


def _forget(file: Path) -> None:
    with sqlite3.connect(file) as connection:
        connection.execute("DELETE FROM predictions")


if __name__ == "__main__":
    main()
