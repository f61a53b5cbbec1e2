"""Slack as one part of the running product: connected at the start, told to everybody's health, drained at the end.

What it does with what comes in is `listeners`; what it shows is `desk`. Only this module knows about sockets; what comes
over HTTP is checked in `http`.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import structlog
from slack_bolt import App
from slack_bolt.adapter.socket_mode import SocketModeHandler
from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError, SlackClientError

from bot.channels.slack.api import TIMEOUT_SECONDS, SlackApi, SlackUnauthorized
from bot.channels.slack.assembly import Ground, assemble, build_boards
from bot.channels.slack.board_actions import Desks
from bot.channels.slack.desk import SlackDesk
from bot.channels.slack.http import Reply, answer
from bot.channels.slack.identity import Roster, resolve
from bot.channels.slack.listeners import Intake, build_bolt
from bot.channels.slack.switch import SendingSwitch
from bot.clock import Clock
from bot.config import Settings
from bot.errors import ChannelError, ConfigurationError, TransientChannelError
from bot.services.conversation.conversations import Conversations
from bot.services.conversation.duty import DutyRoster
from bot.services.delivery.stopping import Stopping
from bot.services.planning.playbooks import Playbooks
from bot.services.review.desk import ReviewDesk
from bot.store.database import Database

__all__ = ["SlackConnection"]

log = structlog.get_logger(__name__)

WORKERS = 10
# The library gives a silent connection up after five failed pings, so a dead one is noticed within twenty seconds or so.
PING_SECONDS = 3.0
# Over HTTP no connection stands whose end would tell: how long a health page may believe the last `auth.test`.
PROOF_SECONDS = 30.0
# Work that takes longer than this is taken to have died with its process.
ABANDONED = timedelta(minutes=5)


class SlackConnection:
    """The running connection to a workspace.

    Attributes
    ----------
    desk : SlackDesk
        Cards and hand-overs; known after `start`.
    bolt : App
        What requests are handed to, in either mode; known after `start`.
    """

    def __init__(
        self,
        *,
        api: SlackApi,
        database: Database,
        clock: Clock,
        settings: Settings,
        review: ReviewDesk,
        conversations: Conversations,
        send_utterance: Callable[[int], object],
        stopping: Stopping,
        playbooks: Callable[[], Playbooks],
        desks: Desks | None = None,
        unasked: Callable[[], int] | None = None,
        duty: DutyRoster | None = None,
    ) -> None:
        self._api = api
        self._database = database
        self._clock = clock
        self._settings = settings
        self._review = review
        self._ground = Ground(
            api=api,
            database=database,
            clock=clock,
            settings=settings,
            review=review,
            conversations=conversations,
            send_utterance=send_utterance,
            stopping=stopping,
            playbooks=playbooks,
            desks=desks,
        )
        self._unasked = unasked or (lambda: 0)
        self._duty = duty
        self._handler: SocketModeHandler | None = None
        self._executor: ThreadPoolExecutor | None = None
        self._revoked = threading.Event()
        self._proving = threading.Lock()
        self._proof = (0.0, False)  # when Slack was last asked who we are, and whether it knew
        self._intake: Intake | None = None
        self._switch: SendingSwitch | None = None
        self.roster: Roster | None = None
        self.desk: SlackDesk | None = None
        self.bolt: App | None = None

    def start(self) -> None:
        """Ask Slack who we are, check the channel and the agents, take up what was left, and connect.

        Raises
        ------
        ConfigurationError
            Tokens, the review channel or agents are wrong; each is named.
        TransientChannelError
            Slack cannot be reached.
        """
        try:
            roster = self.roster = resolve(self._api, self._settings)
        except SlackUnauthorized as error:
            raise ConfigurationError([("SLACK_BOT_TOKEN", str(error))]) from error
        boards = build_boards(self._ground, roster)
        desk = SlackDesk(self._api, self._database, self._clock, self._settings, self._review, roster, boards)
        self.desk = desk
        self._intake, self._switch = assemble(self._ground, roster, desk, self._revoke)
        self._executor = ThreadPoolExecutor(WORKERS, thread_name_prefix="slack")
        secret = self._signing_secret() if self._settings.slack.mode == "http" else None
        bolt = build_bolt(self._intake, self._api, self._executor, secret)
        self._intake.resume()
        self._proof = (time.monotonic(), True)
        self.bolt = bolt  # from now on, requests over HTTP are taken
        if self._settings.slack.mode == "socket":
            self._connect(bolt)
        log.info("slack_connected", team=roster.team_id, mode=self._settings.slack.mode, agents=len(roster.agents))

    def connected(self) -> bool:
        """Say whether Slack can be used now."""
        if self._revoked.is_set() or self.desk is None:
            return False
        if self._settings.slack.mode != "socket":
            return self._proved()
        return self._handler is not None and bool(self._handler.client.is_connected())

    def handle(self, body: bytes, headers: Mapping[str, str]) -> Reply:
        """Answer one POST from Slack, for HTTP mode; may block, and may be called by many threads at once."""
        return answer(self.bolt, self._signing_secret(), body, headers)

    def sync(self) -> int:
        """Bring what Slack shows up to date, and take up what was abandoned; for the scheduler's tick."""
        if self.desk is None or self._intake is None or self._switch is None or self._revoked.is_set():
            return 0
        try:
            self._intake.resume(ABANDONED)
            if self.roster is not None and self.roster.directory is not None:
                self.roster.directory.keep_fresh()
            if self._duty is not None and self.roster is not None and self.connected():
                self._duty.run(self.roster.actors)
            shown = self._switch.announce() + self.desk.sync()
            # Only now: what goes out unasked must have been on screens, and only while they can be reached.
            return shown + (self._unasked() if self.connected() else 0)
        except ChannelError as error:
            log.warning("slack_sync_interrupted", error=str(error))
            return 0

    def stop(self) -> None:
        """Take no more, finish what was begun, disconnect; may be called twice."""
        self._api.pace.stop()
        executor, self._executor = self._executor, None
        if executor is not None:
            # What comes in from now on is recorded, not acknowledged, and taken up at the next start.
            executor.shutdown(wait=True)
        handler, self._handler = self._handler, None
        if handler is not None:
            _wake(handler)
            handler.close()  # type: ignore[no-untyped-call]
        if handler is not None or executor is not None:
            log.info("slack_disconnected")

    def _signing_secret(self) -> str:
        secret = self._settings.secrets.slack_signing_secret
        if secret is None:
            raise ConfigurationError([("SLACK_SIGNING_SECRET", "set it; without it nobody knows who calls")])
        return secret.get_secret_value()

    def _proved(self) -> bool:
        """Say whether Slack knew us lately, or does now."""
        asked_at, known = self._proof
        if time.monotonic() - asked_at < PROOF_SECONDS or not self._proving.acquire(blocking=False):
            return known
        try:
            self._api.whoami()
            known = True
        except ChannelError as error:
            log.warning("slack_not_reached", error=str(error))
            known = False
        finally:
            self._proving.release()
        self._proof = (time.monotonic(), known)
        return known

    def _connect(self, bolt: App) -> None:
        token = self._settings.secrets.slack_app_token
        if token is None:
            raise ConfigurationError([("SLACK_APP_TOKEN", "set it (xapp-…): Socket Mode needs an app-level token")])
        web = WebClient(base_url=self._api.client.base_url, timeout=TIMEOUT_SECONDS)
        handler = SocketModeHandler(
            bolt,
            app_token=token.get_secret_value(),
            web_client=web,
            logger=bolt.logger,
            concurrency=WORKERS,
            ping_interval=PING_SECONDS,
        )
        try:
            handler.connect()  # type: ignore[no-untyped-call]
        except SlackApiError as error:
            handler.close()  # type: ignore[no-untyped-call]
            code = error.response.get("error")
            advice = f"Slack refuses it ({code}); it needs the scope connections:write and Socket Mode switched on"
            raise ConfigurationError([("SLACK_APP_TOKEN", advice)]) from error
        except (OSError, SlackClientError) as error:
            handler.close()  # type: ignore[no-untyped-call]
            raise TransientChannelError(f"Socket Mode was not reached ({type(error).__name__})") from error
        self._handler = handler

    def _revoke(self) -> None:
        log.error("slack_revoked", advice="the app was uninstalled or its token revoked; run `aftercare doctor slack`")
        self._revoked.set()
        self._api.shut()


def _wake(handler: SocketModeHandler) -> None:
    """Interrupt the thread that waits for the next frame; it would look up only after three seconds."""
    client = handler.client
    client.auto_reconnect_enabled = False
    client.current_session_state.terminated = True
    session = client.current_session
    sock = getattr(session, "sock", None)
    if sock is not None:
        with contextlib.suppress(OSError):  # already closed
            sock.shutdown(socket.SHUT_RDWR)
