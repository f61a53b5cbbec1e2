"""Delivery under kill -9: workers, and PostgreSQL itself, are killed while mails leave; then the books are compared.

The sink's log is what really arrived, the table what Aftercare believes. Everything random comes from one seed, except
when the machine runs what; a violation is a sentence, and none is tolerated.
"""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from benchmarks.sending.mails import orders
from benchmarks.sending.shop import REPOSITORY, Shop, new_shop
from bot.store.tables import metadata
from tests.peers.postgres import Cluster
from tests.peers.sink import Sink, start_sink

PATIENCE_SECONDS = 120.0
_PAUSE = threading.Event()
_OUTREACHES, _DELIVERIES = metadata.tables["outreaches"], metadata.tables["deliveries"]
_TOUCHPOINTS = metadata.tables["touchpoints"]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is done to whom.

    Attributes
    ----------
    words : tuple of str
        The command that delivers on PostgreSQL; on SQLite it is `run --only delivery`.
    reply_seconds : float
        How long the mail server takes to say 250: sends are in flight for so long.
    tempfail : float
        The share of recipients that are put off with a 451.
    """

    sends: int
    kills: int
    seed: int
    workers: int = 2
    words: tuple[str, ...] = ("worker",)
    connections: int = 8
    reply_seconds: float = 0.05
    tempfail: float = 0.02


@dataclass(kw_only=True)
class Verdict:
    """What was found afterwards."""

    plan: Plan
    engine: str
    seconds: float = 0.0
    in_flight: list[int] = field(default_factory=list)
    states: dict[str, int] = field(default_factory=dict)
    arrived: int = 0
    uncertain_arrived: int = 0
    violations: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        uncertain = self.states.get("uncertain", 0)
        kills = " ".join(map(str, self.in_flight))
        lines = [
            f"{self.engine}: {self.plan.sends} sends, {len(self.in_flight)} kills (seed {self.plan.seed}), {self.seconds:.0f} s",
            f"  states {self.states}, mails that arrived {self.arrived}",
            f"  in flight at the kills {sum(self.in_flight)} ({kills}); uncertain {uncertain}, arrived of them {self.uncertain_arrived}",
            *(f"  VIOLATION {sentence}" for sentence in self.violations),
        ]
        return "\n".join(lines)


def kill_and_compare(folder: Path, plan: Plan, cluster: Cluster | None) -> Verdict:
    """Send, kill, restart, drain, recover, compare.

    Parameters
    ----------
    cluster : Cluster or None
        The PostgreSQL that is killed once as well; None: SQLite with the one process.
    """
    verdict = Verdict(plan=plan, engine="PostgreSQL" if cluster else "SQLite")
    words = plan.words if cluster else ("run", "--only", "delivery")
    engine = "workers" if words[0] == "worker" else "embedded"
    delivery = {"connections": plan.connections, "backoff_seconds": 1, "engine": engine}
    url = cluster.url if cluster else "sqlite"
    folder.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    with (
        start_sink(folder, delay=plan.reply_seconds, tempfail=plan.tempfail, seed=plan.seed) as sink,
        new_shop(folder / "shop", url, sink.url, delivery=delivery) as shop,
    ):
        workers = [_Worker(shop, words, number) for number in range(plan.workers if cluster else 1)]
        try:
            _kill(verdict, shop, sink, workers, cluster)
            _drain(verdict, shop, sink, workers)
        finally:
            for worker in workers:
                worker.kill()
        _recover(verdict, shop)
        _compare(verdict, shop, sink)
    verdict.seconds = time.monotonic() - began
    return verdict


class _Worker:
    """One delivering process, started again after each kill."""

    def __init__(self, shop: Shop, words: Sequence[str], number: int) -> None:
        self._shop = shop
        self._words = words
        self._said = shop.folder / f"worker-{number}.out"
        self._log = shop.folder / f"worker-{number}.log"
        self.start()

    def start(self) -> None:
        with self._said.open("wb") as said, self._log.open("ab") as log:
            self.process = subprocess.Popen(
                self._shop.command(*self._words), env=self._shop.environment, cwd=REPOSITORY, stdout=said, stderr=log
            )

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while b"ready" not in self._said.read_bytes():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"a worker did not come up ({self.process.poll()}):\n{self.log()}")
            _PAUSE.wait(0.02)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def end(self) -> int:
        """Ask it to end, and return its exit status."""
        self.process.terminate()
        return self.process.wait(PATIENCE_SECONDS)

    def log(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")[-3000:]


def _kill(verdict: Verdict, shop: Shop, sink: Sink, workers: Sequence[_Worker], cluster: Cluster | None) -> None:
    """Approve a part of the check-ins, kill at a random moment of its sending, and so on with the next part."""
    plan = verdict.plan
    chance = random.Random(plan.seed)
    kills = ["worker"] * plan.kills
    if cluster is not None:
        kills.insert(chance.randrange(1, plan.kills), "postmaster")
    approved = orders(plan.sends)
    part = plan.sends // (len(kills) + 1)
    for worker in workers:
        worker.wait_until_ready()
    for number, kind in enumerate(kills):
        before = sink.count()
        shop.approve_all(approved[number * part : (number + 1) * part])
        _wait_for_arrivals(sink, before + chance.uniform(0, 0.7) * part, workers)
        _PAUSE.wait(chance.uniform(0, plan.reply_seconds))
        if kind == "postmaster":
            assert cluster is not None
            cluster.kill()
            cluster.start()
            shop.database.engine.dispose()
            verdict.in_flight.append(_sending(shop, None))
        else:
            worker = chance.choice(workers)
            worker.kill()
            verdict.in_flight.append(_sending(shop, worker.process.pid))
            worker.start()
            worker.wait_until_ready()
        print(
            f"kill {number + 1} of {len(kills)} ({kind}): {verdict.in_flight[-1]} in flight, {sink.count()} arrived so far",
            file=sys.stderr,
        )
    shop.approve_all(approved[len(kills) * part :])
    if not any(verdict.in_flight):
        verdict.violations.append("no kill hit a send: the plan proves nothing")


def _wait_for_arrivals(sink: Sink, target: float, workers: Sequence[_Worker]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while sink.count() < target:
        if time.monotonic() > deadline:
            raise RuntimeError(f"nothing is sent any more, after {sink.count()} arrivals:\n{workers[0].log()}")
        _PAUSE.wait(0.005)


def _sending(shop: Shop, pid: int | None) -> int:
    """Count what the database believes to be under way, by one process or by any."""
    query = sa.select(sa.func.count()).select_from(_OUTREACHES).where(_OUTREACHES.c.state == "sending")
    if pid is not None:
        query = query.where(_OUTREACHES.c.sending_by.like(f"%:{pid}:%"))
    with shop.database.read() as connection:
        return int(connection.execute(query).scalar_one())


def _drain(verdict: Verdict, shop: Shop, sink: Sink, workers: Sequence[_Worker]) -> None:
    """Let the workers send the rest, and end them as one would."""
    deadline, latest, moved = time.monotonic() + PATIENCE_SECONDS, 0, time.monotonic()
    while (waiting := shop.states().get("approved", 0)) and time.monotonic() < deadline:
        if (count := sink.count()) != latest:
            latest, moved, deadline = count, time.monotonic(), time.monotonic() + PATIENCE_SECONDS
        if time.monotonic() - moved > PATIENCE_SECONDS / 2:
            break
        _PAUSE.wait(0.1)
    if waiting:
        verdict.violations.append(f"{waiting} approved check-ins are not sent any more:\n{workers[0].log()}")
    for worker in workers:
        if worker.process.poll() is not None:
            verdict.violations.append(f"a worker ended by itself with {worker.process.returncode}:\n{worker.log()}")
        elif status := worker.end():
            verdict.violations.append(f"a worker asked to end did so with {status}:\n{worker.log()}")


def _recover(verdict: Verdict, shop: Shop) -> None:
    once = shop.command("run", "--once", "deliver")
    done = subprocess.run(once, env=shop.environment, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if done.returncode:
        verdict.violations.append(f"recovering ended with {done.returncode}: {done.stderr[-2000:]}")


def _compare(verdict: Verdict, shop: Shop, sink: Sink) -> None:
    """Hold the table against the sink's log."""
    arrivals = sink.arrivals()
    by_mail = Counter(one.message_id for one in arrivals)
    by_check_in = Counter(int(one.key.split(":")[1]) for one in arrivals)
    with shop.database.read() as connection:
        columns = _OUTREACHES.c
        rows = connection.execute(sa.select(columns.id, columns.state, columns.evidence, columns.refusal)).all()
        is_open = sa.select(sa.func.count()).select_from(_DELIVERIES).where(_DELIVERIES.c.state == "started")
        open_attempts = int(connection.execute(is_open).scalar_one())
        contacts = Counter(connection.execute(sa.select(_TOUCHPOINTS.c.external_id)).scalars())
    verdict.states = dict(sorted(Counter(row.state for row in rows).items()))
    verdict.arrived = len(arrivals)
    verdict.uncertain_arrived = sum(row.state == "uncertain" and row.id in by_check_in for row in rows)

    def complain(what: str, found: Sequence[Any]) -> None:
        if found:
            verdict.violations.append(f"{what}: {len(found)}, such as {list(found)[:5]}")

    lost = [(row.id, row.state, row.refusal) for row in rows if row.state not in ("sent", "uncertain")]
    complain("lost: neither sent nor shown as uncertain", lost)
    complain("doubled: Message-IDs accepted twice", [key for key, count in by_mail.items() if count > 1])
    complain("doubled: check-ins accepted twice", [key for key, count in by_check_in.items() if count > 1])
    sent = [row for row in rows if row.state == "sent"]
    complain("sent by the table, unknown to the server", [row.id for row in sent if (row.evidence or {}).get("reference") not in by_mail])  # fmt: skip
    complain("sent, and not once on the customer's journey", [row.id for row in sent if contacts[f"outreach:{row.id}"] != 1])  # fmt: skip
    complain("attempts that never ended", [open_attempts] if open_attempts else [])
    in_flight, uncertain = sum(verdict.in_flight), verdict.states.get("uncertain", 0)
    complain(f"uncertain, more than the {in_flight} in flight", [uncertain] if uncertain > in_flight else [])
