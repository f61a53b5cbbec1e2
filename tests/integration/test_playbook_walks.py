"""Every shipped playbook that the day's plan acts on, walked from its trigger to each of its exits and to its end."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from bot.clock import ManualClock
from bot.config import Settings
from bot.decide.lifecycle import OutreachState
from bot.decide.playbook import Playbook, TriggerEvent
from bot.services.planning.planner import Planner
from bot.services.planning.playbooks import PlaybookFile, Playbooks, load_playbooks
from bot.store.consent import record_consent
from bot.store.database import Connection, Database
from bot.store.instances import journeys_of
from bot.store.outreach import list_outreach
from messages.catalogue import Catalogue
from tests.integration.shop_rows import add_customer, add_order, add_prediction, add_touchpoint, insert
from tests.integration.test_journeys import send_all

START = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
CATALOGUE = Catalogue.load()
SETTINGS = Settings.model_validate(
    {"email": {"enabled": True}, "experiments": {"holdout_share": 0.0}, "scheduler": {"daily_capacity": 1000}}
)


def meant(connection: Connection, playbook: Playbook, key: str, now: datetime) -> tuple[int, int]:
    """Make a customer whom a playbook means now; return the ids of the customer and the order."""
    event, at = playbook.trigger.event, now - max(playbook.trigger.after, timedelta(0)) - HOUR
    placed = {
        TriggerEvent.LAST_ORDER: now - 60 * DAY,
        TriggerEvent.REPLENISHMENT: now - 30 * DAY,
        TriggerEvent.FIRST_ORDER: now.replace(year=now.year - 1),
    }.get(event, at - 9 * DAY)
    birthday = {"attributes": {"birthday": f"1980-{now:%m-%d}"}} if event is TriggerEvent.BIRTHDAY else {}
    customer_id = add_customer(connection, key, placed - DAY, **birthday)
    promised = {"promised_at": now - DAY} if event is TriggerEvent.PROMISED else {}
    order_id = add_order(connection, f"o-{key}", customer_id, placed, **promised)
    category = next(iter(playbook.audience.categories), "tools")
    product = insert(
        connection, "products", source="files", external_id=key, name="Kettle", category=category, fingerprint=key,
        attributes={"replenish_days": "30"} if event is TriggerEvent.REPLENISHMENT else {}, recorded_at=placed,
    )  # fmt: skip
    insert(
        connection, "order_lines", order_id=order_id, line_no=1, product_id=product, fingerprint=key, recorded_at=placed
    )
    kinds = {
        TriggerEvent.LATE_DELIVERY: ("delivered",),
        TriggerEvent.TICKET_CLOSED: ("ticket_opened", "ticket_closed"),
        TriggerEvent.RETURNED: ("delivered", "return_requested", "returned"),
        TriggerEvent.DELIVERED: ("delivered",),
    }.get(event, ())
    for back, kind in enumerate(reversed(kinds)):
        add_touchpoint(connection, kind, customer_id, at - back * DAY, order_id)
    if playbook.audience.prediction is not None:
        add_prediction(connection, customer_id, None if event is TriggerEvent.LAST_ORDER else order_id, now - HOUR, 0.6)
    record_consent(connection, customer_id, "email", "marketing", True, "shop", None, placed)
    return customer_id, order_id


# One engine is enough here: that both agree is held by the tests of journeys.
@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_every_shipped_playbook_is_walked_to_each_of_its_exits(database: Database, clock: ManualClock) -> None:
    shipped = [one for one in load_playbooks(SETTINGS, CATALOGUE.names).files if one.playbook.audience.pattern is None]
    walked: list[tuple[str, str]] = []
    for number, file in enumerate(shipped):
        clock.set(START + number * 70 * DAY)
        playbook, planner = file.playbook, planner_of(database, clock, file)
        people: dict[str, tuple[int, int]] = {}
        with database.write() as connection:
            for exit_kind in (*sorted(playbook.exits), "completed"):
                people[exit_kind] = meant(connection, playbook, f"{playbook.id}-{exit_kind}", clock.now())
        began = {line.customer_id for line in planner.plan() if line.decision == "suggest"}
        assert began >= {f"{playbook.id}-{kind}" for kind in people}, playbook.id
        send_all(database, clock.now())
        clock.advance(2 * HOUR)
        with database.write() as connection:
            for kind, (customer_id, order_id) in people.items():
                if kind == "placed":
                    add_order(connection, f"again-{playbook.id}", customer_id, clock.now())
                elif kind != "completed":
                    add_touchpoint(connection, kind, customer_id, clock.now(), order_id)
        for step in playbook.steps:
            following = playbook.following(step.id)
            if following and following[0].when is not None and following[0].when.happened:
                asked = following[0].when
                customer_id, order_id = people["completed"]
                value = asked.at_most if asked.at_most is not None else asked.at_least
                with database.write() as connection:
                    add_touchpoint(connection, min(asked.kinds), customer_id, clock.now(), order_id, value=value)
            # The caps may put a later step off for some days, never for good.
            for _ in range(9 + following[0].wait // DAY if following else 1):
                clock.advance(DAY)
                planner.plan()
                send_all(database, clock.now())
        clock.advance(DAY)
        planner.plan()
        with database.read() as connection:
            for kind, (customer_id, _) in people.items():
                (way,) = journeys_of(connection, customer_id)
                assert way.exit_reason == kind, f"{playbook.id}: {kind}"
                sent = list_outreach(connection, [OutreachState.SENT], customer_id=customer_id)
                assert len(sent) == (len(playbook.steps) if kind == "completed" else 1), f"{playbook.id}: {kind}"
                walked.append((playbook.id, kind))
    assert len({name for name, _ in walked}) == len(shipped) >= 13
    assert len(walked) == sum(len(one.playbook.exits) + 1 for one in shipped)


def planner_of(database: Database, clock: ManualClock, file: PlaybookFile) -> Planner:
    return Planner(database, clock, SETTINGS, CATALOGUE, Playbooks([replace(file, enabled=True)]))
