"""Takes the picture of an agent's Home tab: `python -m docs.pictures.home [FOLDER]`, needing what `take` needs."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path

from docs.pictures.browser import page
from docs.pictures.take import DRAFT, NOON, REASONS, product
from tests.integration.shop_rows import propose
from tests.peers.local_slack import TEAM
from tests.slack_world import ADA, BEN

LARGEST = 200_000
OTHERS = [
    (
        "Nils Berg",
        "Hello Nils,\n\nyour hand grinder arrived on Monday. Two turns from the finest setting suit a filter. How is it going?",
        {"playbook": "how_to_start", "band": "medium", "probability": 0.28},
    ),
    (
        "Lea Petit",
        "Hello Lea,\n\nit has been a while since your last order. Is everything as it should be with the kettle?",
        {"playbook": "quiet_customer", "band": "medium", "probability": 0.24},
    ),
]


def main(folder: Path) -> None:
    """Take the picture into a folder."""
    with product() as world:
        urgent = propose(
            world.database, NOON, key="1042", channel="slack", draft=DRAFT, reasons=REASONS, probability=0.62
        )
        world.review.claim(urgent.id, 1, f"slack:{TEAM}:{BEN}")
        for n, (name, draft, columns) in enumerate(OTHERS):
            added = propose(
                world.database, NOON - timedelta(hours=n), key=f"108{n}", draft=draft, urgent=False, **columns
            )
            with world.database.write() as connection:
                connection.exec_driver_sql("UPDATE customers SET name = ? WHERE id = ?", (name, added.customer_id))
        with world.slack.browser() as browser, page(f"{world.slack.base_url}/", 1100, 830) as opened:
            world.slack.open_home(ADA)
            browser.home(ADA, "3 check-ins wait")
            opened.wait("document.body && document.body.innerText.includes('aftercare-review')", "the workspace")
            opened.value(
                "[...document.querySelectorAll('button')].filter(e => e.textContent.trim().endsWith('Aftercare')).pop().click()"
            )
            opened.wait("document.body.innerText.includes('3 check-ins wait')", "Home")
            opened.picture(folder / "home.png")
    size = (folder / "home.png").stat().st_size
    print(f"home.png: {size:,} bytes")
    if size > LARGEST:
        sys.exit(f"home.png is over {LARGEST:,} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
