"""The only composition root: settings become an engine, channels, predictors, services and a scheduler.

Everything is built on first use, so that `aftercare ask` opens no mail connection. Only this module and
those beside it pick concrete parts; the parts are nobody else's to use.
"""

from __future__ import annotations

import threading
import time
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from bot.channels.base import Channel
from bot.channels.email import Identity
from bot.channels.slack.api import SlackApi
from bot.channels.slack.channel import SlackChannel
from bot.clock import Clock
from bot.config import Settings, load_settings
from bot.lazy import OnFirstUse
from bot.scheduler import Job, Scheduler
from bot.services.daily import DailyRound, Step
from bot.services.delivery.stopping import Stopping
from bot.services.hourly import HourlyScoring
from bot.services.mail.opting_out import OptOutDesk
from bot.services.mail.quarantine import Quarantine
from bot.services.privacy import Privacy
from bot.services.review.autopilot import Autopilot
from bot.services.review.desk import ReviewDesk
from bot.wiring.channels import build_email, build_identity, build_slack
from bot.wiring.planning import PlanningParts

# These import polars, Slack's SDK, dkimpy or the mail libraries: time that most commands can do without.
if TYPE_CHECKING:
    from bot.channels.email.mailbox import Mailbox
    from bot.channels.slack.connection import SlackConnection
    from bot.services.delivery.deliverer import Deliverer
    from bot.services.importing.importer import Importer
    from bot.services.mail.mailroom import Mailroom
    from bot.services.planning.pattern_desk import PatternDesk
    from bot.wiring.mail import build_mailbox, build_mailroom
else:
    build_mailbox = OnFirstUse("bot.wiring.mail", "build_mailbox")
    build_mailroom = OnFirstUse("bot.wiring.mail", "build_mailroom")
    Deliverer = OnFirstUse("bot.services.delivery.deliverer", "Deliverer")
    Importer = OnFirstUse("bot.services.importing.importer", "Importer")
    PatternDesk = OnFirstUse("bot.services.planning.pattern_desk", "PatternDesk")

# Deliveries are looked for this often at least: a customer who was promised an answer does not wait for a tick.
DELIVERY_SECONDS = 1.0
# A long queue is drained for so long at a time; then what is in doubt is looked after again.
DELIVERY_TURN_SECONDS = 5.0
# Customers who wrote a mail do not wait for a tick either.
MAIL_SECONDS = 1.0
# Scoring and planning a large shop takes its time.
DAILY_PATIENCE_SECONDS = 3 * 3600.0


