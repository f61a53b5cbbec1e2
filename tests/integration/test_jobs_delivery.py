"""What a job to deliver does: everything that is due, whatever it carries; and another job where something is left."""

# ruff: noqa: F811 - fixtures are arguments of the tests

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from bot.services.delivery.stopping import Stopping
from bot.store.database import Database
from bot.tasks import cron_every
from bot.worker import BATCHES, Delivery
from tests.integration.delivery_world import Shop, talk
from tests.queue_world import jobs_in, queue, queue_url  # noqa: F401 - fixtures

peer = pytest.mark.peer
SIZE = 5


def made(queue: Database, **settings: Any) -> tuple[Shop, Delivery]:
    shop = Shop(queue, delivery={"batch_size": SIZE, **settings})
    return shop, Delivery(queue, shop.clock, shop.deliverer, {"email": shop.channel}, SIZE)


def empty(queue: Database) -> None:
    with queue.write() as connection:
        connection.exec_driver_sql("DELETE FROM procrastinate_jobs")


@peer
def test_one_job_sends_what_others_were_written_for_and_takes_them_back(queue: Database) -> None:
    shop, delivery = made(queue)
    ids = [shop.approve(f"c{number}") for number in range(4)]
    assert len(jobs_in(queue)) == 4
    delivery.deliver([ids[0]])
    assert sorted(shop.sent_keys()) == [f"outreach:{one}:1" for one in ids]
    assert jobs_in(queue) == []


@peer
def test_a_job_sends_a_few_batches_and_leaves_another_job_for_the_rest(queue: Database) -> None:
    shop, delivery = made(queue)
    for number in range(SIZE * BATCHES + 3):
        shop.approve(f"c{number}")
    empty(queue)
    delivery.deliver()
    assert len(shop.sent_keys()) == SIZE * BATCHES
    (job,) = jobs_in(queue)
    assert job["seconds"] == 0
    empty(queue)
    delivery.deliver()
    assert len(shop.sent_keys()) == SIZE * BATCHES + 3
    assert jobs_in(queue) == []


@peer
def test_what_may_not_leave_yet_is_looked_at_again_a_little_later_and_not_at_once(queue: Database) -> None:
    shop, delivery = made(queue, per_second={"email": 0.01})
    for number in range(3):
        shop.approve(f"c{number}")
    empty(queue)
    delivery.deliver()  # it has sent something: another look is worth it at once
    (job,) = jobs_in(queue)
    assert job["seconds"] == 0
    while len(jobs_in(queue)) == 1 and jobs_in(queue)[0]["seconds"] == 0:
        empty(queue)
        delivery.deliver()
    assert len(shop.sent_keys()) < 3
    (job,) = jobs_in(queue)
    assert 0 < job["seconds"] <= 1


@peer
def test_while_all_is_stopped_a_job_ends_and_leaves_none(queue: Database) -> None:
    shop, delivery = made(queue)
    shop.approve()
    Stopping(queue, shop.clock).stop("cli:ana")
    delivery.deliver()
    assert not delivery.sweep()
    assert shop.sent_keys() == []
    assert jobs_in(queue) == []
    Stopping(queue, shop.clock).resume("cli:ana")
    assert delivery.sweep()
    delivery.deliver()
    assert len(shop.sent_keys()) == 1


@peer
def test_a_job_that_comes_a_moment_early_comes_again(queue: Database) -> None:
    shop, delivery = made(queue)
    one = shop.approve(not_before=shop.clock.now() + timedelta(seconds=1))
    empty(queue)
    delivery.deliver([one])
    (job,) = jobs_in(queue)
    assert 0 < job["seconds"] <= 1
    shop.clock.advance(timedelta(seconds=1))
    delivery.deliver([one])
    assert shop.sent_keys() == [f"outreach:{one}:1"]


@peer
def test_an_answer_leaves_by_its_id_and_those_behind_it_follow(queue: Database) -> None:
    shop, delivery = made(queue)
    first, second = talk(shop, "We are looking.", "It is found.")
    delivery.deliver(utterances=[first])
    assert shop.sent_keys() == [f"utterance:{first}:1", f"utterance:{second}:1"]


@peer
def test_a_look_sends_what_became_due_while_nobody_looked(queue: Database) -> None:
    shop, delivery = made(queue)
    shop.approve()
    empty(queue)
    delivery.look()
    assert len(shop.sent_keys()) == 1


@pytest.mark.parametrize(
    ("seconds", "cron"),
    [
        (0.1, "* * * * * */1"),
        (5.0, "* * * * * */5"),
        (59.0, "* * * * * */59"),
        (90.0, "*/2 * * * * 0"),
        (3600.0, "0 * * * * 0"),
    ],
)
def test_ticks_become_cron_expressions(seconds: float, cron: str) -> None:
    assert cron_every(seconds) == cron
