"""How long scoring a large shop takes, and how much memory, beside its floor.

    python -m benchmarks.scoring [--orders N …] [--keep FOLDER] [--no-floor]

A shop is generated into SQLite (`benchmarks.shops.generated`), a model trained on its first months, and every order is
scored: read, features, predictions with reasons and fragility, stored. The floor, in the same run and turn about, is what
nobody could leave out: the same read, the same Polars features from frames in memory, a bare `predict_proba`, and one bulk
insert of bare rows in one transaction. Each runs in a process of its own, whose time and largest memory are counted. Then
two hundred orders are scored and stored one at a time, as `score --order` does, in one process that has read the shop. The
exit status is 1 where ours takes more than twice the floor or more than 2 GiB, ten times the orders more than eleven times
the time, or a single order more than 50 ms (99 of 100 of them). The floor holds the whole shop in memory, 9.3 GiB of a million
orders: where less is free, or with `--no-floor`, it is left out, and time and memory alone are judged. Times are those of the processor where two are compared, and
those of the clock for a single order: on a machine that is busy with other things the latter says little.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from benchmarks.shops.generated import write_shop
from bot.store import migrations
from bot.store.database import open_database

OVER_FLOOR = 2.0
GIBIBYTES = 2.0
TEN_TIMES = 11.0
ONE_ORDER_MS = 50.0
# What the floor needs for each order, as measured on a million.
FLOOR_BYTES = 10_000


def main() -> int:
    """Measure, print, and say by the exit status whether the limits are held."""
    words = argparse.ArgumentParser(prog="benchmarks.scoring", description=(__doc__ or "").splitlines()[0])
    words.add_argument("--orders", type=int, nargs="+", default=[100_000], help="sizes of the shop, smallest first")
    words.add_argument("--rounds", type=int, default=2, help="how often each is run; the quickest counts")
    words.add_argument("--keep", type=Path, help="a folder in which generated shops are kept for the next run")
    words.add_argument("--no-floor", action="store_true", help="judge time and memory alone")
    chosen = words.parse_args()
    held: list[bool] = []
    seconds: dict[int, float] = {}
    with tempfile.TemporaryDirectory(prefix="aftercare-scoring-") as scratch:
        folder = chosen.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        print(f"{'orders':>12} {'':8} {'seconds':>8} {'CPU s':>8} {'GiB':>6}")
        for orders in chosen.orders:
            home = _shop(folder, orders)
            names = ["ours"] if chosen.no_floor or not _room_for_floor(orders) else ["floor", "ours"]
            found = {name: _best(name, home, chosen.rounds) for name in names}
            for name, one in found.items():
                print(
                    f"{orders:12,} {name:8} {one['seconds']:8.1f} {one['cpu']:8.1f} {one['gibibytes']:6.2f}", flush=True
                )
            seconds[orders] = found["ours"]["cpu"]
            if "floor" in found:
                held.append(
                    _said(f"{orders:,}: ours / floor", found["ours"]["cpu"] / found["floor"]["cpu"], OVER_FLOOR)
                )
            held.append(_said(f"{orders:,}: GiB", found["ours"]["gibibytes"], GIBIBYTES))
            if (before := seconds.get(orders // 10)) is not None:
                held.append(_said(f"{orders:,}: time / that of a tenth", seconds[orders] / before, TEN_TIMES))
            warm = _run("warm", home)
            print(f"{orders:12,} one order: {warm['p50']:.1f} ms (median), {warm['gibibytes']:.2f} GiB", flush=True)
            held.append(_said(f"{orders:,}: ms for one order (99 of 100)", warm["p99"], ONE_ORDER_MS))
    return 0 if all(held) else 1


def _shop(folder: Path, orders: int) -> Path:
    """Make a shop with a trained model, unless it is there from an earlier run; return its folder."""
    home = folder / f"shop-{orders}"
    if (home / "made").exists():
        return home
    home.mkdir(exist_ok=True)
    for old in home.glob("shop.db*"):
        old.unlink()
    began = time.perf_counter()
    with closing(open_database(f"sqlite:///{home / 'shop.db'}")) as database:
        migrations.upgrade(database)
    write_shop(home / "shop.db", orders)
    _run("train", home)
    (home / "made").touch()
    print(f"made a shop of {orders:,} orders in {time.perf_counter() - began:.0f} s", file=sys.stderr)
    return home


def _room_for_floor(orders: int) -> bool:
    """Say whether the floor fits into the memory that is free, and print that it is left out where it does not."""
    free = int(re.findall(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text())[0]) * 1024
    needed = orders * FLOOR_BYTES
    if needed > free:
        print(
            f"{orders:12,} floor: not run; it holds the shop in memory, about {needed / 2**30:.0f} GiB of which "
            f"{free / 2**30:.0f} are free",
            flush=True,
        )
    return needed <= free


def _best(what: str, home: Path, rounds: int) -> dict[str, float]:
    found = [_run(what, home) for _ in range(rounds)]
    return min(found, key=lambda one: one["cpu"])


def _run(what: str, home: Path) -> dict[str, float]:
    words: Sequence[str] = [sys.executable, "-m", "benchmarks.shops.scored", what, str(home)]
    done = subprocess.run(
        words, check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "2"}
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _said(what: str, value: float, limit: float) -> bool:
    print(f"{what}: {value:.2f}  (limit: at most {limit:g})  {'PASS' if value <= limit else 'FAIL'}", flush=True)
    return value <= limit


if __name__ == "__main__":
    sys.exit(main())
