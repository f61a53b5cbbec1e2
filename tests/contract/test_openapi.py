"""Promise 30 at the web: whatever is sent to any route gets an answer that says what is wrong, and changes nothing.

The routes, their methods and parameters are those of the application's own OpenAPI, so that a new route is tried as soon
as it is there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import sqlalchemy as sa
from fastapi.openapi.utils import get_openapi
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.channels.slack.http import PATH as SLACK_PATH
from bot.clock import ManualClock
from bot.services.mail.opting_out import OptOutDesk
from bot.store.database import Database, open_database
from bot.store.migrations import upgrade
from bot.store.tables import metadata
from bot.tokens import Purpose, Signer
from bot.web.app import Check, build_app
from bot.web.mail_hook import PATH as MAIL_PATH
from bot.web.mail_hook import MailHook
from tests.integration.shop_rows import propose

NOON = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "BREW")


class Surface:
    """The whole HTTP surface over a database, and what it was made to do."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.signer = Signer("s" * 40)
        clock = ManualClock(NOON)
        self.handed: list[bytes] = []
        self.app = build_app(
            checks=lambda: [Check(name="database", ok=True, state="ok")],
            opt_out=OptOutDesk(database, clock, self.signer),
            shop_name="Tee & Tassen",
            locale="en",
            callbacks={SLACK_PATH: self._refuse},
            mail_hook=MailHook("m" * 40, self._take, clock),
        )
        self.web = TestClient(self.app, raise_server_exceptions=True)
        self.outreach = propose(database, NOON)
        described = get_openapi(title="Aftercare", version="0", routes=self.app.routes)
        self.routes = sorted((path, method.upper()) for path, item in described["paths"].items() for method in item)

    def _refuse(self, body: bytes, _headers: Mapping[str, str]) -> tuple[int, dict[str, str], str]:
        self.handed.append(body)
        return 401, {}, "not signed"

    def _take(self, content: bytes, _signature: str | None) -> bool:
        raise AssertionError("a mail was taken that nobody signed")

    def everything(self) -> dict[str, list[tuple[Any, ...]]]:
        with self.database.read() as connection:
            return {
                name: [tuple(row) for row in connection.execute(sa.select(table).order_by(table.c.id))]
                for name, table in metadata.tables.items()
            }


@pytest.fixture(scope="module")
def surface(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Surface]:
    database = open_database(f"sqlite:///{tmp_path_factory.mktemp('web') / 'aftercare.db'}")
    upgrade(database)
    yield Surface(database)
    database.close()


def test_every_route_of_the_surface_is_known_here(surface: Surface) -> None:
    assert surface.routes == [
        ("/healthz", "GET"),
        (MAIL_PATH, "POST"),
        ("/readyz", "GET"),
        (SLACK_PATH, "POST"),
        ("/u/{token}", "GET"),
        ("/u/{token}", "POST"),
    ]


TOKENS = st.one_of(
    st.text(max_size=80),
    st.from_regex(r"[a-z]{1,6}\.[0-9]{1,20}-[0-9]{1,6}-[a-z2-7]{26}", fullmatch=True),
    st.sampled_from(["", "..", "%00", "email.1", "email.99999999999999999999999-1-aaaaaaaaaaaaaaaaaaaaaaaaaa", "a" * 3000]),
)  # fmt: skip
NAMES = st.sampled_from(
    ["content-type", "content-length", "cookie", "authorization", "x-aftercare-signature", "x-aftercare-timestamp",
     "x-slack-signature", "x-slack-request-timestamp", "accept", "range", "x-forwarded-for"]
)  # fmt: skip
VALUES = st.one_of(
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60),
    st.sampled_from(
        ["message/rfc822", "application/json", "multipart/form-data", "-1", "9" * 30, "v1=" + "0" * 64, "1773144000"]
    ),
)
BODIES = st.one_of(st.binary(max_size=300), st.sampled_from([b"", b"{", b"[" * 2000, b"List-Unsubscribe=One-Click"]))


@settings(max_examples=150)
@given(data=st.data())
def test_no_input_breaks_a_route_or_changes_anything(surface: Surface, data: st.DataObject) -> None:
    path, known = data.draw(st.sampled_from(surface.routes))
    method = data.draw(st.sampled_from([known, known, known, *METHODS]))
    token = data.draw(TOKENS)
    headers = data.draw(st.dictionaries(NAMES, VALUES, max_size=4))
    headers.pop("content-length", None)  # the client's own affair; a false one is told below
    query = data.draw(st.dictionaries(st.text(max_size=10), st.text(max_size=20), max_size=2))
    before = surface.everything()
    try:
        address = httpx.URL(f"http://testserver{path.replace('{token}', quote(token, safe=''))}", params=query)
    except (httpx.InvalidURL, UnicodeEncodeError):
        return  # no client can ask for it
    answer = surface.web.request(method, str(address), content=data.draw(BODIES), headers=headers)
    assert answer.status_code < 500
    if answer.status_code >= 400 and method != "HEAD":
        assert answer.text.strip(), "an error that says nothing"
    for secret in ("s" * 40, "m" * 40, "Traceback"):
        assert secret not in answer.text
    assert surface.everything() == before


@pytest.mark.parametrize(
    ("method", "path", "headers", "status", "words"),
    [
        ("GET", "/u/nonsense", {}, 404, "incomplete or too old"),
        ("POST", "/u/nonsense", {}, 404, "incomplete or too old"),
        ("POST", MAIL_PATH, {}, 415, "message/rfc822"),
        ("POST", MAIL_PATH, {"content-type": "message/rfc822"}, 401, "signature"),
        ("POST", MAIL_PATH, {"content-type": "message/rfc822", "content-length": "9" * 18}, 413, "octets"),
        ("POST", MAIL_PATH, {"content-type": "message/rfc822", "content-length": "-1"}, 413, "octets"),
        ("POST", MAIL_PATH, {"content-type": "message/rfc822", "content-length": "٣"}, 413, "octets"),
        ("PUT", "/u/nonsense", {}, 405, "Method Not Allowed"),
        ("GET", "/no/such/page", {}, 404, "Not Found"),
        ("GET", "/docs", {}, 404, "Not Found"),
        ("GET", "/openapi.json", {}, 404, "Not Found"),
    ],
)
def test_an_error_says_what_is_wrong(
    surface: Surface, method: str, path: str, headers: dict[str, str], status: int, words: str
) -> None:
    before = surface.everything()
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    answer = surface.web.request(method, path, headers=raw, content=b"body")
    assert answer.status_code == status, answer.text
    assert words in answer.text
    assert surface.everything() == before


def test_a_body_beyond_what_a_provider_sends_is_refused_before_anybody_looks_at_it(surface: Surface) -> None:
    surface.handed.clear()
    answer = surface.web.post(SLACK_PATH, content=b"x" * (2 * 1024 * 1024 + 1))
    assert (answer.status_code, surface.handed) == (413, [])
    assert "too large" in answer.text


def test_the_sound_request_does_change_something(surface: Surface) -> None:
    """Were the surface deaf, the tests above would pass as well."""
    before = surface.everything()
    token = surface.signer.sign(Purpose.OPT_OUT, f"email.{surface.outreach.customer_id}")
    assert surface.web.get(f"/u/{token}").status_code == 200
    assert surface.everything() == before
    assert surface.web.post(f"/u/{token}").status_code == 200
    assert surface.everything() != before
