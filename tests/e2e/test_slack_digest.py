"""With `slack.cards: urgent`, at a real Slack peer: one digest a day, what is not urgent in its thread."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from bot.clock import ManualClock
from bot.decide.lifecycle import OutreachState
from bot.store.database import Database
from bot.store.tables import metadata
from tests.integration.shop_rows import propose
from tests.peers.local_slack import LocalSlack, shown_text, until
from tests.slack_world import ADA, SlackWorld, slack_world, start_peer

pytestmark = pytest.mark.peer


@pytest.fixture
def world(tmp_path: Path, sqlite_database: Database, clock: ManualClock) -> Iterator[SlackWorld]:
    peer: LocalSlack = start_peer(tmp_path)
    try:
        with slack_world(peer, sqlite_database, clock, cards="urgent") as running:
            yield running
    finally:
        peer.stop()


def by_key(world: SlackWorld) -> dict[str, dict[str, Any]]:
    return {str(one["blocks"][0]["block_id"]): one for one in (*world.cards("card"), *world.cards("digest"))}


def test_only_urgent_ones_stand_in_the_channel_and_the_digest_follows_what_is_decided(world: SlackWorld) -> None:
    now = world.clock.now()
    urgent = propose(world.database, now, "c1")
    calm = [propose(world.database, now, key, urgent=False) for key in ("c2", "c3")]
    world.connection.sync()
    found = by_key(world)
    (digest,) = world.cards("digest")
    assert "thread_ts" not in found[f"card:{urgent.id}"]
    assert {found[f"card:{one.id}"]["thread_ts"] for one in calm} == {digest["ts"]}
    assert "2 of 2" in shown_text(digest)
    world.slack.click(ADA, found[f"card:{calm[0].id}"], "outreach_approve")
    until(lambda: world.present(calm[0].id).state is OutreachState.APPROVED, "the decision")
    until(lambda: "1 of 2" in shown_text(world.cards("digest")[0]), "the digest, redrawn")
    assert len(world.cards("digest")) == 1


def test_a_card_in_the_thread_that_a_crash_left_unrecorded_is_found_again(world: SlackWorld) -> None:
    calm = propose(world.database, world.clock.now(), "c2", urgent=False)
    world.connection.sync()
    posts = metadata.tables["slack_posts"]
    with world.database.write() as connection:
        connection.execute(sa.delete(posts).where(posts.c.purpose == "card"))
    assert world.connection.desk is not None
    world.connection.desk._found.clear()  # as a new process begins
    world.connection.sync()
    assert len(world.cards("card")) == 1
    with world.database.read() as connection:
        assert connection.execute(sa.select(posts.c.subject).where(posts.c.purpose == "card")).scalars().all() == [
            str(calm.id)
        ]
