"""Plays the invented shop: purchasers, parcels and troubles, drawn from the story's seed and nothing else.

Every order carries both of its futures, the one in which nobody writes to the customer and the one in which
somebody does, under the same luck. Which of them comes true is asked for by `bot.demo.timeline`; what is written
to files by `bot.demo.files`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

import numpy as np
from numpy.random import Generator

from bot.demo.story import (
    FIRST_NAMES,
    GOALS,
    GOODS,
    LAST_NAMES,
    REGION_BY_NAME,
    REGIONS,
    SHOP_TIMEZONE,
    TROUBLE_WORDS,
    Good,
    Story,
)

ZONE = ZoneInfo(SHOP_TIMEZONE)


@dataclass(frozen=True, kw_only=True)
class Happening:
    """One touchpoint of the invented shop."""

    kind: str
    occurred_at: datetime
    recorded_at: datetime
    value: float | None = None
    text: str | None = None
    channel: str | None = None


@dataclass(frozen=True, kw_only=True)
class Purchaser:
    """A customer; `slack_user_id` only for the few who are in the shop's Slack."""

    id: str
    name: str
    email: str
    region: str
    city: str
    created_at: datetime
    slack_user_id: str | None = None

    @property
    def timezone(self) -> str:
        return REGION_BY_NAME[self.region].timezone

    @property
    def country(self) -> str:
        return REGION_BY_NAME[self.region].country


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of an order."""

    good: Good
    quantity: int
    lot: str


@dataclass(frozen=True, kw_only=True)
class Purchase:
    """One order with both of its futures.

    Attributes
    ----------
    common : tuple of Happening
        What happens whether or not anybody writes.
    quiet, contacted : tuple of Happening
        What happens besides when nobody writes, and when somebody does in time.
    only : {"", "quiet", "contacted"}
        Where not empty: the order itself is placed in that future only.
    """

    id: str
    customer_id: str
    placed_at: datetime
    promised_on: datetime
    lines: tuple[Line, ...]
    late: bool
    faulty: bool
    common: tuple[Happening, ...]
    quiet: tuple[Happening, ...]
    contacted: tuple[Happening, ...]
    only: str = ""


@dataclass(frozen=True, kw_only=True)
class Shop:
    """The whole world of a story, both futures in it."""

    story: Story
    purchasers: tuple[Purchaser, ...]
    purchases: tuple[Purchase, ...]


def play(story: Story) -> Shop:
    """Draw the shop of a story; the same story gives the same shop."""
    generator = np.random.default_rng(story.seed)
    purchasers: list[Purchaser] = []
    purchases: list[Purchase] = []
    for number in range(story.customers):
        purchaser, times = _purchaser(story, number, generator)
        purchasers.append(purchaser)
        in_sale = number < round(story.customers * story.sale_share)
        for position, (placed_at, only) in enumerate(times):
            lines = _basket(story, placed_at, generator, sale=in_sale and position == 0)
            key = f"{purchaser.id.replace('C', 'O')}-{position + 1}"
            purchases.append(_purchase(story, key, purchaser, placed_at, lines, only, generator))
    purchases.sort(key=lambda purchase: (purchase.placed_at, purchase.id))
    return Shop(
        story=story, purchasers=_with_slack(story, purchasers, purchases, generator), purchases=tuple(purchases)
    )


def _purchaser(story: Story, number: int, generator: Generator) -> tuple[Purchaser, list[tuple[datetime, str]]]:
    """Draw a customer and the instants of their orders, each with the future that it belongs to ("" = both)."""
    shares = np.array([region.share for region in REGIONS])
    region = REGIONS[int(generator.choice(len(REGIONS), p=shares / shares.sum()))]
    first = FIRST_NAMES[int(generator.integers(len(FIRST_NAMES)))]
    last = LAST_NAMES[int(generator.integers(len(LAST_NAMES)))]
    if number < round(story.customers * story.sale_share):
        days_ago = float(generator.uniform(story.sale_days[1], story.sale_days[0]))
    elif generator.random() < 0.06:  # comes only after the demo's present
        days_ago = -float(generator.uniform(0.0, story.future_days))
    else:  # the shop grows: later weeks bring more new customers
        days_ago = story.days * (1 - float(np.sqrt(generator.uniform(0.03, 1.0))))
    first_at = _by_day(story.now - timedelta(days=days_ago), generator)
    times = [(first_at, "")]
    # Each customer has a pace of their own and may leave after any order, so that leaving can be foreseen.
    pace = float(generator.gamma(3.0, 8.0)) + 4.0
    leaves = float(generator.beta(1.0, 4.0))
    while generator.random() > leaves:
        following = times[-1][0] + timedelta(days=float(generator.gamma(2.0, pace / 2.0)) + 1.0)
        if following >= story.end:
            break
        times.append((_by_day(following, generator), ""))
    luck = float(generator.random())
    back_at = _by_day(story.now + timedelta(days=float(generator.uniform(1.0, 12.0))), generator)
    if times[-1][0] < story.now - timedelta(days=story.quiet_days):
        if luck < story.return_chance:
            times.append((back_at, ""))
        elif luck < story.return_chance_contacted:
            times.append((back_at, "contacted"))
    identity = f"C{number + 1:05d}"
    ascii_last = last.lower().replace(" ", "").replace("á", "a")
    return Purchaser(
        id=identity,
        name=f"{first} {last}",
        email=f"{first.lower()}.{ascii_last}.{number + 1}@example.com",
        region=region.name,
        city=region.cities[int(generator.integers(len(region.cities)))],
        created_at=first_at - timedelta(minutes=7),
    ), times


def _by_day(instant: datetime, generator: Generator) -> datetime:
    """Move an instant into the hours at which people shop, on the same local date, to the second."""
    local = instant.astimezone(ZONE)
    hour = float(np.clip(generator.normal(15.0, 3.5), 6.0, 23.0))
    moved = datetime.combine(local.date(), time(0), ZONE) + timedelta(hours=hour)
    return moved.astimezone(instant.tzinfo).replace(microsecond=0)


def _basket(story: Story, placed_at: datetime, generator: Generator, *, sale: bool) -> tuple[Line, ...]:
    offered = [good for good in GOODS if good.seller == story.route_seller]
    if not (sale and generator.random() < story.sale_goods):
        offered = list(GOODS)
    shares = np.array([good.share for good in offered])
    first = offered[int(generator.choice(len(offered), p=shares / shares.sum()))]
    goods = [first]
    others = [good for good in GOODS if good.seller == first.seller and good.id != first.id]
    if generator.random() < 0.25:
        goods.append(others[int(generator.integers(len(others)))])
    lines = []
    for good in goods:
        lot = f"L{placed_at - timedelta(days=30):%y%m}A"
        if good.id == story.lot_product and placed_at >= story.lot_since and generator.random() < story.lot_share:
            lot = story.lot_faulty
        lines.append(Line(good=good, quantity=1 + int(generator.random() < 0.08), lot=lot))
    return tuple(lines)


def _purchase(
    story: Story,
    key: str,
    purchaser: Purchaser,
    placed_at: datetime,
    lines: tuple[Line, ...],
    only: str,
    generator: Generator,
) -> Purchase:
    route = lines[0].good.seller == story.route_seller and purchaser.region == story.route_region
    on_route = route and placed_at >= story.route_since
    late = bool(generator.random() < (story.late_chance if on_route else story.late_chance_elsewhere))
    faulty = any(line.lot == story.lot_faulty for line in lines)
    promised_on = datetime.combine(placed_at.astimezone(ZONE).date() + timedelta(days=story.promise_days), time(0))
    due = (promised_on + timedelta(days=1)).replace(tzinfo=ZONE).astimezone(placed_at.tzinfo)
    common, delivered = _parcel(placed_at, due, late, generator)
    common += _first_use(lines, delivered, faulty, generator)
    own = max(line.good.trouble for line in lines)
    if late:
        chances, topic, begins = (story.late_trouble, story.late_trouble_contacted), "late", due
    elif faulty:
        chances, topic, begins = (story.lot_trouble, story.lot_trouble), "lot", delivered
    else:
        chances, topic, begins = (own, own * story.setup_effect), "plain", delivered
        if generator.random() < story.gap_share:
            topic = "gap"
    luck = float(generator.random())
    starts = begins + timedelta(days=float(generator.uniform(0.6, 8.0)))
    trouble = _trouble(starts, topic, generator)
    survey = _Survey.draw(delivered, generator)
    quiet, contacted = (
        (*(trouble if luck < chance else ()), *survey.happenings(trouble=luck < chance)) for chance in chances
    )
    return Purchase(
        id=key,
        customer_id=purchaser.id,
        placed_at=placed_at,
        promised_on=promised_on,
        lines=lines,
        late=late,
        faulty=faulty,
        common=tuple(common),
        quiet=quiet,
        contacted=contacted,
        only=only,
    )


def _happening(
    kind: str, at: datetime, lag_hours: float = 0.0, value: float | None = None, text: str | None = None
) -> Happening:
    occurred = at.replace(microsecond=0)
    recorded = (occurred + timedelta(hours=lag_hours)).replace(microsecond=0)
    channel = "email" if kind in ("ticket_opened", "ticket_closed", "complaint") else None
    return Happening(kind=kind, occurred_at=occurred, recorded_at=recorded, value=value, text=text, channel=channel)


def _parcel(placed_at: datetime, due: datetime, late: bool, generator: Generator) -> tuple[list[Happening], datetime]:
    """Send one parcel; return what is heard of it and when it arrives."""
    paid = placed_at + timedelta(minutes=float(generator.uniform(1, 90)))
    shipped = placed_at + timedelta(days=float(generator.uniform(0.6, 1.9)))
    if late:
        delivered = due + timedelta(days=float(generator.uniform(1.5, 11.0)))
    else:
        delivered = min(shipped + timedelta(days=float(generator.lognormal(0.75, 0.3))), due - timedelta(hours=5))
    happened = [
        _happening("paid", paid),
        _happening("shipped", shipped, lag_hours=float(generator.uniform(0.1, 3.0))),
        _happening("out_for_delivery", delivered - timedelta(hours=4), lag_hours=0.2),
        _happening("delivered", delivered, lag_hours=float(generator.uniform(0.05, 2.0))),
    ]
    if late and generator.random() < 0.5:
        stuck = shipped + timedelta(days=float(generator.uniform(0.8, 2.0)))
        happened.append(_happening("exception", stuck, lag_hours=2.0, text="Delayed in transit at Verona"))
    return happened, delivered


def _first_use(lines: tuple[Line, ...], delivered: datetime, faulty: bool, generator: Generator) -> list[Happening]:
    happened = []
    pairs = any(line.good.pairs for line in lines)
    if pairs and generator.random() < (0.55 if faulty else 0.72):
        activated = delivered + timedelta(days=float(generator.exponential(1.1)) + 0.1)
        happened.append(_happening("activated", activated))
        for _ in range(int(generator.integers(0, 3 if faulty else 6))):
            activated += timedelta(days=float(generator.exponential(3.0)) + 0.2)
            happened.append(_happening("used", activated))
    if generator.random() < 0.08:
        goal = GOALS[int(generator.integers(len(GOALS)))]
        happened.append(_happening("goal", delivered + timedelta(hours=2), text=goal))
    return happened


def _trouble(starts: datetime, topic: str, generator: Generator) -> list[Happening]:
    words = TROUBLE_WORDS[topic]
    text = words[int(generator.integers(len(words)))]
    way = float(generator.random())
    ends = starts + timedelta(days=float(generator.uniform(0.5, 3.0)))
    if way < 0.72 or topic == "gap":
        return [_happening("ticket_opened", starts, text=text), _happening("ticket_closed", ends)]
    if way < 0.8:
        return [_happening("complaint", starts, text=text)]
    refunded = ends + timedelta(days=6)
    return [_happening("return_requested", starts, text=text), _happening("refunded", refunded)]


@dataclass(frozen=True, kw_only=True)
class _Survey:
    """What a customer answers by whether they had trouble; the luck is the same either way."""

    asked_at: datetime
    answered_at: datetime
    answers: bool
    luck: float

    @classmethod
    def draw(cls, delivered: datetime, generator: Generator) -> _Survey:
        asked_at = delivered + timedelta(days=4)
        return cls(
            asked_at=asked_at,
            answered_at=asked_at + timedelta(days=float(generator.exponential(2.0))),
            answers=bool(generator.random() < 0.42),
            luck=float(generator.random()),
        )

    def happenings(self, *, trouble: bool) -> list[Happening]:
        asked = [_happening("survey_sent", self.asked_at)]
        if not self.answers:
            return asked
        if trouble:
            stars = 1 if self.luck < 0.45 else 2 if self.luck < 0.8 else 3
        else:
            stars = 5 if self.luck < 0.66 else 4 if self.luck < 0.92 else 3
        return [*asked, _happening("review", self.answered_at, value=float(stars))]


def _with_slack(
    story: Story, purchasers: list[Purchaser], purchases: list[Purchase], generator: Generator
) -> tuple[Purchaser, ...]:
    """Give a few of the customers whose parcels are on their way, or have just come, a place in the shop's Slack."""
    open_now = [p for p in purchases if p.placed_at <= story.now and not p.only and _still_open(story, p)]
    late = [p.customer_id for p in open_now if p.late]
    arrived = [p.customer_id for p in open_now if not p.late]
    chosen: dict[str, str] = {}
    # Two of three wait for a late parcel: those are the ones the plan will want to write to.
    for customers, limit in ((late, 2 * story.slack_customers // 3), (arrived, story.slack_customers)):
        for index in generator.permutation(len(customers)):
            if len(chosen) < limit:
                chosen.setdefault(customers[int(index)], f"U0{customers[int(index)]}")
    return tuple(replace(purchaser, slack_user_id=chosen.get(purchaser.id)) for purchaser in purchasers)


def _still_open(story: Story, purchase: Purchase) -> bool:
    """Say whether a check-in could still help: late and nobody has complained, or just delivered."""
    delivered = next(h.recorded_at for h in purchase.common if h.kind == "delivered")
    if any(h.recorded_at <= story.now for h in purchase.quiet):
        return False
    return delivered > story.now if purchase.late else timedelta(0) < story.now - delivered < timedelta(days=2)
