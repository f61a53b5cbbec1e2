"""Where the demo plays: the invented shop, whose future answers to the check-ins, or a shop's own files, whose
future is what it was.

Both give files to import, an instant to begin at, and people for Slack; the tour does not ask which of them it is on.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from bot.demo import data_dir
from bot.demo.files import write_part
from bot.demo.local_slack import Person
from bot.demo.shop import Shop, play
from bot.demo.story import CURRENCY, SHOP_NAME, SHOP_TIMEZONE, Story
from bot.demo.timeline import Contacts, had_trouble, later, present


@dataclass(frozen=True, kw_only=True)
class Truth:
    """What really was the effect on some orders: the share with trouble if nobody, and if everybody, was written to."""

    untouched: float
    contacted: float

    @property
    def effect(self) -> float:
        """How far writing lowers the share."""
        return self.untouched - self.contacted


class Scenery(Protocol):
    """A shop to show the demo on."""

    name: str
    timezone: str
    currency: str
    # Which issue model is trained anew at the end; None: those of both moments.
    retrained_moment: str | None

    @property
    def now(self) -> datetime:
        """The instant at which the demo begins."""

    @property
    def later(self) -> datetime:
        """The instant fourteen days later."""

    def describe(self) -> list[str]:
        """Say in a few sentences what is to be seen here."""

    def write_present(self, folder: Path) -> Path:
        """Write what is known at `now`; return the folder to import."""

    def write_later(self, folder: Path, contacts: Contacts) -> Path:
        """Write what becomes known until `later`, given who was written to; return the folder to import."""

    def people(self) -> list[Person]:
        """Return the customers who are in the shop's Slack."""

    def truth(self, orders: Collection[str]) -> Truth | None:
        """Return the true effect on some orders, where anybody can know it."""


class InventedShop:
    """The generated shop."""

    name, timezone, currency = SHOP_NAME, SHOP_TIMEZONE, CURRENCY
    retrained_moment: str | None = None

    def __init__(self, story: Story | None = None) -> None:
        self.story = story or Story()
        self._shop: Shop = play(self.story)

    @property
    def now(self) -> datetime:
        return self.story.now

    @property
    def later(self) -> datetime:
        return self.story.later

    def describe(self) -> list[str]:
        story = self.story
        return [
            f"{SHOP_NAME} is invented: kitchen goods and cordless vacuums, drawn from seed {story.seed}.",
            f"Planted: {story.late_chance:.0%} of the parcels from {story.route_seller.title()} to {story.route_region} are late,",
            f"lot {story.lot_faulty} of one vacuum does not charge, and customers ask what no article answers.",
            f"Planted too: a late parcel becomes a problem in {story.late_trouble:.0%} of cases when nobody writes,",
            f"and in {story.late_trouble_contacted:.0%} when somebody does. Aftercare is told none of this.",
        ]

    def write_present(self, folder: Path) -> Path:
        write_part(present(self._shop), folder / "present")
        return folder / "present"

    def write_later(self, folder: Path, contacts: Contacts) -> Path:
        write_part(later(self._shop, contacts), folder / "later", with_products=False)
        return folder / "later"

    def people(self) -> list[Person]:
        return [
            Person(id=p.slack_user_id, name=p.name, email=p.email, timezone=p.timezone)
            for p in self._shop.purchasers
            if p.slack_user_id
        ]

    def truth(self, orders: Collection[str]) -> Truth | None:
        wanted = set(orders)
        asked = [p for p in self._shop.purchases if p.id in wanted]
        if not asked:
            return None

        def share(treated: bool) -> float:
            return sum(had_trouble(p, treated=treated, after=self.now, until=self.later) for p in asked) / len(asked)

        return Truth(untouched=share(False), contacted=share(True))


class OwnFiles:
    """A shop's own canonical files, cut fourteen days before their end."""

    name, currency = "Your shop", "EUR"
    # A real shop may have hundreds of thousands of rows, and one model shows what there is to see.
    retrained_moment: str | None = "due"

    def __init__(self, source: Path, folder: Path) -> None:
        self._source = source
        self._data = data_dir.cut(source, folder)
        self.timezone = self._data.timezone

    @property
    def now(self) -> datetime:
        return self._data.now

    @property
    def later(self) -> datetime:
        return self._data.later

    def describe(self) -> list[str]:
        data = self._data
        return [
            f"The orders are those of {self._source}; the demo begins on {data.now:%d %B %Y}, fourteen days before their end,",
            "and imports only what was recorded by then. Names where there were none, all mail addresses (example.com)",
            f"and the Slack accounts of {len(data.slack_people)} customers are invented, so nobody real can be written to.",
            "What these customers did next is fixed: it cannot answer to the check-ins, so no effect of them is to be expected.",
        ]

    def write_present(self, folder: Path) -> Path:
        return self._data.present

    def write_later(self, folder: Path, contacts: Contacts) -> Path:
        return self._data.later_folder

    def people(self) -> list[Person]:
        return [Person(id=user, name=name, timezone=self.timezone) for user, name in self._data.slack_people]

    def truth(self, orders: Collection[str]) -> Truth | None:
        return None
