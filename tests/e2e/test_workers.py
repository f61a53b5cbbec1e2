"""`aftercare worker` as real processes: everything once, through kill -9, a lost database and two of everything."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from sqlalchemy.engine import make_url

from bot.decide.lifecycle import OutreachState
from tests.peers.mail import MailSink, mail_sink
from tests.peers.process import until
from tests.peers.proxy import proxy_to
from tests.peers.workers import NOON, WorkersShop

pytestmark = pytest.mark.peer
S = OutreachState


@pytest.fixture
def sink() -> Iterator[MailSink]:
    with mail_sink() as running:
        yield running


@pytest.fixture
def shop(tmp_path: Path, postgres_url: str, sink: MailSink) -> Iterator[WorkersShop]:
    made = WorkersShop(tmp_path, postgres_url, sink)
    yield made
    made.database.close()


def test_a_worker_sends_what_is_approved_beside_a_bot_that_sends_nothing(shop: WorkersShop) -> None:
    with shop.run("--only", "web,scheduler,delivery") as bot:
        web = bot.ready()["web"]
        one = shop.approve()
        unwell = httpx.get(f"{web}/readyz")
        assert unwell.status_code == 503
        assert unwell.json()["checks"]["workers"]["state"] == "none"
        assert shop.see(one).state == S.APPROVED
        with shop.worker() as worker:
            ready = worker.ready()
            assert ready == {"event": "ready", "worker": ready["worker"], "queues": ["deliver", "ticks", "work"]}
            until(lambda: shop.see(one).state == S.SENT, "what waited is sent")
            other = shop.approve("c2")
            until(lambda: shop.see(other).state == S.SENT, "what is approved now is sent")
            until(lambda: httpx.get(f"{web}/readyz").status_code == 200, "the bot sees the worker")
            assert worker.end(10) == 0
            assert worker.lines == [json.dumps(ready)]
        assert bot.end() == 0
    assert shop.sink.keys() == [f"outreach:{one}:1", f"outreach:{other}:1"]
    assert shop.ask("SELECT count(*) FROM procrastinate_workers") == [(0,)]
    assert shop.ask("SELECT count(*) FROM procrastinate_jobs WHERE status NOT IN ('todo')") == [(0,)]


def test_of_two_workers_one_is_killed_and_everything_is_sent_once_or_in_doubt(shop: WorkersShop) -> None:
    ids = shop.approve_many(300)
    with shop.worker() as first, shop.worker() as second:
        first.ready()
        until(lambda: len(shop.sink.accepted) >= 40, "mails leave")
        first.kill()
        second.ready()
        until(lambda: set(shop.states()) <= {"sent", "uncertain"}, "all is sent or in doubt", 90)
        assert second.end(10) == 0
    keys = shop.sink.keys()
    assert len(keys) == len(set(keys))
    states = shop.states()
    assert sum(states.values()) == len(ids)
    assert states.get("uncertain", 0) <= 8  # one worker's connections
    sent = {f"outreach:{one}:1" for one in ids if shop.see(one).state == S.SENT}
    assert sent <= set(keys)


def test_the_job_of_a_killed_worker_is_given_to_another_and_none_stays(shop: WorkersShop) -> None:
    one = shop.approve()
    with shop.database.write() as connection:  # as a worker leaves it that died with the job in its hands
        connection.exec_driver_sql("INSERT INTO procrastinate_workers (last_heartbeat) VALUES (now() - interval '1 hour')")  # fmt: skip
        connection.exec_driver_sql("UPDATE procrastinate_jobs SET status = 'doing', worker_id = (SELECT max(id) FROM procrastinate_workers)")  # fmt: skip
    with shop.worker() as worker:
        worker.ready()
        until(lambda: shop.see(one).state == S.SENT, "the check-in is sent")
        until(lambda: shop.ask("SELECT 1 FROM procrastinate_jobs WHERE queue_name = 'deliver'") == [], "no job is left")
        assert worker.end(10) == 0


def test_time_that_is_moved_finds_what_became_due(shop: WorkersShop) -> None:
    one = shop.approve(not_before=NOON + timedelta(hours=3))
    with shop.worker() as worker:
        worker.ready()
        assert shop.see(one).state == S.APPROVED
        shop.set_clock(NOON + timedelta(hours=3))
        until(lambda: shop.see(one).state == S.SENT, "the sweep finds it")
        assert worker.end(10) == 0


def test_ending_while_a_send_hangs_is_in_time_and_leaves_it_uncertain(shop: WorkersShop, sink: MailSink) -> None:
    one = shop.approve()
    sink.hold = threading.Event()
    with shop.worker() as worker:
        worker.ready()
        until(lambda: sink.accepted, "the server has the mail and has not replied")
        assert worker.end(10) == 0
    assert shop.see(one).state == S.UNCERTAIN
    assert len(sink.accepted) == 1


def test_two_workers_do_the_daily_round_and_each_tick_once(tmp_path: Path, postgres_url: str, sink: MailSink) -> None:
    shop = WorkersShop(tmp_path, postgres_url, sink, scheduler={"daily_at": "08:00", "tick_seconds": 1.0})
    with shop.worker() as first, shop.worker() as second:
        first.ready()
        second.ready()
        rounds = "SELECT key, state FROM runs WHERE job = 'daily' ORDER BY key"
        until(lambda: shop.ask(rounds) == [("2026-03-10", "done")], "the round of the day")
        shop.set_clock(NOON + timedelta(days=1))
        until(lambda: shop.ask(rounds) == [("2026-03-10", "done"), ("2026-03-11", "done")], "that of the next")
        assert first.end(10) == second.end(10) == 0
    started = [line for log in tmp_path.glob("log-*") for line in log.read_text().splitlines() if "daily_round_started" in line]  # fmt: skip
    assert len(started) == 2
    shop.database.close()


def test_a_worker_whose_sessions_are_ended_comes_back_by_itself(
    tmp_path: Path, postgres_url: str, sink: MailSink
) -> None:
    name = f"worker-{uuid.uuid4().hex[:8]}"
    shop = WorkersShop(tmp_path, postgres_url, sink, at=f"{postgres_url}&application_name={name}")
    with shop.worker() as worker:
        worker.ready()
        one = shop.approve()
        until(lambda: shop.see(one).state == S.SENT, "it works")
        ended = shop.ask(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '{name}'")
        assert len(ended) > 3
        other = shop.approve("c2")
        until(lambda: shop.see(other).state == S.SENT, "it works again", 60)
        assert worker.end(10) == 0
    shop.database.close()


def test_a_worker_that_lost_its_database_does_not_spin_and_comes_back(
    tmp_path: Path, postgres_url: str, sink: MailSink
) -> None:
    there = make_url(postgres_url)
    with proxy_to(str(there.host), there.port or 5432) as proxy:
        through = there.set(host="127.0.0.1", port=proxy.port).render_as_string(hide_password=False)
        shop = WorkersShop(tmp_path, postgres_url, sink, at=through)
        with shop.worker() as worker:
            worker.ready()
            proxy.cut()
            one = shop.approve()
            until(lambda: worker.log.read_text().count('"lane_lost"') >= 3, "every lane says so", 60)
            proxy.tries = 0
            proxy.mend()
            until(lambda: shop.see(one).state == S.SENT, "it works again", 60)
            assert proxy.tries < 100
            assert worker.log.read_text().count('"lane_lost"') < 100
            assert worker.end(10) == 0
        shop.database.close()
