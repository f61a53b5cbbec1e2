"""Promise 17: a scanner that fetches every link of every mail changes nothing; the one-click POST ends contact."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from html import unescape
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
import sqlalchemy as sa
import yaml

from bot.clock import ManualClock
from bot.decide.lifecycle import OutreachState
from bot.services.review.desk import ReviewDesk
from bot.settings import Settings
from bot.store import migrations
from bot.store.consent import consent_of
from bot.store.database import Database
from bot.store.outreach import outreach
from bot.store.tables import metadata
from tests.integration.shop_rows import propose
from tests.peers import free_port
from tests.peers.mail import MailSink, mail_sink
from tests.peers.process import Aftercare, aftercare, environment

NOON = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
SHOP = "https://shop.example"
NAMESPACE = "http://www.w3.org/1999/xhtml"  # named in the mail's HTML; no browser fetches it
LINK = re.compile(r"""https?://[^\s"'<>)\]]+""")


class Installation:
    """A folder with a configuration and a database; its web server is where its mails say."""

    def __init__(self, folder: Path, database: Database, sink: MailSink) -> None:
        self.folder = folder
        self.database = database
        self.port = free_port()
        self.base = f"http://127.0.0.1:{self.port}"
        config = {
            "shop": {"name": "Tee & Tassen", "url": SHOP},
            "web": {"port": self.port, "base_url": self.base},
            "email": {"enabled": True, "from": "care@shop.example"},
            "policy": {"quiet_hours": {"start": "00:00", "end": "00:00"}},
            "database": {"url": database.engine.url.render_as_string(hide_password=False)},
        }
        file = folder / "config.yaml"
        file.write_text(yaml.safe_dump(config), encoding="utf-8")
        self.environment = environment(
            file, AFTERCARE_SECRET_KEY="k" * 40, SMTP_URL=sink.url, AFTERCARE_NOW=NOON.isoformat()
        )

    def run(self, *arguments: str) -> AbstractContextManager[Aftercare]:
        return aftercare(self.folder, self.environment, "run", *arguments)

    def approve(self, key: str, **columns: object) -> int:
        before = NOON - timedelta(minutes=5)
        one = propose(self.database, before, key, **columns)
        desk = ReviewDesk(self.database, ManualClock(before), Settings.model_validate({"review": {"undo_seconds": 0}}))
        return desk.approve(one.id, one.version, "cli:ana").id

    def everything(self) -> dict[str, list[tuple[object, ...]]]:
        with self.database.read() as connection:
            return {
                name: [tuple(row) for row in connection.execute(sa.select(table).order_by(table.c.id))]
                for name, table in metadata.tables.items()
            }


@pytest.fixture
def sink() -> Iterator[MailSink]:
    with mail_sink() as running:
        yield running


@pytest.fixture
def shop(tmp_path: Path, database: Database, sink: MailSink) -> Installation:
    migrations.upgrade(database)
    return Installation(tmp_path, database, sink)


def links_of(mail: EmailMessage) -> set[str]:
    """Find every link of a mail, as a scanner does: in all headers and in all parts."""
    texts = [str(value) for value in mail.values()]
    for part in mail.walk():
        if part.get_content_maintype() == "text":
            content = str(part.get_content())  # type: ignore[attr-defined]
            texts += [content, unescape(content)]
    return {found.rstrip(".,") for text in texts for found in LINK.findall(text)}


def test_a_scanner_changes_nothing_and_the_one_click_post_ends_contact(shop: Installation, sink: MailSink) -> None:
    ids = [
        shop.approve("c1"),
        shop.approve("c2", locale="de", draft="Guten Tag, Ihr Paket ist spät."),
        shop.approve("c3", draft=f"See {SHOP}/help?a=1&b=2 or [our page]({SHOP}/faq)."),
    ]
    with shop.run("--once", "deliver") as once:
        assert once.process.wait(60) == 0
    assert len(sink.accepted) == len(ids)
    mails = {str(accepted.mail["X-Aftercare-Key"]): accepted.mail for accepted in sink.accepted}
    found = {key: links_of(mail) for key, mail in mails.items()}
    ours = {key: {link for link in links if link.startswith(shop.base)} for key, links in found.items()}
    # Every mail has its own link to our pages, in a header and in both parts; whatever else there is leads to the shop.
    for key, links in found.items():
        assert ours[key], key
        assert all(link.startswith((shop.base, SHOP, NAMESPACE)) for link in links), links
        for part in mails[key].walk():
            if part.get_content_maintype() == "text":
                assert shop.base in part.get_content()  # type: ignore[attr-defined]
    with shop.run("--only", "web") as bot:
        bot.ready()
        before = shop.everything()
        with httpx.Client(follow_redirects=True, timeout=30) as scanner:
            for link in sorted(set().union(*ours.values())):
                for variant in (link, f"{link}/", f"{link}?utm_source=scan", link.upper().replace("HTTP", "http")):
                    for method in ("GET", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH"):
                        answer = scanner.request(method, variant, headers={"User-Agent": "Scanner/1.0"})
                        assert answer.status_code < 500
                assert scanner.get(link).status_code == 200
            assert not scanner.cookies
        assert shop.everything() == before

        # RFC 8058: no cookie, no login, no redirect, the body that the header names.
        header = str(mails[f"outreach:{ids[0]}:1"]["List-Unsubscribe"])
        (link,) = re.findall(r"<(https?://[^>]+)>", header)
        assert str(mails[f"outreach:{ids[0]}:1"]["List-Unsubscribe-Post"]) == "List-Unsubscribe=One-Click"
        done = httpx.post(link, data={"List-Unsubscribe": "One-Click"}, timeout=30)
        assert done.status_code == 200
        assert "set-cookie" not in done.headers
        assert urlsplit(link).path.startswith("/u/")
        assert bot.end() == 0
    with shop.database.read() as connection:
        sent = [outreach(connection, one) for one in ids]
        consent = consent_of(connection, [one.customer_id for one in sent], "email")
    assert {one.state for one in sent} == {OutreachState.SENT}
    assert [consent.get(one.customer_id) for one in sent] == [False, None, None]
