"""Consent that the shop hands over with its touchpoints: a yes, a no, and channels as people write them."""

from __future__ import annotations

import pytest

from bot.clock import ManualClock
from bot.config import Settings
from bot.services.importing.importer import Importer
from bot.store.consent import consent_of
from bot.store.database import Database
from bot.store.enums import Entity
from bot.store.shop import customer_by_key


@pytest.fixture
def importer(database: Database, clock: ManualClock) -> Importer:
    importer = Importer(database, clock, Settings())
    importer.import_rows(Entity.CUSTOMERS, [{"customer_id": "c1", "email": "ann@example.org"}])
    return importer


def say(importer: Importer, *said: tuple[str, str, str | None]) -> None:
    rows = [
        {"touchpoint_id": f"{kind}:{day}", "customer_id": "c1", "kind": kind, "occurred_at": day, "channel": channel}
        for kind, day, channel in said
    ]
    report, refusals = importer.import_rows(Entity.TOUCHPOINTS, rows)
    assert (report.new, refusals) == (len(said), [])


def consents(database: Database) -> dict[str, bool | None]:
    with database.read() as connection:
        person = customer_by_key(connection, "c1")
        assert person is not None
        return {one: consent_of(connection, [person.id], one)[person.id] for one in ("email", "slack")}


@pytest.mark.parametrize("channel", ["email", "Email", " E-Mail ", "mail"])
def test_an_opt_out_counts_however_its_channel_is_written(importer: Importer, database: Database, channel: str) -> None:
    say(importer, ("opt_out", "2026-01-20", channel))
    assert consents(database) == {"email": False, "slack": None}


def test_an_opt_in_is_a_yes_on_its_channel_and_no_more(importer: Importer, database: Database) -> None:
    say(importer, ("opt_in", "2026-01-20", "email"))
    assert consents(database) == {"email": True, "slack": None}


def test_an_opt_in_that_names_no_channel_allows_none(importer: Importer, database: Database) -> None:
    say(importer, ("opt_in", "2026-01-20", None))
    assert consents(database) == {"email": None, "slack": None}


def test_the_later_word_counts_in_whatever_order_they_come(importer: Importer, database: Database) -> None:
    say(importer, ("opt_out", "2026-02-01", "email"))
    say(importer, ("opt_in", "2026-01-20", "email"))
    assert consents(database)["email"] is False
    say(importer, ("opt_in", "2026-02-02", "email"))
    assert consents(database)["email"] is True
