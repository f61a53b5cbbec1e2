"""What several tests of integration start: a mail server, and the mail channel that sends to it in both its ways."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bot.channels.base import Channel
from bot.channels.email import Server, SmtpEmailChannel
from bot.clock import ManualClock
from tests.conftest import NOW
from tests.contract.test_channels import identity
from tests.exchanging import ByExchange
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
