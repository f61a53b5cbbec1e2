"""A shop whose playbooks may go further than asking: check-ins with cards on a screen, agents, and a clock."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from bot.clock import ManualClock
from bot.config import Settings
from bot.decide.playbook import Audience, Autonomy, Goal, Playbook, PredictionNeed, Step, Trigger, TriggerEvent
from bot.services.delivery.deliverer import Deliverer
from bot.services.review.autonomy import Levels
from bot.services.review.autopilot import Autopilot
from bot.services.review.desk import ReviewDesk
from bot.services.review.earning import Earning
from bot.store import slack as posts
from bot.store.database import Database
from bot.store.outreach import Outreach, outreach
from bot.store.tables import metadata
from messages.catalogue import Catalogue
from tests.fake_channel import FakeChannel
from tests.integration.shop_rows import propose

DELAY = timedelta(minutes=20)
ADA, BEN = "slack:T1:UADA", "slack:T1:UBEN"
OPEN_HOURS = {"quiet_hours": {"start": "00:00", "end": "00:00"}}


def playbook(autonomy: Autonomy, version: str = "1", **changed: Any) -> Playbook:
    fields: dict[str, Any] = {
        "id": "delivery_at_risk",
        "version": version,
        "title": "Delivery at risk",
        "goal": Goal.PREVENT_ISSUE,
        "owner": "support",
        "autonomy": autonomy,
        "auto_after": DELAY if autonomy is Autonomy.AUTO_AFTER else timedelta(0),
        "audience": Audience(prediction=PredictionNeed(kind="issue")),
        "trigger": Trigger(event=TriggerEvent.PLACED, after=timedelta(0), within=timedelta(days=90)),
        "steps": (Step(id="first", template="delivery_at_risk"),),
        "exits": frozenset(),
        "channels": ("email",),
        "cool_down": timedelta(0),
    }
    return Playbook(**{**fields, **changed})


class Office:
    """Agents, their review channel, and what leaves."""

    def __init__(self, database: Database, clock: ManualClock, *playbooks: Playbook, **settings: Any) -> None:
        self.database = database
        self.clock = clock
        self.settings = Settings.model_validate(
            {"policy": OPEN_HOURS, "delivery": {"connections": 1}, "shop": {"timezone": "Europe/Berlin"}, **settings}
        )
        self.channel = FakeChannel()
        self.read(*playbooks)

    def read(self, *playbooks: Playbook) -> None:
        """Start anew with these playbooks, as a restart would."""
        self.levels = Levels(self.settings, playbooks)
        self.desk = ReviewDesk(self.database, self.clock, self.settings, self.levels)
        self.earning = Earning(self.database, self.clock, self.settings, playbooks, self.levels)
        self.pilot = Autopilot(self.database, self.clock, self.levels, self.desk, self.earning)
        catalogue = Catalogue.load()
        self.deliverer = Deliverer(self.database, self.clock, self.settings, {"email": self.channel}, catalogue)

    def propose(self, key: str = "c1", autonomy: Autonomy = Autonomy.AUTO_AFTER, **changed: Any) -> Outreach:
        return propose(self.database, self.clock.now(), key, autonomy=autonomy, **changed)

    def show(self, one: Outreach) -> None:
        """Let its card appear."""
        with self.database.write() as connection:
            shown = f"{one.version}:{one.state}"
            posts.record_post(connection, posts.CARD, one.id, "C1", f"{one.id}.1", shown, self.clock.now())

    def look(self, span: timedelta = timedelta(0)) -> int:
        """Let time pass with Slack connected; return how many went out unasked at its end."""
        until = self.clock.now() + span
        while self.clock.now() < until:
            self.clock.set(min(self.clock.now() + timedelta(minutes=1), until))
            if self.clock.now() < until:
                assert self.pilot.run() == 0
        return self.pilot.run()

    def see(self, one: Outreach) -> Outreach:
        with self.database.read() as connection:
            return outreach(connection, one.id)

    def deliveries(self) -> int:
        with self.database.read() as connection:
            return int(
                connection.execute(sa.select(sa.func.count()).select_from(metadata.tables["deliveries"])).scalar_one()
            )

    def decided(self) -> list[tuple[str, str]]:
        rows = metadata.tables["decisions"]
        with self.database.read() as connection:
            return [(row.kind, row.actor) for row in connection.execute(sa.select(rows).order_by(rows.c.id))]

    @property
    def now(self) -> datetime:
        return self.clock.now()
