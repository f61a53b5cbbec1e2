"""The Bolt app: everything that Slack sends is recorded in one short transaction, then acknowledged, then worked on.

Socket Mode and HTTP share it. A duplicate (an envelope delivered again, the same event at two processes) is recognised
by its key in the shared database and has no second effect. What is done is in `actions`, `commands`, `home` and `customers`.
"""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from datetime import timedelta
from typing import Any

import structlog
from slack_bolt import Ack, App, BoltResponse
from slack_bolt.error import BoltError
from slack_sdk.errors import SlackClientError

from bot.channels.slack.actions import AgentActions
from bot.channels.slack.api import SlackApi
from bot.channels.slack.commands import AgentCommands
from bot.channels.slack.customer_messages import CHOICE_OF
from bot.channels.slack.customers import CustomerMessages
from bot.channels.slack.home import AgentHome
from bot.channels.slack.identity import Roster
from bot.channels.slack.payloads import (
    Click,
    Command,
    CustomerMessage,
    HomeOpened,
    OtherEvent,
    Received,
    Submission,
    restore,
    stored,
)
from bot.channels.slack.reading import read_action, read_command, read_event, read_submission
from bot.channels.slack.telling import Telling
from bot.clock import Clock
from bot.errors import AftercareError, ChannelError, TransientChannelError
from bot.store.database import Database
from bot.store.events import finish_event, record_event, unfinished

__all__ = ["Intake", "build_bolt"]

log = structlog.get_logger(__name__)

SOURCE = "slack"
_ANY = re.compile(".*", re.DOTALL)
# These end the installation: nothing may be sent any more.
REVOKING = frozenset({"app_uninstalled", "tokens_revoked"})
UNREADABLE = "This command cannot be read. Try it again, or open the cards in the review channel."
# What breaks is told to whom it concerns: agents have cards to look at, customers have not.
FAILED = (
    "That did not work, and it is not your fault. Nothing was decided unless the card says so. Reference: {reference}"
)
FAILED_FOR_CUSTOMERS = (
    "That did not work, and it is not your fault. Please write to me what you wanted to say; the word *human* brings a "
    "person. Reference: {reference}"
)
WRONG_TEAM = "This belongs to another workspace; nothing was changed."


class Intake:
    """Records what comes in, and works on it once."""

    def __init__(
        self,
        *,
        api: SlackApi,
        database: Database,
        clock: Clock,
        roster: Roster,
        actions: AgentActions,
        commands: AgentCommands,
        home: AgentHome,
        customers: CustomerMessages,
        telling: Telling,
        on_revoked: Callable[[], None],
    ) -> None:
        self._api = api
        self._database = database
        self._clock = clock
        self._roster = roster
        self._actions = actions
        self._commands = commands
        self._home = home
        self._customers = customers
        self._telling = telling
        self._on_revoked = on_revoked

    def read(self, body: Mapping[str, Any]) -> Received | None:
        """Parse a payload; None for what this app has no use for."""
        match body.get("type"):
            case "block_actions":
                return read_action(body)
            case "view_submission":
                return read_submission(body)
            case "event_callback":
                return read_event(body, self._roster.bot_user_id)
        return read_command(body) if "command" in body else None

    def record(self, received: Received) -> bool:
        """Record it; False for one that was recorded before."""
        # Events nobody waits for leave no trace but their key.
        payload = None if isinstance(received, OtherEvent) else stored(received)
        now = self._clock.now()
        with self._database.write() as connection:
            new = record_event(connection, SOURCE, received.key, received.kind, payload, now)
            if new and isinstance(received, OtherEvent):
                finish_event(connection, SOURCE, received.key, now)
        return new

    def work(self, received: Received) -> None:
        """Do what it asks for; whatever goes wrong is told, logged with ids and recorded."""
        error: str | None = None
        try:
            self._dispatch(received)
        except ChannelError as problem:
            # The decision stands; what could not be shown is shown at the next tick.
            error = f"{type(problem).__name__}: {problem}"
            log.warning("slack_work_unshown", key=received.key, error=error)
        except AftercareError as problem:
            error = f"{type(problem).__name__}: {problem}"
            log.warning("slack_work_refused", key=received.key, error=type(problem).__name__)
        except Exception as problem:  # the edge of one event: it must not take the others with it
            reference = secrets.token_hex(4)
            error = f"{type(problem).__name__} ({reference})"
            log.exception("slack_work_failed", key=received.key, reference=reference)
            self._apologise(received, reference)
        with self._database.write() as connection:
            finish_event(connection, SOURCE, received.key, self._clock.now(), error)

    def submit(self, submission: Submission) -> dict[str, str]:
        """Decide what a modal asks for, before it is acknowledged; return errors by block."""
        errors = self._actions.submit(submission)
        if errors:
            with self._database.write() as connection:
                finish_event(connection, SOURCE, submission.key, self._clock.now(), "; ".join(errors.values()))
        return errors

    def resume(self, older_than: timedelta = timedelta(0)) -> int:
        """Work on what was recorded and never finished, as a crash leaves it; return how many."""
        with self._database.read() as connection:
            left = unfinished(connection, self._clock.now() - older_than, SOURCE)
        for event in left:
            try:
                received = restore(event.key, event.payload or {})
            except AftercareError as problem:
                with self._database.write() as connection:
                    finish_event(connection, SOURCE, event.key, self._clock.now(), str(problem))
                continue
            log.info("slack_event_resumed", key=event.key)
            if isinstance(received, Submission) and self._actions.submit_again(received):
                with self._database.write() as connection:
                    finish_event(connection, SOURCE, event.key, self._clock.now(), "refused when resumed")
                continue
            self.work(received)
        return len(left)

    def _dispatch(self, received: Received) -> None:
        match received:
            case Click() | Command() | HomeOpened() if not self._roster.ours(received.person):
                log.warning("slack_foreign_workspace", actor=received.person.actor, key=received.key)
                if not isinstance(received, HomeOpened) and (received.channel or isinstance(received, Command)):
                    self._telling.tell(received, WRONG_TEAM)
            case Click() if received.action in CHOICE_OF:
                self._customers.choose(received)
            case Click():
                self._actions.click(received)
            case Command():
                self._commands.run(received)
            case HomeOpened():
                self._home.opened(received)
            case Submission():
                self._actions.after_submit(received)
            case CustomerMessage():
                self._customers.receive(received)
            case OtherEvent() if received.type in REVOKING:
                self._on_revoked()
            case OtherEvent():
                pass

    def _apologise(self, received: Received, reference: str) -> None:
        by_customer = isinstance(received, Click) and received.action in CHOICE_OF
        words = (FAILED_FOR_CUSTOMERS if by_customer else FAILED).format(reference=reference)
        try:
            if isinstance(received, Command) or (isinstance(received, Click) and not received.in_view):
                self._telling.tell(received, words)
            elif isinstance(received, Click):
                self._telling.notice(received, "That did not work", words)
        except AftercareError as problem:
            log.warning("slack_apology_unsaid", reference=reference, error=type(problem).__name__)


