"""How long a day's plan of a large shop takes, and how much memory, beside its floor.

    python -m benchmarks.planning [--customers N …] [--keep FOLDER]

A shop whose customers were all predicted today is generated into SQLite (`benchmarks.shops.planned`), and planned with the
shipped playbooks as the daily round does it: whom each playbook means, what the contact policy says, draws, drafts, and the
refusals stored. The floor, in the same run, is what nobody could leave out: the same rows read once, table by table, and as
many refusals written by one bulk insert. Each runs in a process of its own, on a copy of the shop, and its processor time
and largest memory are counted. The exit status is 1 where the plan takes more than 2 GiB, or ten times the customers more
than eleven times the processor time, or where planning the same day again proposes anything.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from benchmarks.shops.planned import NOW, write_planned_shop
from bot.clock import ManualClock
from bot.config import Settings
from bot.services.planning.large_shop import PLAN, LargeShop, PlanningTask
from bot.services.planning.parts import Parts
from bot.services.planning.planner import Planner
from bot.services.planning.playbooks import load_playbooks
from bot.store import migrations
from bot.store.database import open_database
from messages.catalogue import Catalogue

GIBIBYTES = 2.0
TEN_TIMES = 11.0
# What a plan reads, in full.
_READ = (
    "SELECT * FROM predictions",
    "SELECT id, external_id, customer_id, placed_at, promised_at, total FROM orders",
    "SELECT * FROM customers",
    "SELECT customer_id, kind, order_id, occurred_at FROM touchpoints",
    "SELECT * FROM outreaches",
    "SELECT * FROM consents",
)
_REFUSALS = (
    "INSERT INTO refusals (customer_id, order_id, playbook, step, decision, reason, local_date, dedupe_key, recorded_at)"
    " VALUES (?, ?, 'floor', 'first', 'defer', 'capacity', ?, ?, ?)"
)


def main() -> int:
    """Measure, print, and say by the exit status whether the limits are held."""
    words = argparse.ArgumentParser(prog="benchmarks.planning", description=(__doc__ or "").splitlines()[0])
    words.add_argument("--customers", type=int, nargs="+", default=[20_000], help="sizes of the shop, smallest first")
    words.add_argument("--keep", type=Path, help="a folder in which generated shops are kept for the next run")
    words.add_argument("--one", nargs=3, metavar=("WHAT", "FILE", "REFUSALS"), help=argparse.SUPPRESS)
    chosen = words.parse_args()
    if chosen.one:
        return _one(chosen.one[0], Path(chosen.one[1]), int(chosen.one[2]))
    held: list[bool] = []
    seconds: dict[int, float] = {}
    with tempfile.TemporaryDirectory(prefix="aftercare-planning-") as scratch:
        folder = chosen.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        print(f"{'customers':>12} {'':6} {'seconds':>8} {'CPU s':>8} {'GiB':>6} {'proposed':>9} {'refused':>9}")
        for customers in chosen.customers:
            shop = _shop(folder, customers)
            ours = _run("ours", shop, folder, 0)
            floor = _run("floor", shop, folder, int(ours["refused"]))
            for name, one in (("floor", floor), ("ours", ours)):
                print(
                    f"{customers:12,} {name:6} {one['seconds']:8.1f} {one['cpu']:8.1f} {one['gibibytes']:6.2f}"
                    f" {one['proposed']:9,} {one['refused']:9,}",
                    flush=True,
                )
            seconds[customers] = ours["cpu"]
            print(f"{customers:,}: ours / floor: {ours['cpu'] / floor['cpu']:.1f} (no limit)", flush=True)
            held.append(_said(f"{customers:,}: GiB", ours["gibibytes"], GIBIBYTES))
            held.append(_said(f"{customers:,}: proposed by planning the day again", ours["again"], 0))
            if (before := seconds.get(customers // 10)) is not None:
                held.append(_said(f"{customers:,}: time / that of a tenth", seconds[customers] / before, TEN_TIMES))
    return 0 if all(held) else 1


def _shop(folder: Path, customers: int) -> Path:
    """Make a shop, unless it is there from an earlier run; return its database."""
    file, made = folder / f"planned-{customers}.db", folder / f"planned-{customers}.made"
    if not made.exists():
        file.unlink(missing_ok=True)
        with closing(open_database(f"sqlite:///{file}")) as database:
            migrations.upgrade(database)
        write_planned_shop(file, customers)
        with closing(sqlite3.connect(file)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        made.touch()
    return file


def _run(what: str, shop: Path, folder: Path, refusals: int) -> dict[str, float]:
    copy = folder / "copy.db"
    shutil.copyfile(shop, copy)
    try:
        words = [sys.executable, "-m", "benchmarks.planning", "--one", what, str(copy), str(refusals)]
        done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
    finally:
        for left in folder.glob("copy.db*"):
            left.unlink()
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _one(what: str, file: Path, refusals: int) -> int:
    began, before = time.perf_counter(), time.process_time()
    found = _plan(file) if what == "ours" else _floor(file, refusals)
    found |= {"seconds": time.perf_counter() - began - found.pop("again_seconds", 0.0)}
    found |= {"cpu": time.process_time() - before - found.pop("again_cpu", 0.0)}
    print(json.dumps({**found, "gibibytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20}))
    return 0


def _plan(file: Path) -> dict[str, float]:
    settings = Settings.model_validate({"email": {"enabled": True}, "shop": {"name": "Shop"}})
    clock, catalogue = ManualClock(NOW), Catalogue.load()
    with closing(open_database(f"sqlite:///{file}")) as database:
        planner = Planner(database, clock, settings, catalogue, load_playbooks(settings, catalogue.names))
        parts = Parts(database, clock, {PLAN: PlanningTask(planner=planner)}, call=lambda *_: None)
        shop = LargeShop(database, clock, settings, parts, planner, ())
        shop.plan_today()
        proposed, refused = _count(file, "outreaches"), _count(file, "refusals")
        began, before = time.perf_counter(), time.process_time()
        clock.advance(NOW.resolution)  # the same day once more, as another run
        shop.plan_today()
        again = _count(file, "outreaches") - proposed
    return {
        "proposed": proposed - _count(file, "outreaches", "sent_at IS NOT NULL"),
        "refused": refused,
        "again": again,
        "again_seconds": time.perf_counter() - began,
        "again_cpu": time.process_time() - before,
    }


def _count(file: Path, table: str, where: str = "1") -> int:
    with closing(sqlite3.connect(file)) as connection:
        return int(connection.execute(f"SELECT count(*) FROM {table} WHERE {where}").fetchone()[0])


def _floor(file: Path, refusals: int) -> dict[str, float]:
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        for query in _READ:
            for _ in connection.execute(query):
                pass
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(_REFUSALS, _rows(refusals))
        connection.execute("COMMIT")
    return {"proposed": 0, "refused": refusals}


def _rows(count: int) -> Iterator[tuple[object, ...]]:
    day, now = NOW.date().isoformat(), NOW.replace(tzinfo=None).isoformat(" ", "microseconds")
    for number in range(1, count + 1):
        yield number, None, day, f"{number}:floor:first:{day}", now


def _said(what: str, value: float, limit: float) -> bool:
    print(f"{what}: {value:.2f}  (limit: at most {limit:g})  {'PASS' if value <= limit else 'FAIL'}", flush=True)
    return value <= limit


if __name__ == "__main__":
    sys.exit(main())
