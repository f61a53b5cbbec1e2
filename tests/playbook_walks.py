"""The ways through the shipped playbooks: who is meant, how each leaves, and the days on which a shop walks with them all.

Every customer is meant by exactly one playbook, so that all walk in one shop on the same days. How check-ins leave and what
customers do is for those to say who play it (`Hands`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from bot.clock import ManualClock
from bot.decide.lifecycle import OutreachState
from bot.decide.playbook import PATTERN, Band, Goal, Playbook, TriggerEvent
from bot.services.planning.planner import Planner
from bot.services.planning.playbooks import Playbooks
from bot.store.consent import record_consent
from bot.store.database import Connection, Database
from bot.store.instances import journeys_of
from bot.store.outreach import list_outreach
from bot.store.planning import Forecast
from messages.catalogue import Catalogue
from tests.integration.shop_rows import add_customer, add_order, add_prediction, add_touchpoint, insert
from tests.peers.local_slack import TEAM

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
COMPLETED = "completed"
# The longest wait of a shipped playbook is a week.
DAYS = 8
# Nobody walks into a night, a holiday or a cap here: those have tests of their own.
OPEN_POLICY = {
    "quiet_hours": {"start": "00:00", "end": "00:00"},
    "days_off": {"holidays": False},
    "caps": {"day": 50, "week": 50, "month": 50},
}
# Where some leave, another playbook means them from then on.
BEGINS = {"returned": ("return_in_progress",), "delivered": ("delivered_late", "success_goal")}
# What a customer writes to say a thing that they were asked for, and its value. A bare reply says none of them.
WORDS = {
    "csat": ("2", 2.0),
    "review": ("5 - it does what it should", 5.0),
    "nps": ("9", 9.0),
    "goal": ("I want a good cup of coffee every morning", None),
    "activated": ("Yes, it runs", None),
    "reply": ("I will try it at the weekend", None),
}


@dataclass(kw_only=True)
class Walker:
    """One customer, the playbook that means them, and how they leave it.

    Attributes
    ----------
    leaves : str
        The kind of touchpoint by which they leave, or `completed`.
    says : str or None
        The kind of answer that they give to the first step: to leave by it, or because the next step waits for it. Whoever
        leaves another way says it too, so that only their exit keeps the next step from them.
    """

    playbook: Playbook
    leaves: str
    channel: str
    says: str | None
    number: int
    customer_id: int = 0
    order_id: int = 0

    @property
    def key(self) -> str:
        return f"w{self.number}"

    @property
    def address(self) -> str:
        """The address of their mailbox, or their id in Slack."""
        return f"{self.key}@mail.example" if self.channel == "email" else f"U0W{self.number:04}"

    @property
    def gets(self) -> list[tuple[str, str]]:
        """The playbooks and steps of all that they must get, in this order."""
        steps = [(self.playbook.id, step.id) for step in self.playbook.steps]
        return (
            steps if self.leaves == COMPLETED else steps[:1] + [(name, "first") for name in BEGINS.get(self.leaves, ())]
        )

    def __str__(self) -> str:
        return f"{self.playbook.id} left by {self.leaves} on {self.channel}"


class Hands(Protocol):
    """What agents and customers do while the days pass."""

    def send(self) -> None:
        """Approve all that waits, and let it leave."""

    def answer(self, walkers: Sequence[Walker]) -> None:
        """Let customers answer the message that they have."""


@dataclass(kw_only=True)
class Walk:
    """All walkers in one shop.

    Attributes
    ----------
    both_ways : bool
        Half of the customers are in Slack, and who answers or stays to the end walks on both channels; else all have mail.
    """

    playbooks: Playbooks
    catalogue: Catalogue
    both_ways: bool
    walkers: list[Walker] = field(default_factory=list)

    def __post_init__(self) -> None:
        for playbook in self.playbooks.all:
            for leaves in (*sorted(playbook.exits), COMPLETED):
                says = self._says(playbook, leaves)
                number = len(self.walkers)
                channels = ("email", "slack") if self.both_ways else ("email",)
                if leaves not in (COMPLETED, says):
                    channels = channels[number % len(channels) :][:1]
                for channel in channels:
                    one = Walker(playbook=playbook, leaves=leaves, channel=channel, says=says, number=len(self.walkers))
                    self.walkers.append(one)

    def play(self, database: Database, clock: ManualClock, planner: Planner, hands: Hands) -> None:
        """Walk with all of them from their triggers to the end."""
        with database.write() as connection:
            for one in self.walkers:
                put(connection, one, clock.now())
            forecasts = _pattern(connection, [one for one in self.walkers if _by_pattern(one)], clock.now())
        lines = [*planner.plan(), *planner.plan_pattern("lot", "charging", forecasts)]
        began = [(line.customer_id, line.playbook) for line in lines if line.decision == "suggest"]
        assert sorted(began) == sorted((one.key, one.playbook.id) for one in self.walkers)
        hands.send()
        clock.advance(2 * HOUR)
        hands.answer([one for one in self.walkers if one.says])
        with database.write() as connection:
            for one in self.walkers:
                if one.leaves == "placed":
                    add_order(connection, f"again-{one.key}", one.customer_id, clock.now())
                elif one.leaves not in (COMPLETED, one.says):
                    add_touchpoint(connection, one.leaves, one.customer_id, clock.now(), one.order_id)
        # The next step may be due at once; then a day at a time.
        for _ in range(DAYS + 1):
            clock.advance(2 * HOUR)
            planner.plan()
            hands.send()
            clock.advance(DAY - 2 * HOUR)

    def left(self, database: Database) -> Iterator[tuple[Walker, str | None, list[tuple[str, str]]]]:
        """Yield why the way of each has ended, and which steps of which playbooks were sent, by the store."""
        states = {OutreachState.SENT, OutreachState.REPLIED, OutreachState.CLOSED}
        with database.read() as connection:
            for one in self.walkers:
                (way,) = [way for way in journeys_of(connection, one.customer_id) if way.playbook == one.playbook.id]
                sent = list_outreach(connection, states, customer_id=one.customer_id)
                yield one, way.exit_reason, [(row.playbook, row.step) for row in sorted(sent, key=lambda row: row.id)]

    def _says(self, playbook: Playbook, leaves: str) -> str | None:
        asked = self.catalogue.meta(playbook.steps[0].template).asks
        if leaves in (asked, "reply"):
            return leaves
        following = playbook.following(playbook.steps[0].id)
        goes_on = bool(following) and following[0].when is not None and following[0].when.happened
        return asked if goes_on else None


def put(connection: Connection, one: Walker, now: datetime) -> None:
    """Write down a customer whom a playbook means now, and no other playbook means now or in the days of the walk."""
    playbook, key = one.playbook, one.key
    event, at = playbook.trigger.event, now - max(playbook.trigger.after, timedelta(0)) - HOUR
    placed = {
        TriggerEvent.LAST_ORDER: now - 60 * DAY,
        TriggerEvent.REPLENISHMENT: now - 30 * DAY,
        TriggerEvent.FIRST_ORDER: now.replace(year=now.year - 1),
    }.get(event, at - 9 * DAY)
    reached = {"email": None, "slack_team_id": TEAM, "slack_user_id": one.address} if one.channel == "slack" else {}
    birthday = {"attributes": {"birthday": f"1980-{now:%m-%d}"}} if event is TriggerEvent.BIRTHDAY else {}
    one.customer_id = add_customer(connection, key, placed - DAY, **reached, **birthday)
    late = event in (TriggerEvent.PROMISED, TriggerEvent.LATE_DELIVERY)
    promised_at = now - DAY if late else placed + 12 * DAY
    one.order_id = add_order(connection, f"o-{key}", one.customer_id, placed, promised_at=promised_at)
    product = insert(
        connection, "products", source="files", external_id=key, name="Kettle", fingerprint=key, recorded_at=placed,
        category=next(iter(playbook.audience.categories), "tools"),
        attributes={"replenish_days": "30"} if event is TriggerEvent.REPLENISHMENT else {},
    )  # fmt: skip
    insert(
        connection, "order_lines", order_id=one.order_id, line_no=1, product_id=product, fingerprint=key,
        recorded_at=placed,
    )  # fmt: skip
    kinds = {
        TriggerEvent.LATE_DELIVERY: ("delivered",),
        TriggerEvent.TICKET_CLOSED: ("ticket_opened", "ticket_closed"),
        TriggerEvent.RETURNED: ("delivered", "return_requested", "returned"),
        TriggerEvent.DELIVERED: ("delivered",),
    }.get(event, ())
    for back, kind in enumerate(reversed(kinds)):
        add_touchpoint(connection, kind, one.customer_id, at - back * DAY, one.order_id)
    # What a delivery begins as well is done already: they have told their goal, and use it.
    if "delivered" in kinds and "goal" not in playbook.exits:
        add_touchpoint(connection, "goal", one.customer_id, at + HOUR / 2, one.order_id)
    if "delivered" in kinds and playbook.goal is not Goal.FIRST_USE:
        add_touchpoint(connection, "used", one.customer_id, at + HOUR / 2, one.order_id)
    if playbook.audience.prediction is not None:
        order_id = None if event is TriggerEvent.LAST_ORDER else one.order_id
        add_prediction(connection, one.customer_id, order_id, now - HOUR, 0.6)
    if playbook.purpose == "marketing":
        record_consent(connection, one.customer_id, one.channel, "marketing", True, "shop", None, placed)


def _by_pattern(one: Walker) -> bool:
    return one.playbook.audience.pattern is not None


def _pattern(connection: Connection, walkers: Sequence[Walker], now: datetime) -> list[Forecast]:
    """Write down a pattern, as an agent sees it, and return what its desk hands to the planner of its silent buyers."""
    pattern_id = insert(
        connection, "patterns", cell="lot:B3", kind="charging", state="open", window_days=28, troubled=9, exposed=30,
        expected=1.0, p_value=0.0001, first_seen_at=now, last_seen_at=now, news_at=now, news_troubled=9,
    )  # fmt: skip
    return [
        Forecast(
            prediction_id=None,
            kind=PATTERN,
            moment="",
            customer_id=one.customer_id,
            order_id=one.order_id,
            as_of=now,
            probability=0.3,
            band=Band.MEDIUM.value,
            reasons=({"feature": PATTERN, "text": "9 of 30 buyers of lot B3 report charging.", "effect": None},),
            pattern_id=pattern_id,
        )
        for one in walkers
    ]
