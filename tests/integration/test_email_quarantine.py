"""Mails that were set aside: listed, shown and worked on again from the command line."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bot.cli import run
from bot.errors import NotFound, Refused
from bot.services.mail.quarantine import Quarantine
from bot.store.database import Database, open_database
from bot.store.mails import MAX_OCTETS, Fetched, Position
from bot.store.migrations import upgrade
from tests.integration.mail_world import MailWorld


class Mended:
    """A fault in the reading that is there, and then no more."""

    broken = True


@pytest.fixture
def world(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MailWorld:
    return MailWorld(database, tmp_path, monkeypatch)


def set_aside(world: MailWorld, content: bytes, octets: int | None = None, error: str | None = None) -> None:
    fetched = Fetched(content=content, octets=octets or len(content), error=error)
    world.mailroom.take_in("INBOX", [fetched], Position(uid_validity=1, last_uid=1))


def test_a_mail_whose_reading_broke_has_its_effect_after_a_retry_and_once(world: MailWorld) -> None:
    _, mail = world.send()
    whole, fault = world.new_mailroom(), Mended()

    def read(content: bytes) -> Any:
        if fault.broken:
            raise ZeroDivisionError
        return whole._read(content)

    world.mailroom = world.new_mailroom(read=read)
    set_aside(world, world.reply(mail, "STOP"))
    assert world.mailroom.work().quarantined == 1
    desk = Quarantine(world.database, world.clock)
    count, (one,) = desk.listing(10)
    assert (count, one.complete, one.error) == (1, True, "the reading broke: ZeroDivisionError")
    fault.broken = False
    desk.retry(one.id, "cli:ana")
    assert world.mailroom.work().done == 1
    assert world.effects() == ["opted_out"]
    assert desk.listing(10) == (0, [])
    with pytest.raises(NotFound, match="email list"):
        desk.retry(one.id, "cli:ana")
    assert [row.action for row in world.rows("audit") if row.entity == "mail"] == ["mail.retried"]


def test_a_mail_that_is_broken_still_is_set_aside_again(world: MailWorld) -> None:
    set_aside(world, b"")
    world.mailroom.work()
    desk = Quarantine(world.database, world.clock)
    (before,) = desk.listing(10)[1]
    desk.retry(before.id, "cli:ana")
    assert world.mailroom.work().quarantined == 1
    assert [one.error for one in desk.listing(10)[1]] == [before.error]


def test_what_is_kept_in_part_only_is_not_tried_again(world: MailWorld) -> None:
    set_aside(world, b"From: ana@b.example\n\n" + b"x" * 100_000, octets=MAX_OCTETS + 1)
    set_aside(world, b"UIDVALIDITY 1, UID 2", octets=5_000, error="the mail server does not give it out")
    set_aside(world, b"")
    world.mailroom.work()
    world.clock.advance(timedelta(days=world.settings.email.keep_raw_days + 1))
    desk = Quarantine(world.database, world.clock)
    assert [one.complete for one in desk.listing(10)[1]] == [True, False, False]
    for one in desk.listing(10)[1][1:]:
        with pytest.raises(Refused, match="from the mailbox"):
            desk.retry(one.id, "cli:ana")
    (whole, *_), forgotten = desk.listing(10)[1], world.mailroom.forget()
    assert (forgotten, desk.listing(10)) == (3, (0, []))
    with pytest.raises(Refused, match="from the mailbox"):
        desk.retry(whole.id, "cli:ana")


def test_the_commands_list_show_and_retry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AFTERCARE_CONFIG", raising=False)
    (tmp_path / "config.yaml").write_text("database:\n  url: sqlite:///shop.db\n", "utf-8")
    database = open_database("sqlite:///shop.db", home=tmp_path)
    upgrade(database)
    world = MailWorld(database, tmp_path, monkeypatch)
    content = b"Subject: \x1b[2Jgone\r\n" + b"\x00" * 20
    set_aside(world, content, error="it cannot be read")
    database.close()
    capsysbinary.readouterr()

    def said(*words: str, status: int = 0) -> bytes:
        assert run(["email", *words]) == status
        return capsysbinary.readouterr().out

    assert json.loads(said("list", "--json"))["error"] == "it cannot be read"
    assert b"Mails set aside: 1" in said("list")
    assert b"\x1b" not in said("show", "1")
    assert json.loads(said("show", "1", "--json"))["begins"].startswith("Subject: ")
    assert said("show", "1", "--raw") == content
    said("show", "2", status=2)
    said("retry", status=2)
    said("retry", "1", "--all", status=2)
    assert b"waits again" in said("retry", "--all")
    said("retry", "1", status=2)
    assert said("list", "--json") == b""