class App(PlanningParts):
    """One running Aftercare: its settings and, on demand, its parts."""

    def __init__(self, settings: Settings, clock: Clock | None = None) -> None:
        super().__init__(settings, clock)
        self._delivered = threading.Event()  # something that Slack shows has changed

    @classmethod
    def from_config(cls, path: Path | None = None) -> App:
        """Read the configuration and wire an application on it."""
        return cls(load_settings(path))

    @cached_property
    def importer(self) -> Importer:
        """Brings canonical files into the store."""
        return Importer(self.database, self.clock, self.settings)

    @cached_property
    def privacy(self) -> Privacy:
        """Shows, exports and erases customers."""
        return Privacy(self.database, self.clock)

    @cached_property
    def review(self) -> ReviewDesk:
        """Takes agents' decisions."""
        return ReviewDesk(self.database, self.clock, self.settings, self.levels)

    @cached_property
    def autopilot(self) -> Autopilot:
        """Approves what goes out unasked."""
        return Autopilot(self.database, self.clock, self.levels, self.review, self.earning)

    @cached_property
    def pattern_desk(self) -> PatternDesk:
        """Takes what agents say to patterns."""
        return PatternDesk(
            self.database,
            self.clock,
            self.settings,
            self.review,
            self.playbooks,
            patterns=lambda: self.patterns,
            planner=lambda: self.planner,
        )

    @cached_property
    def email_identity(self) -> Identity:
        """Who writes our mails."""
        return build_identity(self)

    @cached_property
    def email(self) -> Channel | None:
        """The mail channel, into a folder or to a server; None where email is off."""
        return build_email(self)

    @cached_property
    def mailroom(self) -> Mailroom:
        """Takes mails in and works on them."""
        return build_mailroom(self)

    @cached_property
    def mailbox(self) -> Mailbox | None:
        """The mailbox that is watched; None without IMAP_URL, or where email is off."""
        return build_mailbox(self)

    @cached_property
    def slack_api(self) -> SlackApi:
        """The calls to Slack, paced in one place."""
        return SlackApi.from_settings(self.settings)

    @cached_property
    def slack(self) -> SlackConnection | None:
        """The connection to the workspace; None where Slack is off."""
        return build_slack(self)

    @cached_property
    def channels(self) -> dict[str, Channel]:
        """The ways to customers that are switched on, by name."""
        found: dict[str, Channel] = {}
        if self.email is not None:
            found["email"] = self.email
        if self.settings.slack.mode != "off":
            found["slack"] = SlackChannel(self.slack_api, self.settings, self._slack_connected)
        return found

    @cached_property
    def deliverer(self) -> Deliverer:
        """Sends what was approved."""
        return Deliverer(self.database, self.clock, self.settings, self.channels, self.catalogue)

    @cached_property
    def stopping(self) -> Stopping:
        """The global stop."""
        return Stopping(self.database, self.clock)

    @cached_property
    def opt_out(self) -> OptOutDesk:
        """Acts on opt-out links."""
        return OptOutDesk(self.database, self.clock, self.signer, self.settings.shop.locale)

    @cached_property
    def quarantine(self) -> Quarantine:
        """Looks after mails that were set aside."""
        return Quarantine(self.database, self.clock)

    @cached_property
    def daily(self) -> DailyRound:
        """The round of each local date."""
        steps = [
            Step(name="score", work=self._predict),
            Step(name="allocate", work=lambda: self.allocator.allocate(), required=False),
            Step(name="plan", work=self._plan),
            Step(name="label", work=self.labeller.label),
            Step(name="retirements", work=lambda: self.earner.propose_retirements(), required=False),
            Step(name="forget_mails", work=lambda: self.mailroom.forget()),
            Step(name="drift", work=lambda: self.drift.look_if_due(), required=False),
            Step(name="retrain", work=lambda: self.drift.retrain_if_due(), required=False),
            Step(name="patterns", work=lambda: self.patterns.refresh(), required=False),
            Step(name="gaps", work=lambda: self.gap_desk.look_if_due(), required=False),
            Step(name="experience", work=lambda: self.touchpoint_ledger.learn_if_due(), required=False),
        ]
        return DailyRound(self.database, self.clock, self.settings, steps)

    @cached_property
    def hourly(self) -> HourlyScoring:
        """Predicts what changed since the last hour."""
        return HourlyScoring(self.database, self.clock, lambda orders: self.scorer.store_orders(orders))

    def _predict(self) -> int:
        """Predict what was not predicted today: what can be cut in parts, where there are workers, then the rest."""
        return (self.large_shop.score_today() if self.settings.delivery.by_workers else 0) + self.planner.refresh()

    def _plan(self) -> int:
        """Plan, in parts where there are workers; return how many lines the plan had."""
        return self.large_shop.plan_today() if self.settings.delivery.by_workers else len(self.planner.plan())

    def scheduler(self, *, ticks: bool = True, delivery: bool = True) -> Scheduler:
        """Build the scheduler: the ticks of the bot, those of the delivery, or both."""
        seconds, patience = self.settings.scheduler.tick_seconds, DAILY_PATIENCE_SECONDS
        if self.settings.delivery.by_workers:
            # The workers do all else; cards are brought up to date by the process that is connected to Slack.
            shows = ticks and self.settings.slack.mode != "off"
            return Scheduler([Job(name="show", work=self._show, seconds=seconds)] if shows else [])
        jobs: list[Job] = []
        if ticks:
            jobs.append(Job(name="tick", work=self.tick, seconds=seconds))
            jobs.append(Job(name="daily", work=self.daily.run_if_due, seconds=seconds, patience_seconds=patience))
            jobs.append(Job(name="hourly", work=self.hourly.run_if_due, seconds=seconds, patience_seconds=patience))
        if ticks and self.settings.email.enabled:
            jobs.append(Job(name="mail", work=lambda: self.mailroom.work(), seconds=min(seconds, MAIL_SECONDS)))
        if delivery:
            soon = min(seconds, DELIVERY_SECONDS)
            jobs.append(Job(name="deliver", work=self.deliver, seconds=soon))
            jobs.append(Job(name="show", work=self.show_delivered, seconds=soon))
        return Scheduler(jobs)

    def tick(self) -> None:
        """Do what time does to check-ins, and show it."""
        self.upkeep.run()
        self.overdue.run()
        self.conversations.resume()  # what they decide to say leaves with the next delivery
        self.telling.tell()
        self._show()

    def deliver(self) -> None:
        """Show what is in doubt, send what is due, ask about what is in doubt."""
        changed = self.deliverer.recover() > 0
        began = time.monotonic()
        while time.monotonic() - began < DELIVERY_TURN_SECONDS:
            report = self.deliverer.drain()
            changed = changed or any(vars(report).values())
            if not report.sent + report.answers:
                break
        if changed or self.deliverer.reconcile():
            self._delivered.set()

    def show_delivered(self) -> None:
        """Show what the delivery did, if anything; a job of its own, so that Slack never holds up or fails a send."""
        if self._delivered.is_set():
            self._delivered.clear()
            try:
                self._show()
            except Exception:
                self._delivered.set()  # until it was shown
                raise

    def _show(self) -> None:
        if "slack" in self.__dict__ and self.slack is not None:
            self.slack.sync()

    def close(self) -> None:
        """Give back what was opened."""
        for channel in self.__dict__.get("channels", {}).values():
            channel.close()
        if "database" in self.__dict__:
            self.database.close()

    def _slack_connected(self) -> bool:
        return "slack" in self.__dict__ and self.slack is not None and self.slack.connected()
