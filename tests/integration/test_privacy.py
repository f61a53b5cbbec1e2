"""A customer's rights: everything is given out, and a canary erased is found nowhere."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from bot.cli import run
from bot.clock import ManualClock
from bot.config import Settings
from bot.decide.lifecycle import OutreachState
from bot.errors import NotFound, Refused
from bot.services.importing.importer import Importer
from bot.services.privacy import Privacy
from bot.store import audit, consent, events
from bot.store import tables as t
from bot.store.database import Connection, Database, open_database
from bot.store.mails import MailSource, record
from bot.store.tables import metadata
from tests.conftest import NOW

CANARY = "Kanarienvogel-Zoë"
NOTHING = dict.fromkeys(
    ("locale", "timezone", "country", "region", "city", "slack_user_id", "slack_team_id", "attributes", "fingerprint"),
    "x",
)
EMAIL = "Zoe.Canary@example.org"
SLACK = "U0CANARY1"
# Words of ours, numbers of ours and names of models: nothing in them comes from or speaks of a customer.
CLOSED_WORDS = {
    "state", "kind", "direction", "author", "status", "decision", "channel", "playbook", "playbook_version", "step",
    "template", "locale", "local_date", "arm", "experiment", "salt", "moment", "stage", "model", "purpose", "entity",
    "intent", "origin", "action", "actor", "refusal", "refusals.reason",
    "autonomy", "decided_by", "claimed_by", "sending_by", "owner",  # agents and processes
    "mails.key", "mails.effect", "assignments.band",  # a digest, and ones of a few words
}  # fmt: skip
OF_NOBODY = {
    "model_versions", "articles", "article_versions", "runs", "controls", "audit", "products", "suppressions",
    "alembic_version", "playbook_versions", "patterns", "autonomy_steps", "promotions", "slack_posts", "buckets", "budgets", "mailboxes",
    "allocations", "notices",
}  # fmt: skip


def values_for(table: sa.Table, links: dict[str, int], **given: Any) -> dict[str, Any]:
    """Fill every column of a row; texts and JSON that could hold a person's words hold the canary."""
    values: dict[str, Any] = {}
    for column in table.columns:
        if column.name == "id":
            continue
        if column.name in given:
            values[column.name] = given[column.name]
        elif column.foreign_keys:
            values[column.name] = links.get(column.name)
        elif isinstance(column.type, sa.LargeBinary):
            values[column.name] = f"From: <{EMAIL.upper()}>\r\n\r\n{CANARY}".encode()
        elif isinstance(column.type, sa.JSON):
            values[column.name] = {"deep": [{"er": CANARY}]}
        elif isinstance(column.type, sa.Text):
            closed = {column.name, f"{table.name}.{column.name}"} & CLOSED_WORDS
            values[column.name] = "x" if closed else f"{CANARY} {table.name}.{column.name}"
        elif isinstance(column.type, sa.Boolean):
            values[column.name] = True
        elif isinstance(column.type, sa.Integer | sa.BigInteger | sa.Double | sa.Float):
            values[column.name] = 1
        else:
            values[column.name] = NOW
    return values


def put(connection: Connection, table: sa.Table, links: dict[str, int], **given: Any) -> int:
    statement = sa.insert(table).values(values_for(table, links, **given)).returning(table.c.id)
    return int(connection.execute(statement).scalar_one())


def fill(connection: Connection, state: OutreachState = OutreachState.APPROVED) -> dict[str, int]:
    """Make a customer with a row in every table that may be about one."""
    links: dict[str, int] = {}
    links["customer_id"] = put(
        connection, t.customers, links, source="files", email=EMAIL, slack_user_id=SLACK, external_id=f"{CANARY}-id"
    )
    links["order_id"] = put(connection, t.orders, links, source="files")
    line = put(connection, t.order_lines, links)
    put(connection, t.touchpoints, links, source="files", external_id=f"{CANARY}-touch")
    for entity, identifier in (
        ("customers", links["customer_id"]),
        ("orders", links["order_id"]),
        ("order_lines", line),
    ):
        put(connection, t.revisions, links, entity=entity, entity_id=identifier)
    links["prediction_id"] = put(connection, t.predictions, links, kind="issue")
    links["assignment_id"] = put(connection, t.assignments, links)
    as_planned = {"autonomy": "approve", "purpose": "service", "priority": "high"}
    links["outreach_id"] = put(connection, t.outreaches, links, state=state.value, **as_planned)
    put(connection, t.refusals, links, decision="refuse")
    put(connection, t.journeys, links, state="active")
    put(connection, t.decisions, links, kind="edit")
    links["conversation_id"] = put(connection, t.conversations, links, state="bot")
    utterance = put(
        connection, t.utterances, links, direction="in", author="customer", source="email", external_id="m1@mail"
    )
    put(connection, t.deliveries, {"outreach_id": links["outreach_id"]}, state="sent", key="outreach:1:1")
    put(connection, t.deliveries, {"utterance_id": utterance}, state="sent", key="utterance:1:1")
    put(connection, t.ratings, {"utterance_id": utterance})
    put(connection, t.examples, {"utterance_id": utterance}, source="rating")
    gap = put(connection, t.gap_drafts, links, state="proposed")
    put(connection, t.gap_questions, {"gap_draft_id": gap, "utterance_id": utterance})
    put(connection, t.mails, links, state="done", source="imap", key="digest-1")
    put(connection, t.handoffs, links, state="open")
    put(connection, t.outcomes, links)
    put(connection, t.consents, links)
    put(connection, t.slack_posts, links, purpose="card", subject=str(links["outreach_id"]), channel="C1", ts="1.1")
    events.record_event(connection, "slack", "E1", "message", {"event": {"user": SLACK, "text": CANARY}}, NOW)
    events.record_event(connection, "email", "m1@mail", "mail", {"text": CANARY}, NOW)
    events.record_event(connection, "web", "E2", "touchpoint", {"rows": [{"customer": f"{CANARY}-id"}]}, NOW)
    events.record_event(connection, "web", "E3", "mail", {"raw": f"From: <{EMAIL.lower()}>"}, NOW)
    return links


