"""Who sends in the benchmark: each takes a number of mails and sends them to the same sink.

What is counted is the same for all: the processes are up and warm (some mails were sent before), everything to be sent
is waiting when it begins, and the clock runs from the first counted mail's arrival to the last one's; for Aftercare,
until the last one's record is committed too.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.rivals import environments
from benchmarks.sending.computing import named, seconds_of
from benchmarks.sending.mails import orders
from benchmarks.sending.shop import REPOSITORY, Shop, new_shop
from tests.peers.postgres import Cluster
from tests.peers.sink import Sink

BROKER = "amqp://guest:guest@127.0.0.1:5672//"
PATIENCE_SECONDS = 300.0
_PAUSE = threading.Event()


@dataclass(frozen=True, kw_only=True)
class Load:
    """How much is sent.

    Attributes
    ----------
    warm_up : int
        So many mails before the clock starts.
    """

    count: int
    warm_up: int

    @property
    def total(self) -> int:
        return self.count + self.warm_up


@dataclass(frozen=True, kw_only=True)
class Result:
    """What one contestant did in one round.

    Attributes
    ----------
    own, servers : float
        CPU milliseconds a mail: of the sending processes, and of the queue's servers (the sink, which is the same for
        all, is in neither).
    """

    per_second: float
    own: float
    servers: float


def bare(load: Load, sink: Sink) -> Result:
    """Send by smtplib in eight threads, without any queue."""
    with _folder() as folder, new_shop(folder, "sqlite", sink.url) as shop:
        words = [sys.executable, "-m", "benchmarks.rivals.bare", str(load.total), "8"]
        with _running([words], {**shop.environment, "AFTERCARE_CONFIG": str(shop.config)}, folder) as started:
            meter = _Meter(load, sink, started, folder)
            meter.wait()
        return meter.result()


def celery(load: Load, sink: Sink, *, processes: int = 2, prefetch: int = 16) -> Result:
    """Send by Celery's prefork pool from a full queue."""
    python = str(environments.ensure("celery", project_behind=True))
    with _folder() as folder, new_shop(folder, "sqlite", sink.url) as shop:
        environ = {
            **shop.environment,
            "AFTERCARE_CONFIG": str(shop.config),
            "BENCH_BROKER": BROKER,
            "BENCH_QUEUE": f"bench-{uuid.uuid4().hex[:12]}",
            "BENCH_PREFETCH": str(prefetch),
        }
        module = "benchmarks.rivals.celery.tasks"
        worker = [
            python,
            "-m",
            "celery",
            "--quiet",
            "--app",
            module,
            "worker",
            "--pool",
            "prefork",
            "--loglevel",
            "ERROR",
        ]
        worker += ["--concurrency", str(processes), "--without-gossip", "--without-mingle", "--without-heartbeat"]
        subprocess.run([python, "-m", module, "fill", str(load.total)], env=environ, cwd=REPOSITORY, check=True)
        try:
            with _running([worker], environ, folder) as started:
                meter = _Meter(load, sink, started, folder, servers=named("beam.smp"))
                meter.wait()
        finally:
            subprocess.run([python, "-m", module, "remove"], env=environ, cwd=REPOSITORY, check=True)
        return meter.result()


def ours_on_postgres(load: Load, sink: Sink, cluster: Cluster, *, connections: int, processes: int = 2) -> Result:
    """Send by `aftercare worker` on PostgreSQL.

    Parameters
    ----------
    connections : int
        `delivery.connections` of each: so many are claimed, and under way, at once.
    """
    delivery = {"engine": "workers", "connections": connections}
    with _folder() as folder, new_shop(folder, cluster.url, sink.url, delivery=delivery) as shop:
        return _ours(load, sink, shop, [shop.command("worker")] * processes, folder, servers=[cluster.pid])


