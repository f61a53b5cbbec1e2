"""Takes pictures of what becomes of a card: edited, sent, and in a day's digest: `python -m docs.pictures.states [FOLDER]`."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path

from bot.decide.lifecycle import OutreachState as State
from bot.store.outreach import change_state
from docs.pictures.browser import page
from docs.pictures.review_channel import check_size, shoot
from docs.pictures.take import DRAFT, NOON, REASONS, product
from tests.integration.shop_rows import propose
from tests.peers.local_slack import TEAM
from tests.slack_world import ADA


def main(folder: Path) -> None:
    """Take the pictures into a folder."""
    with product() as world:
        propose(world.database, NOON, key="1042", channel="slack", draft=DRAFT, reasons=REASONS, probability=0.62)
        world.connection.sync()
        with page(f"{world.slack.base_url}/", 1100, 640) as opened, world.slack.browser() as browser:
            opened.wait("document.body && document.body.innerText.includes('aftercare-review')", "the review channel")
            world.slack.click(ADA, world.card(), "outreach_edit")
            browser.modal("outreach_edit")
            opened.wait("!!document.querySelector('textarea') && document.body.innerText.includes('Edit')", "the modal")
            opened.picture(folder / "edit.png")
        check_size(folder / "edit.png")
    with product() as world:
        one = propose(world.database, NOON, key="1042", channel="slack", draft=DRAFT, reasons=REASONS, probability=0.62)
        world.connection.sync()
        approved = world.review.approve(one.id, 1, f"slack:{TEAM}:{ADA}")
        later = NOON + timedelta(minutes=1)
        with world.database.write() as connection:
            change_state(connection, one.id, approved.version, [State.APPROVED], State.SENDING, later)
            change_state(connection, one.id, approved.version + 1, [State.SENDING], State.SENT, later, sent_at=later)
        world.clock.advance(timedelta(minutes=1))
        world.connection.sync()
        shoot(world.slack.base_url, folder / "sent.png", "Sent", height=520)
    with product(cards="urgent") as world:
        for n in range(3):
            propose(world.database, NOON, key=f"104{n}", draft=DRAFT, reasons=REASONS, probability=0.3, urgent=False)
        world.connection.sync()
        shoot(world.slack.base_url, folder / "digest.png", "3 of 3", height=320)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