def found(database: Database, *needles: str) -> set[str]:
    """Search every column of every table, however it is stored."""
    places = set()
    with database.read() as connection:
        for table in metadata.sorted_tables:
            for row in connection.execute(sa.select(table)):
                for name, value in row._mapping.items():
                    plain = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
                    told = json.dumps(plain, ensure_ascii=False, default=str).casefold()
                    if any(needle.casefold() in told for needle in needles):
                        places.add(f"{table.name}.{name}")
    return places


@pytest.fixture
def privacy(database: Database, clock: ManualClock) -> Privacy:
    return Privacy(database, clock)


def test_an_erased_canary_is_found_nowhere(database: Database, privacy: Privacy, clock: ManualClock) -> None:
    with database.write() as connection:
        links = fill(connection)
        events.record_event(connection, "slack", "E9", "message", {"event": {"user": "U0OTHER", "text": "hello"}}, NOW)
    before = found(database, CANARY, EMAIL, SLACK)
    tables = {place.partition(".")[0] for place in before}
    assert tables >= {table.name for table in metadata.sorted_tables if table.name not in OF_NOBODY} - {
        "assignments",
        "examples",
        "gap_questions",
        "ratings",
    }
    clock.advance(timedelta(hours=1))
    assert privacy.erase(EMAIL, "cli:ann") == links["customer_id"]
    assert found(database, CANARY, EMAIL, SLACK, "m1@mail") == set()
    with database.read() as connection:
        assert consent.is_suppressed(connection, "email", [EMAIL.lower()])
        assert consent.is_suppressed(connection, "slack", [SLACK])
        assert audit.verify(connection) == []
        outreach = connection.execute(sa.select(t.outreaches)).one()
        assert (outreach.state, outreach.draft, outreach.assignment_id) == ("suppressed", "", links["assignment_id"])
        assert connection.execute(sa.select(t.outcomes.c.arm, t.outcomes.c.value)).one() == ("x", 1.0)
        for table in (t.orders, t.touchpoints, t.predictions, t.utterances, t.revisions):
            assert connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one() == 0
        other = events.event_of(connection, "slack", "E9")
        assert other is not None
        assert other.payload == {"event": {"user": "U0OTHER", "text": "hello"}}
    with pytest.raises(NotFound):
        privacy.erase(EMAIL, "cli:ann")


@pytest.mark.parametrize("state", [state for state in OutreachState if state is not OutreachState.SENDING])
def test_erasing_ends_an_outreach_in_any_state(
    sqlite_database: Database, clock: ManualClock, state: OutreachState
) -> None:
    with sqlite_database.write() as connection:
        fill(connection, state)
    Privacy(sqlite_database, clock).erase(EMAIL, "cli:ann")
    with sqlite_database.read() as connection:
        ended = OutreachState(connection.execute(sa.select(t.outreaches.c.state)).scalar_one())
    assert ended in {OutreachState.SUPPRESSED, OutreachState.CLOSED, OutreachState.EXPIRED, OutreachState.CANCELLED, OutreachState.REJECTED}  # fmt: skip


def test_nothing_is_erased_while_a_message_is_being_handed_over(sqlite_database: Database, clock: ManualClock) -> None:
    with sqlite_database.write() as connection:
        fill(connection, OutreachState.SENDING)
    before = found(sqlite_database, CANARY)
    with pytest.raises(Refused, match="handed over"):
        Privacy(sqlite_database, clock).erase(EMAIL, "cli:ann")
    assert found(sqlite_database, CANARY) == before


