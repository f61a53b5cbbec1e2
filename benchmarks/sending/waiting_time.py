"""How long an approved check-in waits: from `not_before` to the mail server's arrival, when so many fall due a second."""

from __future__ import annotations

import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.sending.contestants import wait_until_ready
from benchmarks.sending.mails import orders
from benchmarks.sending.shop import REPOSITORY, new_shop
from tests.peers.postgres import Cluster
from tests.peers.sink import Sink

_PATIENCE_SECONDS = 60.0
_PAUSE = threading.Event()


@dataclass(frozen=True, kw_only=True)
class Waits:
    """Seconds from `not_before` to arrival."""

    median: float
    p99: float
    longest: float


def waits(sink: Sink, cluster: Cluster, *, rate: int, seconds: int, processes: int = 2) -> Waits:
    """Let `rate` approved check-ins fall due a second while workers deliver on PostgreSQL, and measure.

    They were approved before, for these very instants and without an undo window: agents who approve so many a second
    would be measured as well (3 ms of computing each).
    """
    warm_up, count = rate, rate * seconds  # the first second is left out
    with (
        tempfile.TemporaryDirectory(prefix="aftercare-bench-") as made,
        new_shop(Path(made), cluster.url, sink.url, delivery={"engine": "workers"}) as shop,
    ):
        with (Path(made) / "said.log").open("wb") as said:
            running = [
                subprocess.Popen(
                    shop.command("worker"), env=shop.environment, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=said
                )
                for _ in range(processes)
            ]
            try:
                for process in running:
                    wait_until_ready(process)
                written = orders(warm_up + count)
                begin = datetime.now(UTC) + timedelta(seconds=4 + len(written) / 500)
                due = [begin + timedelta(seconds=number / rate) for number in range(len(written))]
                shop.approve_all(written, due)
                if datetime.now(UTC) >= begin:
                    raise RuntimeError(
                        "the check-ins were not stored before the first was due; the machine is too busy"
                    )
                deadline = time.monotonic() + _PATIENCE_SECONDS + seconds
                while sink.count() < len(written) and time.monotonic() < deadline:
                    _PAUSE.wait(0.2)
            finally:
                for process in running:
                    process.terminate()
                for process in running:
                    process.wait(30)
                    assert process.stdout is not None
                    process.stdout.close()
        instants = {f"outreach:{one.id}:1": at.timestamp() for one, at in zip(written, due, strict=True)}
        waited = sorted(one.at - instants[one.key] for one in sink.arrivals()[warm_up:])
        if len(waited) != count:
            raise RuntimeError(f"{count} mails were to be sent, {len(waited)} arrived; {shop.states()}")
        return Waits(median=waited[len(waited) // 2], p99=waited[int(len(waited) * 0.99)], longest=waited[-1])
