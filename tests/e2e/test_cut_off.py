"""Promise 26: a process that loses its database or its mail server says so, and recovers within a minute.

A proxy before the real server cuts every connection and refuses new ones, or lets nothing through, then mends. That a worker comes back to its
queue is told in `tests/e2e/test_workers.py`; here it is the one process, both of its peers, and the workers' mail server.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from sqlalchemy.engine import make_url

from bot.clock import ManualClock
from bot.decide.lifecycle import OutreachState
from bot.services.review.desk import ReviewDesk
from bot.settings import Settings
from bot.store.database import Database, open_database
from bot.store.outreach import Outreach, outreach
from tests.integration.shop_rows import propose
from tests.peers.mail import MailSink, mail_sink
from tests.peers.process import aftercare, environment, until
from tests.peers.proxy import Proxy, proxy_to
from tests.peers.workers import WorkersShop

pytestmark = pytest.mark.peer
S = OutreachState
NOON = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
# What was promised.
RECOVERS_WITHIN = 60.0


@pytest.fixture
def sink() -> Iterator[MailSink]:
    with mail_sink() as running:
        yield running


class Cut:
    """An installation on PostgreSQL, with a proxy before the database and one before the mail server."""

    def __init__(self, folder: Path, postgres_url: str, sink: MailSink, stack: ExitStack) -> None:
        self.folder = folder
        self.sink = sink
        there = make_url(postgres_url)
        self.to_database = stack.enter_context(proxy_to(str(there.host), there.port or 5432))
        self.to_mail = stack.enter_context(proxy_to("127.0.0.1", sink.port))
        through = there.set(host="127.0.0.1", port=self.to_database.port).render_as_string(hide_password=False)
        self.clock_file = folder / "now"
        self.clock_file.write_text(NOON.isoformat(), encoding="utf-8")
        config = {
            "web": {"port": 0},
            "email": {"enabled": True, "from": "care@shop.example"},
            "review": {"undo_seconds": 0},
            "policy": {"quiet_hours": {"start": "00:00", "end": "00:00"}},
            "scheduler": {"daily_at": "23:59", "tick_seconds": 1.0},
            "database": {"url": through},
        }
        file = folder / "config.yaml"
        file.write_text(yaml.safe_dump(config), encoding="utf-8")
        mail = f"smtp://127.0.0.1:{self.to_mail.port}"
        self.environment = environment(
            file, AFTERCARE_SECRET_KEY="k" * 40, SMTP_URL=mail, AFTERCARE_NOW=f"@{self.clock_file}"
        )
        self.database: Database = open_database(postgres_url)
        stack.callback(self.database.close)

    def approve(self, key: str) -> int:
        earlier = NOON - timedelta(minutes=5)
        one = propose(self.database, earlier, key)
        desk = ReviewDesk(self.database, ManualClock(earlier), Settings.model_validate({"review": {"undo_seconds": 0}}))
        return desk.approve(one.id, one.version, "cli:ana").id

    def see(self, outreach_id: int) -> Outreach:
        with self.database.read() as connection:
            return outreach(connection, outreach_id)


class SilentProxy(Proxy):
    """A proxy that can also hold all bytes back, as a line does that has gone dead without a word."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(host, port)
        self.flowing = threading.Event()
        self.flowing.set()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with source, contextlib.suppress(OSError):
            while data := source.recv(65536):
                self.flowing.wait()
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def cut(tmp_path: Path, postgres_url: str, sink: MailSink) -> Iterator[Cut]:
    with ExitStack() as stack:
        yield Cut(tmp_path, postgres_url, sink, stack)


def health(web: str) -> tuple[int, dict[str, Any]]:
    """Return the status of the health page, and what it says of each part."""
    answer = httpx.get(f"{web}/readyz", timeout=30)
    return answer.status_code, answer.json()["checks"]


def is_red(web: str, part: str) -> bool:
    status, checks = health(web)
    return status == 503 and checks[part]["ok"] is False


def is_green(web: str) -> bool:
    try:
        return health(web)[0] == 200
    except httpx.ReadTimeout:  # whoever asks for our health takes that for unwell
        return False


@pytest.mark.parametrize("peer", ["database", "email"])
def test_the_one_process_is_red_while_it_is_cut_off_and_recovers_within_a_minute(cut: Cut, peer: str) -> None:
    proxy: Proxy = cut.to_database if peer == "database" else cut.to_mail
    with aftercare(cut.folder, cut.environment, "run") as bot:
        web = bot.ready()["web"]
        first = cut.approve("c1")
        until(lambda: cut.see(first).state == S.SENT, "it works")
        until(lambda: is_green(web), "all is well")
        proxy.cut()
        until(lambda: is_red(web, peer), "the health page says which peer is gone", RECOVERS_WITHIN)
        assert httpx.get(f"{web}/healthz", timeout=30).status_code == 200  # it need not be started anew
        proxy.mend()
        second = cut.approve("c2")
        until(lambda: cut.see(second).state == S.SENT, "it sends again", RECOVERS_WITHIN)
        until(lambda: is_green(web), "all is well again", RECOVERS_WITHIN)
        assert bot.end() == 0
    assert len(cut.sink.keys()) == len(set(cut.sink.keys())) == 2


