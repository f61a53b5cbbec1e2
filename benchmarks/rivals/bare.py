"""The bare rival: smtplib in eight threads, connections reused, nothing written down.

    python -m benchmarks.rivals.bare COUNT THREADS      (AFTERCARE_CONFIG and SMTP_URL name the installation)

What a script would do that does not care whether a mail is lost or sent twice. The mails are built alike.
"""

from __future__ import annotations

import smtplib
import sys
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

from benchmarks.sending.mails import Builder, Order, orders
from bot.wiring import App


def main() -> None:
    """Send the mails, and print a line when all threads are about to start."""
    count, threads = int(sys.argv[1]), int(sys.argv[2])
    app = App.from_config()
    url = app.settings.secrets.smtp_url
    assert url is not None
    parts = urlsplit(url.get_secret_value())
    builder, waiting = Builder(app), iter(orders(count))
    lock = threading.Lock()

    def work() -> None:
        with smtplib.SMTP(parts.hostname or "", parts.port or 25) as smtp:
            for order in _shared(waiting, lock):
                smtp.sendmail(builder.sender, [order.address], builder.build(order))

    running = [threading.Thread(target=work) for _ in range(threads)]
    print("ready", flush=True)
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()


def _shared(waiting: Iterator[Order], lock: threading.Lock) -> Iterator[Order]:
    """Give each thread the next mail that none has."""
    while True:
        with lock:
            order = next(waiting, None)
        if order is None:
            return
        yield order


if __name__ == "__main__":
    main()
