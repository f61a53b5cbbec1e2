"""Takes the pictures of the documentation: `python -m docs.pictures.take [FOLDER]`.

It needs local-slack (`npm ci` in tests/peers/slack) and Chromium. Everything shown is what the product posts; the shop and its
people are invented.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bot.clock import ManualClock
from bot.store import migrations
from bot.store.database import open_database
from bot.store.shop import link_slack_user
from docs.pictures.demo import shoot_demo
from docs.pictures.mail import shoot_mail
from docs.pictures.review_channel import shoot
from tests.integration.shop_rows import insert, propose
from tests.peers.local_slack import TEAM
from tests.slack_world import ADA, MARIA, SlackWorld, slack_world, start_peer

NOON = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
DRAFT = """Hi Maria,

your order o-1042 should have reached you on Friday, and the carrier has not scanned it since Thursday. I am sorry about the wait.

You need not do anything: if it has not arrived by **Thursday**, we send it again at no cost. If you would rather have your money back, just reply here and a colleague takes care of it.

Your Tidewater team"""
REASONS = [
    {"feature": "late_days", "text": "The parcel is four days later than promised.", "effect": 0.31},
    {"feature": "carrier_silence", "text": "The carrier has not scanned it for five days.", "effect": 0.17},
    {"feature": "first_order", "text": "It is her first order with you.", "effect": 0.06},
]


def main(folder: Path) -> None:
    """Take every picture into a folder."""
    shoot_mail(folder / "mail.png", "Your order o-1042 may arrive later than promised", DRAFT, NOON)
    with product() as world:
        with world.database.write() as connection:
            article = insert(connection, "articles", external_id="late-parcel", active=True)
            version = insert(
                connection,
                "article_versions",
                article_id=article,
                version=3,
                title="My parcel is late",
                body="We send it again.",
                questions=[],
                tags=[],
                locale="en",
                products=[],
                sha256="0",
                recorded_at=NOON,
            )
        proposed = propose(
            world.database,
            NOON,
            key="1042",
            channel="slack",
            draft=DRAFT,
            reasons=REASONS,
            probability=0.62,
            article_version_id=version,
            not_before=NOON + timedelta(minutes=40),
            urgent=False,
        )
        world.connection.sync()
        shoot(world.slack.base_url, folder / "card.png", "Why this?", height=660)
        world.review.approve(proposed.id, 1, f"slack:{TEAM}:{ADA}")
        world.connection.sync()
        shoot(world.slack.base_url, folder / "approved.png", "Undo", height=540)
        with world.database.write() as connection:
            link_slack_user(connection, proposed.customer_id, TEAM, MARIA.id)
        world.slack._control("reset", {})
        world.slack.say(
            MARIA.id, "It is still not here, and my daughter's birthday is tomorrow. Can I talk to a human?"
        )
        world.card("handoff")
        shoot(world.slack.base_url, folder / "handoff.png", "Give back", height=420)
    shoot_demo(folder)


@contextmanager
def product(**changed: Any) -> Iterator[SlackWorld]:
    """Run the product's Slack side at a fresh local-slack; `changed` are settings of `slack`."""
    with tempfile.TemporaryDirectory() as scratch:
        database = open_database(f"sqlite:///{Path(scratch) / 'pictures.db'}")
        migrations.upgrade(database)
        slack = start_peer(Path(scratch))
        try:
            with slack_world(slack, database, ManualClock(NOON), **changed) as world:
                yield world
        finally:
            slack.stop()
            database.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
