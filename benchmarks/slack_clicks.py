"""How soon a click in Slack is acknowledged: many a second while the database is busy, and while the mail server hangs.

    python -m benchmarks.slack_clicks [--rate 50] [--seconds 20]

The real `aftercare run` takes signed clicks over HTTP, each on a card of its own, at a steady rate; another process
imports customers into the same database all the while, and every approved mail meets a server that greets
and then says nothing. The peer in the same run is a bare Bolt app behind the same kind of server, which acknowledges and does
nothing else. Latency counts from the moment that a click was due, so that a queue before the server is not overlooked.
Exit status 1 where the 99th percentile is over 300 ms, or any click over three seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import numpy as np
import yaml

from bot.decide.lifecycle import OutreachState
from bot.store import migrations
from bot.store.database import Database, open_database
from bot.store.outreach import list_outreach
from tests.integration.shop_rows import propose
from tests.peers import free_port
from tests.peers.local_slack import APP_TOKEN, BOT_TOKEN, REVIEW_CHANNEL, SIGNING_SECRET
from tests.peers.process import aftercare, environment, until
from tests.slack_requests import clicked, signed
from tests.slack_world import AGENTS, start_peer

P99_LIMIT, WORST_LIMIT = 0.3, 3.0
NOON = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
BARE = """
import sys, uvicorn
from fastapi import FastAPI, Request
from slack_bolt import App
from slack_bolt.adapter.fastapi import SlackRequestHandler
from slack_bolt.authorization import AuthorizeResult
known = AuthorizeResult(enterprise_id=None, team_id="T01CARE", bot_token="xoxb-bare", bot_user_id="U0BARE")
bolt = App(signing_secret=sys.argv[2], authorize=lambda: known)
bolt.action("outreach_approve")(lambda ack: ack())
handler, app = SlackRequestHandler(bolt), FastAPI()
@app.post("/slack/events")
async def events(request: Request):
    return await handler.handle(request)
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
"""


def main() -> int:
    """Measure on every engine at hand and print; say by the exit status whether the limits are held."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=int, default=50, help="clicks a second")
    parser.add_argument("--seconds", type=int, default=20, help="for how long")
    asked = parser.parse_args()
    count, held = asked.rate * asked.seconds, True
    report("bare Bolt, no database", asyncio.run(_against_bare(count, asked.rate)))
    engines = ["sqlite"] + (["postgres"] if os.environ.get("AFTERCARE_TEST_POSTGRES_URL") else [])
    for engine in engines:
        with tempfile.TemporaryDirectory() as scratch, _database(engine, Path(scratch)) as (url, database):
            taken = _ours(Path(scratch), url, database, count, asked.rate)
        held &= report(f"aftercare on {engine}, importing, SMTP hanging", taken)
    return 0 if held else 1


def report(name: str, seconds: Sequence[float]) -> bool:
    """Print the percentiles in milliseconds; return whether the limits are held."""
    p50, p99, worst = np.quantile(seconds, [0.5, 0.99, 1.0])
    print(
        f"{name}: {len(seconds)} clicks  p50 {p50 * 1e3:.1f} ms  p99 {p99 * 1e3:.1f} ms  worst {worst * 1e3:.0f} ms",
        flush=True,
    )
    return bool(p99 < P99_LIMIT and worst < WORST_LIMIT)


async def click_all(url: str, bodies: Sequence[bytes], rate: float) -> list[float]:
    """Post every body at its time; return how long after that time each was answered, in seconds."""
    taken: list[float] = []
    async with httpx.AsyncClient(limits=httpx.Limits(max_connections=200), timeout=30) as client:
        begin = time.monotonic() + 0.2

        async def one(n: int, body: bytes) -> None:
            due = begin + n / rate
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            answer = await client.post(url, content=body, headers=signed(body))
            assert answer.status_code == 200, answer.text
            taken.append(time.monotonic() - due)

        await asyncio.gather(*(one(n, body) for n, body in enumerate(bodies)))
    return taken


def _card(outreach_id: int, version: int) -> dict[str, object]:
    """A posted card as far as a click needs it."""
    button = {"type": "button", "action_id": "outreach_approve", "value": f"{outreach_id}:{version}"}
    return {"ts": f"1795350000.{outreach_id:06d}", "blocks": [{"block_id": "decide", "elements": [button]}]}


def _bodies(cards: Sequence[tuple[int, int]]) -> list[bytes]:
    return [
        clicked(_card(*card), "outreach_approve", AGENTS[n % len(AGENTS)].id, f"{n}.{uuid.uuid4().hex}")
        for n, card in enumerate(cards)
    ]


async def _against_bare(count: int, rate: float) -> list[float]:
    port = free_port()
    process = subprocess.Popen([sys.executable, "-c", BARE, str(port), SIGNING_SECRET])
    try:
        until(lambda: _listens(port), "the bare app")
        return await click_all(f"http://127.0.0.1:{port}/slack/events", _bodies([(n, 1) for n in range(count)]), rate)
    finally:
        process.terminate()
        process.wait(10)


