"""Jobs of the workers: enqueued with the change itself, by ids alone, and made again where one was lost."""

# ruff: noqa: F811 - fixtures are arguments of the tests

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from bot.clock import ManualClock
from bot.config import Settings
from bot.decide.lifecycle import OutreachState
from bot.errors import StoreError
from bot.services.review.desk import ReviewDesk
from bot.store.controls import STOPPED, set_control
from bot.store.conversations import add_outbound
from bot.store.database import Database, open_database
from bot.store.delivery import settle
from bot.store.enums import Author
from bot.store.jobs import DELIVER, NewJob, attach_jobs, enqueue, wake_utterance
from bot.store.outreach import change_state, outreach, revise
from bot.store.queue_schema import QueueSchema, install_queue, queue_version
from bot.store.sweeping import call_again, drop_jobs, due_count, soon_due, sweep, waiting_jobs, workers_state
from bot.store.tables import metadata
from bot.tasks import queue_schema
from tests.integration.delivery_world import Shop, talk
from tests.integration.shop_rows import propose
from tests.queue_world import NOON, jobs_in, queue, queue_url  # noqa: F401 - fixtures

pytestmark = pytest.mark.peer
S = OutreachState


def desk(database: Database, undo_seconds: int = 0) -> ReviewDesk:
    settings = Settings.model_validate({"review": {"undo_seconds": undo_seconds}})
    return ReviewDesk(database, ManualClock(NOON), settings)


def ids(job: dict[str, Any]) -> list[int]:
    return list(job["args"]["outreaches"])


def test_an_approval_leaves_one_job_with_its_id_and_no_lock(queue: Database) -> None:
    one = propose(queue, NOON)
    assert jobs_in(queue) == []
    desk(queue).approve(one.id, one.version, "cli:ana")
    (job,) = jobs_in(queue)
    assert (job["queue_name"], job["args"], job["lock"], job["seconds"]) == (
        "deliver",
        {"outreaches": [one.id]},
        None,
        0.0,
    )


def test_a_rollback_leaves_no_job_and_the_next_commit_carries_none_of_it(queue: Database) -> None:
    one, other = propose(queue, NOON), propose(queue, NOON, "c2")
    with queue.write() as connection:
        assert change_state(connection, one.id, one.version, [S.SUGGESTED], S.APPROVED, NOON)
        connection.rollback()
    assert jobs_in(queue) == []
    desk(queue).approve(other.id, other.version, "cli:ana")
    assert [ids(job) for job in jobs_in(queue)] == [[other.id]]


def test_a_queue_that_cannot_be_written_takes_the_approval_back(queue: Database) -> None:
    one = propose(queue, NOON)
    with queue.write() as connection:
        connection.exec_driver_sql("ALTER TABLE procrastinate_jobs RENAME TO gone")
    with pytest.raises(sa.exc.DBAPIError):
        desk(queue).approve(one.id, one.version, "cli:ana")
    with queue.read() as connection:
        assert outreach(connection, one.id).state == S.SUGGESTED


def test_the_undo_window_delays_the_job_by_the_time_left_whatever_our_clock_says(queue: Database) -> None:
    one = propose(queue, NOON)  # our clock is months away from the database's
    desk(queue, undo_seconds=30).approve(one.id, one.version, "cli:ana")
    (job,) = jobs_in(queue)
    assert 20 < job["seconds"] <= 30


def test_approvals_in_bulk_make_a_job_a_batch(queue: Database) -> None:
    proposed = [propose(queue, NOON, f"c{number}") for number in range(12)]
    with queue.write() as connection:
        for one in proposed:
            assert change_state(connection, one.id, one.version, [S.SUGGESTED], S.APPROVED, NOON)
    found = [ids(job) for job in jobs_in(queue)]
    assert [len(batch) for batch in found] == [5, 5, 2]
    assert [one for batch in found for one in batch] == [one.id for one in proposed]


def test_every_way_to_approved_and_every_delay_wakes_and_nothing_else_does(queue: Database) -> None:
    one = propose(queue, NOON)

    def present() -> Any:
        with queue.read() as connection:
            return outreach(connection, one.id)

    def step(count: int, to: OutreachState, **columns: Any) -> None:
        before, seen = len(jobs_in(queue)), present()
        with queue.write() as connection:
            assert change_state(connection, one.id, seen.version, [seen.state], to, NOON, **columns)
        assert len(jobs_in(queue)) - before == count, to

    step(1, S.APPROVED)
    step(0, S.SENDING, attempts=1)
    with queue.write() as connection:
        assert settle(connection, one.id, 1, S.APPROVED, NOON, next_attempt_at=NOON + timedelta(seconds=60))
    assert 50 < jobs_in(queue)[-1]["seconds"] <= 60
    step(0, S.SENDING, attempts=2)
    step(0, S.UNCERTAIN)
    with queue.write() as connection:
        assert settle(connection, one.id, 2, S.APPROVED, NOON, reason="it had not arrived")
    assert ids(jobs_in(queue)[-1]) == [one.id]
    before = len(jobs_in(queue))
    with queue.write() as connection:
        assert revise(connection, one.id, present().version, [S.APPROVED], NOON, not_before=NOON + timedelta(hours=9))
    assert len(jobs_in(queue)) == before + 1
    assert jobs_in(queue)[-1]["seconds"] == pytest.approx(9 * 3600, abs=60)
    with queue.write() as connection:
        assert revise(connection, one.id, present().version, [S.APPROVED], NOON, claimed_by="U1")
    assert len(jobs_in(queue)) == before + 1
    step(0, S.SUPPRESSED)


