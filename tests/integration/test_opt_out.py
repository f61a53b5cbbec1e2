"""Ending contact by a link: looking changes nothing, one POST does, and open check-ins are taken back."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient

from bot.clock import ManualClock
from bot.config import Settings
from bot.decide.lifecycle import OutreachState
from bot.services.mail.opting_out import OptOutDesk
from bot.services.review.desk import ReviewDesk
from bot.store import audit
from bot.store.consent import consent_of, is_suppressed
from bot.store.database import Database
from bot.store.outreach import list_outreach
from bot.store.tables import consents, metadata
from bot.tokens import Purpose, Signer
from bot.web.app import Check, build_app
from tests.integration.shop_rows import propose

NOON = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)


class Visit:
    def __init__(self, database: Database) -> None:
        self.database = database
        self.clock = ManualClock(NOON)
        self.signer = Signer("secret")
        self.checks = [Check(name="database", ok=True, state="ok")]
        desk = OptOutDesk(database, self.clock, self.signer)
        self.web = TestClient(
            build_app(checks=lambda: self.checks, opt_out=desk, shop_name="Tee & Tassen <Ltd>", locale="en")
        )
        self.outreach = propose(database, NOON)

    def path(self, channel: str = "email") -> str:
        return f"/u/{self.signer.sign(Purpose.OPT_OUT, f'{channel}.{self.outreach.customer_id}')}"

    def everything(self) -> dict[str, list[object]]:
        with self.database.read() as connection:
            return {
                name: [tuple(row) for row in connection.execute(sa.select(table).order_by(table.c.id))]
                for name, table in metadata.tables.items()
            }


@pytest.fixture
def visit(database: Database) -> Visit:
    return Visit(database)


def test_looking_at_the_link_changes_nothing(visit: Visit) -> None:
    before = visit.everything()
    page = visit.web.get(visit.path())
    assert page.status_code == 200
    assert '<form method="post">' in page.text
    assert "Tee &amp; Tassen &lt;Ltd&gt;" in page.text
    assert "cookie" not in {header.lower() for header in page.headers}
    visit.web.head(visit.path())
    assert visit.everything() == before


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("List-Unsubscribe=One-Click", "application/x-www-form-urlencoded"),
        ("", "application/x-www-form-urlencoded"),
        ('--b\r\nContent-Disposition: form-data; name="List-Unsubscribe"\r\n\r\nOne-Click\r\n--b--\r\n', "multipart/form-data; boundary=b"),
        ("\x00 anything", "text/weird"),
    ],
)  # fmt: skip
def test_one_post_ends_contact_and_takes_back_what_is_open(visit: Visit, body: str, kind: str) -> None:
    other = propose(visit.database, NOON, "c2")
    review = ReviewDesk(visit.database, visit.clock, Settings())
    review.approve(visit.outreach.id, visit.outreach.version, "cli:ana")
    page = visit.web.post(visit.path(), content=body, headers={"Content-Type": kind})
    assert page.status_code == 200
    assert "<form" not in page.text
    with visit.database.read() as connection:
        customer_id = visit.outreach.customer_id
        assert consent_of(connection, [customer_id], "email") == {customer_id: False}
        assert consent_of(connection, [customer_id], "slack") == {customer_id: None}
        assert is_suppressed(connection, "email", ["c1@mail.example", "c2@mail.example"]) == {"c1@mail.example"}
        states = {one.id: (one.state, one.refusal) for one in list_outreach(connection)}
        assert audit.verify(connection) == []
    assert states[visit.outreach.id] == (OutreachState.SUPPRESSED, "consent_refused")
    assert states[other.id] == (OutreachState.SUGGESTED, None)


def test_a_second_post_confirms_and_writes_nothing(visit: Visit) -> None:
    visit.web.post(visit.path())
    before = visit.everything()
    assert visit.web.post(visit.path()).status_code == 200
    assert visit.everything() == before
    with visit.database.read() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(consents)).scalar_one() == 1


def test_a_forged_or_foreign_link_is_refused_and_explained(visit: Visit) -> None:
    before = visit.everything()
    good = visit.path()
    forged = Signer("other").sign(Purpose.OPT_OUT, f"email.{visit.outreach.customer_id}")
    reply = visit.signer.sign(Purpose.REPLY, f"email.{visit.outreach.customer_id}")
    gone = visit.signer.sign(Purpose.OPT_OUT, "email.999999")
    odd = visit.signer.sign(Purpose.OPT_OUT, "email")
    for path in (good[:-1], f"/u/{forged}", f"/u/{reply}", f"/u/{gone}", f"/u/{odd}", "/u/x", "/u/%0d%0aX:%20y"):
        for page in (visit.web.get(path), visit.web.post(path)):
            assert page.status_code == 404
            assert "does not work" in page.text
    assert visit.everything() == before


def test_the_page_speaks_the_customers_language(visit: Visit) -> None:
    with visit.database.write() as connection:
        connection.execute(sa.update(metadata.tables["customers"]).values(locale="de_AT"))
    page = visit.web.get(visit.path())
    assert '<html lang="de">' in page.text
    assert re.search("Keine Nachfragen", page.text)


def test_readyz_names_each_part_and_is_503_when_one_is_not_well(visit: Visit) -> None:
    assert visit.web.get("/healthz").json() == {"status": "alive"}
    assert visit.web.get("/readyz").status_code == 200
    visit.checks.append(Check(name="email", ok=False, state="disconnected", detail="check SMTP_URL"))
    answer = visit.web.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["checks"]["database"] == {"ok": True, "state": "ok"}
    assert answer.json()["checks"]["email"] == {"ok": False, "state": "disconnected", "detail": "check SMTP_URL"}