def build_bolt(intake: Intake, api: SlackApi, executor: Executor, signing_secret: str | None = None) -> App:
    """Build the Bolt app over an intake.

    Parameters
    ----------
    signing_secret : str, optional
        For HTTP mode: Bolt then checks the signature and the age of every request.

    Raises
    ------
    TransientChannelError
        Slack did not say who we are.
    """
    quiet = logging.getLogger("aftercare.slack_bolt")
    quiet.setLevel(logging.ERROR)  # Bolt's warnings quote payloads
    try:
        app = App(
            client=api.client,
            logger=quiet,
            signing_secret=signing_secret,
            request_verification_enabled=signing_secret is not None,
            # Bolt asks who we are once, too: now, so that the first click's modal does not wait for it.
            token_verification_enabled=True,
            ssl_check_enabled=False,  # it would be answered before the signature is checked
            ignoring_self_events_enabled=False,  # `read_event` knows our own messages, and their keys are recorded too
            listener_executor=executor,
        )
    except (BoltError, OSError, SlackClientError) as error:
        raise TransientChannelError(f"Slack was not reached (auth.test: {type(error).__name__})") from error

    @app.middleware
    def receive(next_: Callable[[], BoltResponse], body: Mapping[str, Any]) -> BoltResponse | None:
        received = intake.read(body)
        if received is None:
            return next_()
        if not intake.record(received):
            log.info("slack_duplicate", key=received.key)
            # The first copy of a submission answers with the errors on its fields; an empty answer would close the modal.
            return BoltResponse(status=409 if isinstance(received, Submission) else 200, body="")
        said: dict[str, Any] | str = ""
        if isinstance(received, Submission):
            errors = intake.submit(received)
            if errors:
                return BoltResponse(status=200, body={"response_action": "errors", "errors": errors})
            if received.stacked:  # the card below shows what was true before
                said = {"response_action": "clear"}
        # Acknowledged from here, not from a listener: a click must not wait for a thread behind the work of others.
        try:
            executor.submit(intake.work, received)
        except RuntimeError:  # ending: it is recorded, and taken up at the next start
            return BoltResponse(status=503, body="")
        return BoltResponse(status=200, body=said)

    @app.command(_ANY)
    def on_command(ack: Ack) -> None:
        ack(UNREADABLE)

    return app
