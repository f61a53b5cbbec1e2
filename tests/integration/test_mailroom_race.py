"""Several processes at the same mails: each mail has one effect, and a report that races with the sender is not lost."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from bot.channels.base import Evidence, Message
from bot.decide.lifecycle import OutreachState
from bot.store.database import Database
from tests.integration.mail_world import MailWorld

S = OutreachState


@pytest.fixture
def world(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MailWorld:
    return MailWorld(database, tmp_path, monkeypatch)


def at_once(count: int, work: Callable[[int], object]) -> None:
    barrier = threading.Barrier(count)
    broken: list[BaseException] = []

    def run(number: int) -> None:
        barrier.wait()
        try:
            work(number)
        except BaseException as error:  # shown in the test's own thread
            broken.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert broken == []


def test_several_processes_work_on_the_same_mails_once_each(world: MailWorld) -> None:
    sent = [world.send(f"c{number}")[1] for number in range(8)]
    world.record(
        *(world.reply(mail, "STOP" if number % 2 else "How do I return something?") for number, mail in enumerate(sent))
    )
    rooms = [world.new_mailroom() for _ in range(4)]
    at_once(4, lambda number: rooms[number].work())
    assert sorted(str(effect) for effect in world.effects()) == ["answered"] * 4 + ["opted_out"] * 4
    assert [row.attempts for row in world.rows("mails")] == [1] * 8
    assert len(world.heard()) == len(world.said()) == 8
    assert len(world.rows("consents")) == 4


def test_one_mail_taken_by_all_of_them_has_one_effect(world: MailWorld) -> None:
    _, mail = world.send()
    world.record(world.reply(mail, "STOP"))
    rooms = [world.new_mailroom() for _ in range(4)]
    stored = rooms[0]._take()
    assert stored is not None
    read = world.mailroom._read(stored.raw or b"")
    done: list[object] = []
    at_once(4, lambda number: done.append(rooms[number]._act(stored, read)))
    assert len([one for one in done if one is not None]) == 1
    assert len(world.rows("consents")) == len(world.said()) == 1


def test_the_same_mail_recorded_by_several_at_once_is_one(world: MailWorld) -> None:
    _, mail = world.send()
    content = world.reply(mail, "STOP")
    at_once(6, lambda number: world.mailroom.take_posted(content, f"v1={number}"))
    assert len(world.rows("mails")) == 1


def test_a_bounce_that_is_faster_than_the_senders_own_record_is_not_overwritten(world: MailWorld) -> None:
    one = world.approve()
    kept = world.channel.send

    def slow(message: Message) -> Evidence:
        evidence = kept(message)
        world.arrive(world.bounce(world.sent(message.key)))  # the report is here before the sender has written anything
        return evidence

    world.channel.send = slow  # type: ignore[method-assign]
    world.deliverer.drain()
    assert world.effects() == ["dead_address"]
    assert world.see(one).state == S.FAILED
    assert world.attempts(one) == ["failed"]


def test_a_reply_that_is_faster_than_the_senders_own_record_counts(world: MailWorld) -> None:
    one = world.approve()
    kept = world.channel.send

    def slow(message: Message) -> Evidence:
        evidence = kept(message)
        world.arrive(world.reply(world.sent(message.key), "How do I return something?"))
        return evidence

    world.channel.send = slow  # type: ignore[method-assign]
    world.deliverer.drain()
    assert world.see(one).state == S.REPLIED
    assert world.attempts(one) == ["sent"]
    assert len([row for row in world.rows("touchpoints") if row.kind == "outreach_sent"]) == 1
