"""Promise 14: the rate of a channel in the log of the server that real workers send to, whatever window is looked at."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.peers.mail import mail_sink
from tests.peers.process import until
from tests.peers.sink import start_sink
from tests.peers.workers import WorkersShop

pytestmark = pytest.mark.peer
RATE = 5.0
MAILS = 40


def test_two_workers_together_keep_to_the_rate_of_the_channel(tmp_path: Path, postgres_url: str) -> None:
    with mail_sink() as unused, start_sink(tmp_path) as sink:
        shop = WorkersShop(tmp_path, postgres_url, unused, delivery={"per_second": {"email": RATE}})
        shop.environment["SMTP_URL"] = sink.url
        shop.approve_many(MAILS)
        with shop.worker() as first, shop.worker() as second:
            first.ready()
            second.ready()
            until(lambda: sink.count() >= MAILS, "all are sent", 90)
            until(lambda: shop.states() == {"sent": MAILS}, "all are written down")
            assert first.end(10) == second.end(10) == 0
        arrivals = sorted(arrival.at for arrival in sink.arrivals())
        shop.database.close()
    assert len(arrivals) == MAILS
    for begin in range(MAILS):
        for end in range(begin, MAILS):
            seconds = arrivals[end] - arrivals[begin]
            # A bucket holds a second's worth. What was taken from it in one claim may reach the server a little later,
            # on a busy machine up to a second, and so nearer to what was taken after it.
            assert end - begin + 1 <= RATE + RATE * (seconds + 1.0) + 1, (begin, end, seconds)
    # Without a bound all would arrive within a moment.
    assert arrivals[-1] - arrivals[0] >= (MAILS - 2 * RATE) / RATE * 0.8
