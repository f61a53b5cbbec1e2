"""The Celery application: one task builds one mail and hands it in; no guard against sending it twice.

Runs in the environment that `benchmarks.rivals.environments` makes, never in the project's own. Tuned in good faith:
the connection to the mail server is kept by each worker process, tasks are prefetched, results, events, remote
control, gossip and heartbeats are off; tasks are persistent, and acknowledged when done.

    python -m benchmarks.rivals.celery.tasks fill COUNT | remove
"""

from __future__ import annotations

import os
import smtplib
import sys
from dataclasses import asdict
from typing import Any
from urllib.parse import urlsplit

from celery import Celery
from celery.signals import worker_process_init

from benchmarks.sending.mails import Builder, Order, orders
from bot.wiring import App

QUEUE = os.environ["BENCH_QUEUE"]

app = Celery("benchmark", broker=os.environ["BENCH_BROKER"])
app.conf.update(
    task_default_queue=QUEUE,
    task_acks_late=True,
    task_ignore_result=True,
    worker_prefetch_multiplier=int(os.environ.get("BENCH_PREFETCH", "64")),
    worker_enable_remote_control=False,
    worker_send_task_events=False,
    broker_connection_retry_on_startup=True,
    broker_heartbeat=0,
)


class _Sender:
    """What a worker process keeps between tasks."""

    def __init__(self) -> None:
        installation = App.from_config()
        url = installation.settings.secrets.smtp_url
        assert url is not None
        self._parts = urlsplit(url.get_secret_value())
        self._builder = Builder(installation)
        self._smtp: smtplib.SMTP | None = None

    def send(self, order: Order) -> None:
        if self._smtp is None:
            self._smtp = smtplib.SMTP(self._parts.hostname or "", self._parts.port or 25)
        try:
            self._smtp.sendmail(self._builder.sender, [order.address], self._builder.build(order))
        except smtplib.SMTPServerDisconnected:
            self._smtp = None
            raise


_sender: _Sender | None = None


@worker_process_init.connect
def _begin(**_named: Any) -> None:
    global _sender
    _sender = _Sender()


@app.task(name="send_mail", autoretry_for=(smtplib.SMTPServerDisconnected,), max_retries=5)
def send_mail(**order: Any) -> None:
    """Build one mail and hand it in."""
    assert _sender is not None, "worker_process_init comes first"
    _sender.send(Order(**order))


def main() -> None:
    """Fill the queue, or remove it."""
    if sys.argv[1] == "fill":
        with app.producer_pool.acquire(block=True) as producer:
            for order in orders(int(sys.argv[2])):
                send_mail.apply_async(kwargs=asdict(order), producer=producer)
        return
    with app.connection_for_write() as connection, connection.channel() as channel:
        channel.queue_delete(QUEUE)
        channel.exchange_delete(QUEUE)


if __name__ == "__main__":
    main()