def test_mails_that_only_name_a_customer_are_erased_and_do_not_come_back(
    database: Database, clock: ManualClock, privacy: Privacy
) -> None:
    with database.write() as connection:
        fill(connection)
        raw = f"From: <{EMAIL}>\r\nMessage-ID: <m@x>\r\n\r\n{CANARY}".encode()
        common = {"source": MailSource.IMAP, "raw": raw, "octets": len(raw), "now": NOW}
        for key, error in (("unread", None), ("quarantined", "it cannot be read")):
            assert record(connection, **common, key=key, error=error) is not None
        other = {**common, "raw": b"From: <other@example.org>\r\n\r\nhello"}
        assert record(connection, **other, key="other") is not None
        # Somebody who only wrote from the customer's address, and the customer in another customer's conversation.
        begun = put(connection, t.conversations, {}, state="bot", thread="<m@x>", channel="email")
        another = put(
            connection, t.customers, {}, source="files", email="b@x.example", external_id="b", name="B", **NOTHING
        )
        theirs = put(connection, t.conversations, {"customer_id": another}, state="bot", thread="<t>", channel="email")
        for number, conversation in enumerate((begun, theirs)):
            given = {"direction": "in", "author": "customer", "author_id": EMAIL.upper(), "source": "email"}
            put(connection, t.utterances, {"conversation_id": conversation}, external_id=f"n{number}", **given)
    privacy.erase(EMAIL, "cli:ann")
    assert found(database, CANARY, EMAIL) == set()
    with database.write() as connection:
        assert record(connection, **common, key="unread") is None
        states = connection.execute(sa.select(t.mails.c.state).where(t.mails.c.key.in_(["unread", "quarantined"])))
        assert states.scalars().all() == ["done", "done"]
        assert connection.execute(sa.select(t.mails.c.raw).where(t.mails.c.key == "other")).scalar_one() is not None


def test_two_customers_of_one_shop_do_not_share_a_fate(
    database: Database, clock: ManualClock, privacy: Privacy
) -> None:
    importer = Importer(database, clock, Settings())
    people = [{"customer_id": str(n), "email": f"{n}@example.org", "name": f"Person {n}"} for n in (1, 2)]
    orders = [{"order_id": f"o{n}", "customer_id": str(n), "placed_at": "2026-01-01"} for n in (1, 2)]
    importer.import_rows("customers", people)
    importer.import_rows("orders", orders)
    with database.write() as connection:
        events.record_event(connection, "web", "E1", "order", {"customer_id": "2", "amount": "1"}, NOW)
    privacy.erase("1", "cli:ann")
    assert [order.external_id for order in privacy.journey("2").orders] == ["o2"]
    report, refused = importer.import_rows("customers", people)
    assert (report.unchanged, [(line, column) for line, column, _ in refused]) == (1, [(1, "customer_id")])
    assert "erased" in refused[0][2]
    assert importer.import_rows("orders", orders)[0].rejected == 1


def test_an_export_holds_everything(database: Database, privacy: Privacy) -> None:
    with database.write() as connection:
        fill(connection)
    everything = privacy.export(SLACK, "cli:ann")
    text = json.dumps(everything, ensure_ascii=False, default=str)
    held = {place for place in found(database, CANARY, EMAIL, SLACK) if not place.startswith("slack_posts")}
    for place in held:
        table, _, column = place.partition(".")
        assert any(CANARY in str(row[column]) or EMAIL.lower() in str(row[column]).lower() or SLACK in str(row[column])
                   for row in everything["tables"][table]), place  # fmt: skip
    assert len(everything["tables"]["events"]) == 4
    assert EMAIL in text


def test_the_commands_show_export_and_erase(
    tmp_path: Path, sqlite_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.yaml").write_text("", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    database = open_database(sqlite_url)
    importer = Importer(database, ManualClock(NOW), Settings())
    importer.import_rows("customers", [{"customer_id": "c1", "name": "Ann Lee", "email": "ann@example.org"}])
    importer.import_rows("orders", [{"order_id": "o1", "customer_id": "c1", "placed_at": "2026-01-01", "total": 5}])
    database.close()
    monkeypatch.setenv("AFTERCARE_NOW", NOW.isoformat())
    assert run(["customer", "show", "c1"]) == 0
    assert "placed" in capsys.readouterr().out
    assert run(["customer", "show", "ann@example.org", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert [point["kind"] for point in shown["touchpoints"]] == ["placed"]
    assert datetime.fromisoformat(shown["touchpoints"][0]["occurred_at"]).year == 2026
    assert run(["customer", "export", "c1", "--output", "c1.json"]) == 0
    exported = json.loads((tmp_path / "c1.json").read_text(encoding="utf-8"))
    assert exported["tables"]["orders"][0]["external_id"] == "o1"
    assert run(["customer", "export", "c1", "--output", "c1.json"]) == 2
    assert run(["customer", "show", "nobody"]) == 2
    assert run(["customer", "erase", "c1", "--yes"]) == 0
    assert run(["customer", "show", "c1"]) == 2
