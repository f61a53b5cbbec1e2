"""Every shipped playbook, walked from its trigger to each of its exits and to its end, in the store alone.

The same walk at a running Slack and mail server is `tests/e2e/test_playbook_walks.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bot.clock import ManualClock
from bot.config import Settings
from bot.services.planning.planner import Planner
from bot.services.planning.playbooks import load_playbooks
from bot.store.database import Database
from messages.catalogue import Catalogue
from tests.integration.shop_rows import add_touchpoint
from tests.integration.test_journeys import send_all
from tests.playbook_walks import OPEN_POLICY, WORDS, Walk, Walker

CATALOGUE = Catalogue.load()
EVERY = sorted(one.playbook.id for one in load_playbooks(Settings(), CATALOGUE.names).files)
SETTINGS = Settings.model_validate(
    {
        "email": {"enabled": True},
        "experiments": {"holdout_share": 0.0},
        "scheduler": {"daily_capacity": 1000},
        "policy": OPEN_POLICY,
        "playbooks": {"enable": EVERY},
    }
)


@dataclass(kw_only=True)
class InTheStore:
    """Everything leaves, and answers are there, by a change in the store."""

    database: Database
    clock: ManualClock

    def send(self) -> None:
        send_all(self.database, self.clock.now())

    def answer(self, walkers: Sequence[Walker]) -> None:
        now = self.clock.now()
        with self.database.write() as connection:
            for one in walkers:
                assert one.says is not None
                value = WORDS[one.says][1]
                add_touchpoint(connection, one.says, one.customer_id, now, one.order_id, value=value)


# One engine is enough here: that both agree is held by the tests of journeys.
def test_every_shipped_playbook_is_walked_to_each_of_its_exits(sqlite_database: Database, clock: ManualClock) -> None:
    playbooks = load_playbooks(SETTINGS, CATALOGUE.names)
    walk = Walk(playbooks=playbooks, catalogue=CATALOGUE, both_ways=False)
    planner = Planner(sqlite_database, clock, SETTINGS, CATALOGUE, playbooks)
    walk.play(sqlite_database, clock, planner, InTheStore(database=sqlite_database, clock=clock))
    for one, why, sent in walk.left(sqlite_database):
        assert (why, sent) == (one.leaves, one.gets), str(one)
    assert {one.playbook.id for one in walk.walkers} == set(EVERY)
    assert len(walk.walkers) == sum(len(one.exits) + 1 for one in playbooks.all)