def ours_on_sqlite(load: Load, sink: Sink) -> Result:
    """Send by the one process on SQLite."""
    with _folder() as folder, new_shop(folder, "sqlite", sink.url) as shop:
        return _ours(load, sink, shop, [shop.command("run", "--only", "delivery")], folder)


def _ours(
    load: Load, sink: Sink, shop: Shop, commands: Sequence[list[str]], folder: Path, servers: Collection[int] = ()
) -> Result:
    written = orders(load.total)
    with _running(commands, shop.environment, folder) as started:
        for process in started:
            wait_until_ready(process)
        # The warm-up is due at once; the rest in a moment, when all of it is stored.
        begin = datetime.now(UTC) + timedelta(seconds=4 + load.total / 400)
        shop.approve_all(written[: load.warm_up])
        shop.approve_all(written[load.warm_up :], [begin] * load.count)
        meter = _Meter(load, sink, started, folder, servers)
        if datetime.now(UTC) >= begin:
            raise RuntimeError("the check-ins were not stored before they were due; the machine is too busy")
        _PAUSE.wait((begin - datetime.now(UTC)).total_seconds() - 0.1)
        meter.wait()
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (states := shop.states()) != {"sent": load.total}:
            if time.monotonic() > deadline:
                raise RuntimeError(f"not everything was recorded as sent: {states}")
            _PAUSE.wait(0.05)
    return meter.result(recorded=shop.last_recorded().timestamp())


class _Meter:
    """Waits for the mails of one contestant and measures from the warm-up's end to the last mail."""

    def __init__(
        self,
        load: Load,
        sink: Sink,
        started: Sequence[subprocess.Popen[bytes]],
        folder: Path,
        servers: Collection[int] = (),
    ) -> None:
        self._load = load
        self._sink = sink
        self._started = started
        self._own = [process.pid for process in started]
        self._servers = list(servers)
        self._folder = folder
        self._spent = (0.0, 0.0)

    def wait(self) -> None:
        """Wait until everything has arrived."""
        self._wait_for(self._load.warm_up)
        own, servers = seconds_of(self._own), seconds_of(self._servers)
        self._wait_for(self._load.total)
        self._spent = (seconds_of(self._own) - own, seconds_of(self._servers) - servers)

    def result(self, recorded: float = 0.0) -> Result:
        """Return what was measured; every mail must have arrived once."""
        arrivals = self._sink.arrivals()
        if len(arrivals) != self._load.total or len({one.message_id for one in arrivals}) != self._load.total:
            raise RuntimeError(f"{self._load.total} mails were to be sent, {len(arrivals)} arrived")
        seconds = max(arrivals[-1].at, recorded) - arrivals[self._load.warm_up].at
        own, servers = (1000 * spent / self._load.count for spent in self._spent)
        return Result(per_second=self._load.count / seconds, own=own, servers=servers)

    def _wait_for(self, count: int) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self._sink.count() < count:
            if time.monotonic() > deadline or any(process.poll() for process in self._started):
                raise RuntimeError(f"only {self._sink.count()} of {count} mails arrived: {_said(self._folder)}")
            _PAUSE.wait(0.02)


def wait_until_ready(process: subprocess.Popen[bytes]) -> None:
    """Read the ready line of a process of Aftercare."""
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line or json.loads(line).get("event") != "ready":
        raise RuntimeError(f"a delivering process did not come up: {line!r}")


@contextmanager
def _running(
    commands: Sequence[list[str]], environ: dict[str, str], folder: Path
) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Run commands side by side; what still runs at the end is ended."""
    with (folder / "said.log").open("wb") as said:
        started = [
            subprocess.Popen(words, env=environ, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=said)
            for words in commands
        ]
        try:
            yield started
        finally:
            for process in started:
                process.terminate()
            for process in started:
                try:
                    process.wait(30)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
                assert process.stdout is not None
                process.stdout.close()


def _said(folder: Path) -> str:
    return (folder / "said.log").read_text(encoding="utf-8", errors="replace")[-2000:]


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="aftercare-bench-") as made:
        yield Path(made)
