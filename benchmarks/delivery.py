"""How fast approved check-ins leave, durably, beside rivals that build the same mails; and how long one waits.

    python -m benchmarks.delivery [--quick] [--connections N]

In the same run and turn about, to the same sink, on two cores, without DKIM: (a) bare smtplib, connections reused, eight
threads; (b) Celery with a task a mail on RabbitMQ (guest at 127.0.0.1:5672), two processes, acknowledged late, no guard
against doubles, in an environment of its own; and Aftercare with two workers on PostgreSQL (a cluster of the
benchmark's own, fsync on), and with the one process on SQLite. Medians of the rounds are compared; the exit status is 1
where a limit is not held. RabbitMQ was started by others: it shares these two cores only if the machine has no more.
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.sending import contestants
from benchmarks.sending.contestants import Load, Result
from benchmarks.sending.waiting_time import waits
from bot.config import Settings
from tests.peers.postgres import Cluster, postgres_cluster
from tests.peers.sink import Sink, start_sink

OVER_CELERY = 1.5
OF_BARE = 0.6
P99_SECONDS = 2.0
RATE = 200
CORES = 2

Contestant = Callable[[Load, Sink], Result]


def main() -> int:
    """Measure, print, and say by the exit status whether the limits are held."""
    words = argparse.ArgumentParser(prog="benchmarks.delivery", description=(__doc__ or "").splitlines()[0])
    words.add_argument("--quick", action="store_true", help="few mails, one round")
    default = Settings().delivery.connections
    words.add_argument("--connections", type=int, default=default, help="delivery.connections of a worker")
    chosen = words.parse_args()
    quick, connections = chosen.quick, chosen.connections
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    load, rounds, seconds = (Load(count=600, warm_up=100), 1, 5) if quick else (Load(count=3000, warm_up=300), 3, 25)
    print(
        f"{load.count} mails after {load.warm_up} to warm up, rounds {rounds}, delivery.connections {connections}, {_machine()}"
    )
    with postgres_cluster() as cluster:
        medians = _race(load, rounds, cluster, connections)
        held = [_ratio(medians, "Celery", OVER_CELERY), _ratio(medians, "smtplib", OF_BARE), _waits(seconds, cluster)]
    return 0 if all(held) else 1


def _race(load: Load, rounds: int, cluster: Cluster, connections: int) -> dict[str, float]:
    """Let everybody send in turn; return the median rate of each."""
    racing: dict[str, Contestant] = {
        "Aftercare, PostgreSQL, two workers": lambda load, sink: contestants.ours_on_postgres(
            load, sink, cluster, connections=connections
        ),
        "smtplib, eight threads": contestants.bare,
        "Celery, RabbitMQ, two processes": contestants.celery,
        "Aftercare, SQLite, one process": contestants.ours_on_sqlite,
    }
    if not _listens(5672):
        print("no RabbitMQ at 127.0.0.1:5672: Celery is skipped, and its limit with it")
        del racing["Celery, RabbitMQ, two processes"]
    found: dict[str, list[Result]] = {name: [] for name in racing}
    for _ in range(rounds):
        for name, run in racing.items():
            with tempfile.TemporaryDirectory(prefix="aftercare-sink-") as folder, start_sink(Path(folder)) as sink:
                found[name].append(run(load, sink))
    print(f"{'':36} {'mails/s':>8}  {'CPU ms a mail: own':>18} {'servers':>8}  rounds")
    medians = {}
    for name, results in found.items():
        medians[name] = statistics.median(one.per_second for one in results)
        own, servers = (statistics.median(getattr(one, part) for one in results) for part in ("own", "servers"))
        every = " ".join(f"{one.per_second:,.0f}" for one in results)
        print(f"{name:36} {medians[name]:8,.0f}  {own:18.2f} {servers:8.2f}  {every}", flush=True)
    return medians


def _ratio(medians: dict[str, float], rival: str, limit: float) -> bool:
    ours = next(rate for name, rate in medians.items() if "PostgreSQL" in name)
    theirs = next((rate for name, rate in medians.items() if name.startswith(rival)), None)
    if theirs is None:
        return True
    held = ours / theirs >= limit
    print(f"Aftercare on PostgreSQL / {rival}: {ours / theirs:.2f}  (limit: at least {limit})  {_verdict(held)}")
    return held


def _waits(seconds: int, cluster: Cluster) -> bool:
    with tempfile.TemporaryDirectory(prefix="aftercare-sink-") as folder, start_sink(Path(folder)) as sink:
        found = waits(sink, cluster, rate=RATE, seconds=seconds)
    held = found.p99 < P99_SECONDS
    print(
        f"from not_before to arrival, {RATE} a second due for {seconds} s: median {found.median:.3f} s, p99 {found.p99:.3f} s, "
        f"longest {found.longest:.3f} s  (limit: p99 under {P99_SECONDS:g} s)  {_verdict(held)}"
    )
    return held


def _verdict(held: bool) -> str:
    return "PASS" if held else "FAIL"


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(2)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _machine() -> str:
    load = " ".join(f"{one:.1f}" for one in os.getloadavg())
    return f"cores {CORES} of {os.cpu_count()}, load before {load}"


if __name__ == "__main__":
    sys.exit(main())