def test_a_database_that_falls_silent_turns_the_health_red_until_it_speaks_again(cut: Cut, postgres_url: str) -> None:
    there = make_url(postgres_url)
    silent = SilentProxy(str(there.host), there.port or 5432)
    silent.mend()
    try:
        through = there.set(host="127.0.0.1", port=silent.port).render_as_string(hide_password=False)
        cut.environment["AFTERCARE_DATABASE_URL"] = through
        with aftercare(cut.folder, cut.environment, "run") as bot:
            web = bot.ready()["web"]
            until(lambda: is_green(web), "all is well")
            silent.flowing.clear()
            assert not is_green(web)
            silent.flowing.set()
            one = cut.approve("c1")
            until(lambda: cut.see(one).state == S.SENT, "it sends again", RECOVERS_WITHIN)
            until(lambda: is_green(web), "all is well again", RECOVERS_WITHIN)
            assert bot.end() == 0
    finally:
        silent.flowing.set()
        silent.cut()
    assert cut.sink.keys() == [f"outreach:{one}:1"]


def test_what_was_due_while_the_mail_server_was_gone_leaves_once_afterwards(cut: Cut) -> None:
    with aftercare(cut.folder, cut.environment, "run") as bot:
        bot.ready()
        cut.to_mail.cut()
        one = cut.approve("c1")
        until(
            lambda: cut.see(one).attempts == 1 and cut.see(one).state == S.APPROVED, "it was tried, and will be again"
        )
        cut.to_mail.mend()
        # Past its backoff; the clock is the only thing that is waited for.
        cut.clock_file.write_text((NOON + timedelta(minutes=3)).isoformat(), encoding="utf-8")
        until(lambda: cut.see(one).state == S.SENT, "it leaves", RECOVERS_WITHIN)
        assert bot.end() == 0
    assert cut.sink.keys() == [f"outreach:{one}:2"]


def test_a_worker_cut_off_from_its_mail_server_sends_again_within_a_minute(
    tmp_path: Path, postgres_url: str, sink: MailSink
) -> None:
    with proxy_to("127.0.0.1", sink.port) as proxy:
        shop = WorkersShop(tmp_path, postgres_url, sink)
        shop.environment["SMTP_URL"] = f"smtp://127.0.0.1:{proxy.port}"
        with shop.worker() as worker:
            worker.ready()
            first = shop.approve("c1")
            until(lambda: shop.see(first).state == S.SENT, "it works")
            proxy.cut()
            missed = shop.approve("c2")
            until(lambda: shop.see(missed).attempts == 1 and shop.see(missed).state == S.APPROVED, "it was tried")
            proxy.mend()
            fresh = shop.approve("c3")
            until(lambda: shop.see(fresh).state == S.SENT, "it sends again", RECOVERS_WITHIN)
            shop.set_clock(NOON + timedelta(minutes=3))
            until(lambda: shop.see(missed).state == S.SENT, "what was missed leaves", RECOVERS_WITHIN)
            assert worker.end(10) == 0
            assert json.loads(worker.lines[0])["event"] == "ready"
        shop.database.close()
    keys = sink.keys()
    assert sorted(keys) == [f"outreach:{first}:1", f"outreach:{missed}:2", f"outreach:{fresh}:1"]


def test_the_health_page_is_red_while_no_worker_reaches_the_database(
    tmp_path: Path, postgres_url: str, sink: MailSink
) -> None:
    there = make_url(postgres_url)
    with proxy_to(str(there.host), there.port or 5432) as proxy:
        through = there.set(host="127.0.0.1", port=proxy.port).render_as_string(hide_password=False)
        shop = WorkersShop(tmp_path, postgres_url, sink, at=through)
        with shop.run("--only", "web") as bot, shop.worker() as worker:
            web = bot.ready()["web"]
            worker.ready()
            until(lambda: is_green(web), "all is well")
            proxy.cut()
            until(lambda: is_red(web, "workers"), "nobody hears of a worker", RECOVERS_WITHIN)
            proxy.mend()
            until(lambda: is_green(web), "all is well again", RECOVERS_WITHIN)
            assert worker.end(10) == 0
            assert bot.end() == 0
        shop.database.close()