def _ours(folder: Path, url: str, database: Database, count: int, rate: float) -> list[float]:
    proposed = [propose(database, NOON, f"c{n}") for n in range(count)]
    port = free_port()
    peer = start_peer(folder, f"http://127.0.0.1:{port}/slack/events")
    config = folder / "config.yaml"
    settings = {
        "shop": {"timezone": "Europe/Berlin", "url": "https://shop.example"},
        "web": {"port": port},
        "slack": {"mode": "http", "review_channel": REVIEW_CHANNEL, "agents": [agent.id for agent in AGENTS]},
        "email": {"enabled": True, "from": "care@shop.example"},
        "review": {"undo_seconds": 0},
        "scheduler": {"daily_at": "23:59", "tick_seconds": 5},
        "database": {"url": url},
    }
    config.write_text(yaml.safe_dump(settings), encoding="utf-8")
    try:
        with _hanging_server() as hanging, _busy(folder, url):
            environ = environment(
                config, AFTERCARE_NOW=NOON.isoformat(), SLACK_BOT_TOKEN=BOT_TOKEN, SLACK_APP_TOKEN=APP_TOKEN,
                SLACK_SIGNING_SECRET=SIGNING_SECRET, SLACK_API_BASE_URL=peer.api_url,
                SMTP_URL=f"smtp://127.0.0.1:{hanging}", AFTERCARE_SECRET_KEY="k" * 40,
            )  # fmt: skip
            with aftercare(folder, environ, "run") as bot:
                ready = bot.ready()
                bodies = _bodies([(one.id, one.version) for one in proposed])
                taken = asyncio.run(click_all(f"{ready['web']}/slack/events", bodies, rate))
                until(lambda: _waiting(database) == 0, "every decision", 120)
    finally:
        peer.stop()
    return taken


def _waiting(database: Database) -> int:
    with database.read() as connection:
        return len(list_outreach(connection, {OutreachState.SUGGESTED}))


@contextmanager
def _database(engine: str, folder: Path) -> Iterator[tuple[str, Database]]:
    if engine == "sqlite":
        url = f"sqlite:///{folder / 'shop.db'}"
        database = open_database(url)
        migrations.upgrade(database)
        yield url, database
        database.close()
        return
    base = os.environ["AFTERCARE_TEST_POSTGRES_URL"]
    schema = f"clicks_{uuid.uuid4().hex[:12]}"
    admin = open_database(base)
    with admin.write() as connection:
        connection.exec_driver_sql(f"CREATE SCHEMA {schema}")
    url = f"{base}{'&' if '?' in base else '?'}options=-csearch_path%3D{schema}"
    database = open_database(url)
    migrations.upgrade(database)
    try:
        yield url, database
    finally:
        database.close()
        with admin.write() as connection:
            connection.exec_driver_sql(f"DROP SCHEMA {schema} CASCADE")
        admin.close()


@contextmanager
def _busy(folder: Path, url: str) -> Iterator[None]:
    """Import customers into the shop until the end of the block, twenty thousand at a time."""
    ended = threading.Event()
    config = folder / "importing.yaml"
    config.write_text(yaml.safe_dump({"database": {"url": url}}), encoding="utf-8")

    def run() -> None:
        turn = 0
        while not ended.is_set():
            own = folder / f"import{turn}"
            own.mkdir()
            file = own / "customers.jsonl"
            rows = (json.dumps({"customer_id": f"busy-{turn}-{n}", "name": f"Busy {n}"}) for n in range(20_000))
            file.write_text("\n".join(rows), encoding="utf-8")
            command = [sys.executable, "-c", "from bot.cli import main; main()", "import", str(file)]
            done = subprocess.run(
                command, env=environment(config), cwd=folder, capture_output=True, text=True, check=False
            )
            if done.returncode:
                print(f"the busy import failed: {done.stdout[-300:]} {done.stderr[-300:]}", file=sys.stderr)
                return
            turn += 1

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


class _Hanging(socketserver.StreamRequestHandler):
    """A mail server that greets, and says nothing more once somebody wants to send."""

    def handle(self) -> None:
        self.wfile.write(b"220 hanging ESMTP\r\n")
        for line in self.rfile:
            if not line.upper().startswith((b"EHLO", b"NOOP", b"RSET", b"QUIT")):
                self.server.ended.wait()  # type: ignore[attr-defined]
                return
            self.wfile.write(b"250 ok\r\n")


@contextmanager
def _hanging_server() -> Iterator[int]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Hanging) as server:
        server.daemon_threads = True
        server.ended = threading.Event()  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield int(server.server_address[1])
        server.ended.set()  # type: ignore[attr-defined]
        server.shutdown()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


if __name__ == "__main__":
    raise SystemExit(main())