def test_new_words_to_a_customer_come_first(queue: Database) -> None:
    shop = Shop(queue)
    talk(shop, "We are looking.")
    conversations = metadata.tables["conversations"]
    with queue.write() as connection:
        conversation = connection.execute(sa.select(conversations.c.id)).scalar_one()
        said = add_outbound(
            connection, conversation, external_id="out", author=Author.BOT, author_id=None, text="Here.", now=NOON
        )
    (job,) = jobs_in(queue)
    assert (job["args"], job["priority"] > 0) == ({"utterances": [said]}, True)


def test_without_workers_nothing_is_enqueued_and_no_table_is_needed(database: Database) -> None:
    one = propose(database, NOON)
    assert desk(database).approve(one.id, one.version, "cli:ana").state == S.APPROVED


def test_the_sweep_makes_one_job_for_what_is_due_and_none_while_one_waits(queue: Database) -> None:
    one = propose(queue, NOON)
    desk(queue).approve(one.id, one.version, "cli:ana")
    clear(queue)
    for expected in (True, False):
        with queue.write() as connection:
            assert sweep(connection, NOON, ["email"]) is expected
    assert len(jobs_in(queue)) == 1
    clear(queue)
    with queue.write() as connection:
        assert not sweep(connection, NOON - timedelta(seconds=1), ["email"])  # not due yet
        assert not sweep(connection, NOON, ["slack"])  # nobody here sends on its channel
        set_control(connection, STOPPED, {"why": ""}, "cli:ana", NOON)
        assert not sweep(connection, NOON, ["email"])
        assert due_count(connection, NOON, ["email"], 10) == 0


def test_the_sweep_finds_an_answer_without_a_job(queue: Database) -> None:
    talk(Shop(queue), "We are looking.")
    clear(queue)
    with queue.write() as connection:
        assert sweep(connection, NOON, ["email"])


def test_a_later_job_does_not_stand_for_one_that_is_needed_now(queue: Database) -> None:
    with queue.write() as connection:
        assert call_again(connection, timedelta(seconds=50))
        assert not call_again(connection, timedelta(seconds=60))
        assert call_again(connection, timedelta(seconds=5))
        assert call_again(connection)
        assert not call_again(connection, timedelta(seconds=1))


def test_a_job_that_starts_a_moment_early_knows_when_to_look_again(queue: Database) -> None:
    one = propose(queue, NOON, not_before=NOON + timedelta(seconds=1))
    desk(queue).approve(one.id, one.version, "cli:ana")
    with queue.read() as connection:
        assert soon_due(connection, [one.id], NOON) == timedelta(seconds=1)
        assert soon_due(connection, [one.id], NOON - timedelta(hours=1)) is None
        assert soon_due(connection, [one.id], NOON + timedelta(seconds=1)) is None
        assert soon_due(connection, [], NOON) is None


def test_jobs_that_others_have_done_are_taken_back_and_answers_and_later_ones_stay(queue: Database) -> None:
    for delay in (0, 0, 60):
        with queue.write() as connection:
            enqueue(connection, [NewJob(queue=DELIVER, task=DELIVER, delay=timedelta(seconds=delay))])
    with queue.write() as connection:
        wake_utterance(connection, 1)
    first, second, later, answer = [job["id"] for job in jobs_in(queue)]
    with queue.write() as connection:
        found = waiting_jobs(connection)
        connection.exec_driver_sql(f"UPDATE procrastinate_jobs SET status = 'doing' WHERE id = {second}")
    assert found == [first, second]
    with queue.write() as connection:
        drop_jobs(connection, found)
        drop_jobs(connection, [])
    assert [job["id"] for job in jobs_in(queue)] == [second, later, answer]


def test_the_state_of_the_workers_counts_who_lives_and_what_waits(queue: Database) -> None:
    with queue.write() as connection:
        assert workers_state(connection).alive == 0
        connection.exec_driver_sql("INSERT INTO procrastinate_workers (last_heartbeat) VALUES (now()), (now() - interval '1 hour')")  # fmt: skip
        call_again(connection)
        connection.exec_driver_sql("UPDATE procrastinate_events SET at = now() - interval '90 seconds'")
    with queue.read() as connection:
        state = workers_state(connection)
    assert (state.alive, state.failed) == (1, 0)
    assert 80 < state.waiting_seconds < 120


def test_the_tables_of_the_queue_are_installed_once_and_brought_up_step_by_step(postgres_url: str) -> None:
    schema = queue_schema()
    database = open_database(postgres_url)
    try:
        assert queue_version(database) is None
        first = QueueSchema(whole=schema.migrations[0][1], migrations=schema.migrations[:1])
        early = next(number for number, (name, _) in enumerate(schema.migrations) if name.startswith("03.02"))
        old = QueueSchema(whole="", migrations=schema.migrations[:early])
        assert install_queue(database, first, NOON)
        assert install_queue(database, old, NOON)
        assert queue_version(database) == old.version
        assert install_queue(database, schema, NOON)
        assert queue_version(database) == schema.version
        assert not install_queue(database, schema, NOON)
        with pytest.raises(StoreError, match="newer than this version"):
            install_queue(database, old, NOON)
        attach_jobs(database, 5)
        with database.write() as connection:
            assert call_again(connection)
        assert len(jobs_in(database)) == 1
    finally:
        database.close()


def test_tables_that_somebody_else_put_there_are_left_alone(postgres_url: str) -> None:
    database = open_database(postgres_url)
    try:
        with database.write() as connection:
            connection.exec_driver_sql("CREATE TABLE procrastinate_jobs (id integer)")
        with pytest.raises(StoreError, match="somebody else"):
            install_queue(database, queue_schema(), NOON)
        assert queue_version(database) is None
    finally:
        database.close()


def clear(database: Database) -> None:
    with database.write() as connection:
        connection.exec_driver_sql("DELETE FROM procrastinate_jobs")
