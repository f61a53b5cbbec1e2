"""What several tests of integration start: a mail server, the mail channel in both its ways, a database of their own."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator

import pytest

from bot.channels.base import Channel
from bot.channels.email import Server, SmtpEmailChannel
from bot.clock import ManualClock
from bot.store.database import open_database
from tests.conftest import NOW
from tests.contract.test_channels import identity
from tests.exchanging import ByExchange
from tests.peers import missing_peer
from tests.peers.mail import MailSink, mail_sink


@pytest.fixture
def sink() -> Iterator[MailSink]:
    with mail_sink() as running:
        yield running


@pytest.fixture(params=["waiting", "driven"])
def channel(sink: MailSink, request: pytest.FixtureRequest) -> Iterator[Channel]:
    made = SmtpEmailChannel(Server.from_url(sink.url), identity(), ManualClock(NOW))
    yield made if request.param == "waiting" else ByExchange(made)
    made.close()


@pytest.fixture
def own_postgres(postgres_url: str) -> Iterator[str]:
    """The URL of an empty database that nobody else is connected to, as backups want it."""
    if shutil.which("pg_dump") is None or shutil.which("psql") is None:
        missing_peer("no pg_dump: install PostgreSQL's client programs")
    base = postgres_url.partition("?")[0]
    name = f"t_{uuid.uuid4().hex[:12]}"
    admin = open_database(base).engine.execution_options(isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    yield f"{base.rpartition('/')[0]}/{name}"
    with admin.connect() as connection:
        connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
    admin.dispose()
