"""The bot as a running process: which parts there are, when it is ready, how it is, and how it ends.

Signals, arguments and what is printed are `bot.commands.running`'s business; the parts themselves are wired in
`bot.wiring`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterator
from queue import Empty, SimpleQueue
from typing import Any

import structlog

from bot.channels.email.mailbox import Mailbox
from bot.channels.slack.connection import SlackConnection
from bot.channels.slack.http import PATH as SLACK_PATH
from bot.errors import ConfigurationError, StoreError, TransientChannelError
from bot.services.knowledge.desk import KnowledgeDesk
from bot.store.database import ping
from bot.store.delivery import held_since
from bot.store.sweeping import workers_state
from bot.web.app import Check, build_app
from bot.web.callbacks import Callback
from bot.web.server import WebServer
from bot.wiring import App
from bot.wiring.mail import build_mail_hook

__all__ = ["PARTS", "Running"]

log = structlog.get_logger()

PARTS = ("web", "slack", "scheduler", "delivery")
# The contract is ten seconds from SIGTERM to the exit, on a busy machine too: so long a send may finish, so long one
# that was cut off may be recorded, and so long Slack may end its calls; the rest is the interpreter's.
DRAIN_SECONDS = 4.0
CUT_SECONDS = 1.5
SLACK_SECONDS = 1.5
# Work that has waited for so long waits for workers that do not come.
BEHIND_SECONDS = 60.0
# How long to wait before Slack or the mail server is tried again at the start.
TRY_AGAIN_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)


class Running:
    """Some or all parts of one application, from `start` to `stop`."""

    def __init__(self, app: App, parts: Collection[str] = PARTS) -> None:
        self._app = app
        # With workers, they deliver; a second sender here would only be one more.
        self._parts = frozenset(parts) - ({"delivery"} if app.settings.delivery.by_workers else set())
        # A signal handler may interrupt the very thread that waits; a SimpleQueue stands that, an Event's lock does not.
        self._asked_to_end: SimpleQueue[None] = SimpleQueue()
        self._slack: SlackConnection | None = None
        self._web: WebServer | None = None
        self._mailbox: Mailbox | None = None
        # With workers, all that is left to tick here is showing, and only who is connected to Slack can show.
        ticks = "slack" if app.settings.delivery.by_workers else "scheduler"
        self._scheduler = app.scheduler(ticks=ticks in self._parts, delivery="delivery" in self._parts)

    def start(self) -> dict[str, Any] | None:
        """Start everything and wait until it works.

        Returns
        -------
        dict or None
            The ready line; None where `stop` came first.

        Raises
        ------
        ConfigurationError
            Something is wrong that waiting does not mend.
        """
        app = self._app
        callbacks = self._callbacks()
        ping(app.database)
        url = ""
        if "web" in self._parts:
            settings = app.settings
            content = build_app(
                checks=self.checks,
                opt_out=app.opt_out,
                shop_name=settings.shop.name,
                locale=settings.shop.locale,
                callbacks=callbacks,
                mail_hook=build_mail_hook(app),
            )
            self._web = WebServer(content, settings.web.host, settings.web.port)
            url = self._web.start()
        if "slack" in self._parts and app.slack is not None and not self._start_slack(app.slack):
            return None
        if self._scheduler.names:
            if app.settings.email.enabled:
                _ = app.mailroom  # built once, before several threads ask for it
            self._scheduler.start()
        if "scheduler" in self._parts and app.mailbox is not None:
            app.mailbox.start()
            self._mailbox = app.mailbox
        if not (self._wait_for_mail() and self._wait_for_mailbox()):
            return None
        if self._slack is not None:
            # Before the ready line: a process that ends while the encoder loads in a thread may not end in time.
            _warm(app.knowledge)
        slack, email = self._slack_state(), self._email_state()
        return {"event": "ready", "web": url, "slack": slack, "email": email}

    def checks(self) -> list[Check]:
        """Ask every part how it is; for `/readyz`."""
        found = [self._database_check()]
        states = (("slack", self._slack_state()), ("email", self._email_state()), ("mailbox", self._mailbox_state()))
        for name, state in states:
            ok = state != "disconnected"
            doctor = "slack" if name == "slack" else "email"
            found.append(Check(name=name, ok=ok, state=state, detail="" if ok else f"run `aftercare doctor {doctor}`"))
        if not self._scheduler.names:
            found.append(Check(name="scheduler", ok=True, state="off"))
        else:
            trouble = self._scheduler.trouble()
            detail = "; ".join(f"{job}: {what}" for job, what in trouble.items())
            found.append(
                Check(name="scheduler", ok=not trouble, state="trouble" if trouble else "running", detail=detail)
            )
        if self._app.settings.delivery.by_workers:
            found.append(self._workers_check())
        return found

    def stop(self) -> bool:
        """Drain and end; return False where something did not end in time and was left in doubt."""
        began = time.monotonic()
        if self._web is not None:
            self._web.begin_stop()
        self._app.deliverer.stop()
        closing = threading.Thread(target=self._stop_slack, name="slack-stop", daemon=True)
        closing.start()
        watching = threading.Thread(target=self._stop_mailbox, name="mailbox-stop", daemon=True)
        watching.start()
        if "mailroom" in vars(self._app):
            self._app.mailroom.stop()
        ended = self._scheduler.stop(DRAIN_SECONDS)
        if not ended:
            # A send that hangs is cut off, so that it ends, and is recorded, as uncertain.
            for channel in self._app.channels.values():
                channel.close()
            ended = self._scheduler.wait(CUT_SECONDS)
        closing.join(max(began + DRAIN_SECONDS - time.monotonic(), 0) + SLACK_SECONDS)
        watching.join(max(began + DRAIN_SECONDS - time.monotonic(), 0))
        if self._web is not None:
            self._web.stop()
        ended = ended and not closing.is_alive()
        log.info("stopped", seconds=round(time.monotonic() - began, 2), drained=ended)
        return ended

    def _stop_slack(self) -> None:
        if self._slack is not None:
            self._slack.stop()

    def _stop_mailbox(self) -> None:
        if self._mailbox is not None:
            # What it was fetching is fetched again at the next start, so nothing depends on its end.
            self._mailbox.stop(DRAIN_SECONDS)

    def ask_to_end(self) -> None:
        """End what waits in `start` or `wait`; safe in a signal handler."""
        self._asked_to_end.put(None)

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until asked to end; return whether that happened."""
        try:
            self._asked_to_end.get(timeout=seconds)
        except Empty:
            return False
        self._asked_to_end.put(None)  # who asks later shall see it too
        return True

    def _callbacks(self) -> dict[str, Callback]:
        """Return what providers call; over HTTP, Slack and the web server are of no use without each other."""
        if "slack" not in self._parts or self._app.settings.slack.mode != "http" or self._app.slack is None:
            return {}
        if "web" not in self._parts:
            advice = "http needs the part web in the same process; run both, or write socket"
            raise ConfigurationError([("slack.mode", advice)])
        return {SLACK_PATH: self._app.slack.handle}

    def _start_slack(self, slack: SlackConnection) -> bool:
        for wait in self._waits():
            try:
                slack.start()
            except TransientChannelError as error:
                log.warning("slack_not_reached", error=str(error), again_in=wait)
                if self.wait(wait):
                    return False
            else:
                self._slack = slack
                return True
        return False

    def _wait_for_mail(self) -> bool:
        email = self._app.email if "delivery" in self._parts else None
        if email is None:
            return not self.wait(0.001)
        for wait in self._waits():
            if email.connected():
                return True
            log.warning("mail_not_reached", again_in=wait)
            if self.wait(wait):
                return False
        return False

    def _wait_for_mailbox(self) -> bool:
        for wait in self._waits():
            if self._mailbox is None or self._mailbox.connected():
                return True
            log.info("mailbox_not_yet_watched", again_in=wait)
            if self.wait(wait):
                return False
        return False

    def _waits(self) -> Iterator[float]:
        yield from TRY_AGAIN_SECONDS
        while True:
            yield TRY_AGAIN_SECONDS[-1]

    def _database_check(self) -> Check:
        try:
            ping(self._app.database)
            with self._app.database.read() as connection:
                held = held_since(connection)
        except StoreError as error:
            return Check(name="database", ok=False, state="unreachable", detail=str(error))
        if held is not None:
            detail = "restored from a backup; what was due is held until `aftercare db release`"
            return Check(name="database", ok=True, state="held", detail=detail)
        return Check(name="database", ok=True, state="ok")

    def _workers_check(self) -> Check:
        try:
            ping(self._app.database)
            with self._app.database.read() as connection:
                state = workers_state(connection)
        except StoreError as error:
            return Check(name="workers", ok=False, state="unknown", detail=str(error))
        detail = f"failed jobs: {state.failed}" if state.failed else ""
        if not state.alive:
            return Check(name="workers", ok=False, state="none", detail="none has reported; start `aftercare worker`")
        if state.waiting_seconds > BEHIND_SECONDS:
            detail = f"a job has waited for {state.waiting_seconds:.0f} seconds; start more of `aftercare worker`"
            return Check(name="workers", ok=False, state="behind", detail=detail)
        return Check(name="workers", ok=True, state="running", detail=detail)

    def _slack_state(self) -> str:
        if "slack" not in self._parts or self._app.settings.slack.mode == "off":
            return "off"
        return "connected" if self._slack is not None and self._slack.connected() else "disconnected"

    def _mailbox_state(self) -> str:
        if "scheduler" not in self._parts or self._app.mailbox is None:
            return "off"
        return "connected" if self._mailbox is not None and self._mailbox.connected() else "disconnected"

    def _email_state(self) -> str:
        email = self._app.email if "delivery" in self._parts else None
        if email is None:
            return "off"
        return "connected" if email.connected() else "disconnected"


def _warm(knowledge: KnowledgeDesk) -> None:
    """Build and load what the first customer's question needs, before it comes; without it, that one would wait."""
    began = time.monotonic()
    try:
        knowledge.decide("Where is my parcel?")  # nothing is remembered of it
    except Exception as error:  # the edge of the thread: the first question will tell what is wrong
        log.warning("knowledge_not_warmed", error=type(error).__name__)
    else:
        log.info("knowledge_warmed", seconds=round(time.monotonic() - began, 2))
