"""The invented shop: the same each time, and the planted story is really in what a shop would see."""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta
from pathlib import Path

import pytest

from bot.demo.files import write_part
from bot.demo.shop import Shop, play
from bot.demo.story import Story
from bot.demo.timeline import Contacts, Part, later, present

TROUBLE = {"ticket_opened", "complaint", "return_requested"}


@pytest.fixture(scope="module")
def shop() -> Shop:
    return play(Story())


@pytest.fixture(scope="module")
def known(shop: Shop) -> Part:
    return present(shop)


def troubled(part: Part) -> set[str]:
    return {purchase.id for _, purchase, happening in part.touchpoints if happening.kind in TROUBLE}


def test_the_same_story_gives_the_same_files_byte_for_byte(tmp_path: Path) -> None:
    for name in ("first", "second"):
        write_part(present(play(Story(customers=60))), tmp_path / name)
    files = sorted(file.name for file in (tmp_path / "first").iterdir())
    assert files == ["customers.csv", "order_lines.csv", "orders.csv", "products.csv", "touchpoints.csv"]
    for name in files:
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


def test_another_seed_gives_another_shop() -> None:
    assert play(Story(customers=20, seed=1)) != play(Story(customers=20, seed=2))


def test_the_shop_has_a_few_thousand_orders_over_nine_months(shop: Shop, known: Part) -> None:
    assert 3000 < len(known.purchases) < 6000
    span = max(p.placed_at for p in known.purchases) - min(p.placed_at for p in known.purchases)
    assert timedelta(days=200) < span < timedelta(days=280)


def test_nothing_recorded_after_now_is_in_the_present_and_everything_else_is_later(shop: Shop, known: Part) -> None:
    assert max(h.recorded_at for _, _, h in known.touchpoints) <= shop.story.now
    follows = later(shop, Contacts())
    assert all(shop.story.now < h.recorded_at <= shop.story.later for _, _, h in follows.touchpoints)
    keys = [key for key, _, _ in (*known.touchpoints, *follows.touchpoints)]
    assert len(keys) == len(set(keys))


def test_parcels_on_the_planted_route_are_late_far_more_often_than_others(shop: Shop, known: Part) -> None:
    regions = {purchaser.id: purchaser.region for purchaser in known.purchasers}
    late: dict[bool, list[bool]] = defaultdict(list)
    for purchase in known.purchases:
        if purchase.placed_at >= shop.story.route_since:
            planted = (
                purchase.lines[0].good.seller == shop.story.route_seller
                and regions[purchase.customer_id] == shop.story.route_region
            )
            arrived = next(h.occurred_at for h in purchase.common if h.kind == "delivered")
            late[planted].append(arrived.replace(tzinfo=None) > purchase.promised_on + timedelta(days=1))
    assert sum(late[True]) / len(late[True]) > 0.7
    assert sum(late[False]) / len(late[False]) < 0.1


def test_the_faulty_lot_makes_far_more_trouble_than_the_other_lots_of_its_product(shop: Shop, known: Part) -> None:
    bad = troubled(known)
    rates: dict[bool, list[bool]] = defaultdict(list)
    for purchase in known.purchases:
        lots = {line.lot for line in purchase.lines if line.good.id == shop.story.lot_product}
        if lots and shop.story.lot_since <= purchase.placed_at < shop.story.now - timedelta(days=15):
            rates[shop.story.lot_faulty in lots].append(purchase.id in bad)
    assert sum(rates[True]) / len(rates[True]) > 0.35
    assert sum(rates[False]) / len(rates[False]) < 0.25
    assert len(rates[True]) > 20


def test_customers_ask_what_the_knowledge_base_lacks(known: Part) -> None:
    texts = [h.text or "" for _, _, h in known.touchpoints if h.kind == "ticket_opened"]
    assert sum("110 volt" in text for text in texts) >= 3


def test_writing_to_customers_with_late_parcels_averts_trouble_by_about_the_stated_effect(shop: Shop) -> None:
    waiting = [
        p.id
        for p in shop.purchases
        if p.late and p.placed_at <= shop.story.now
        if next(h.recorded_at for h in p.common if h.kind == "delivered") > shop.story.now
        if not any(h.recorded_at <= shop.story.now for h in p.quiet)
    ]
    assert len(waiting) > 100
    nobody = troubled(later(shop, Contacts()))
    everybody = troubled(later(shop, Contacts(orders=frozenset(waiting))))
    averted = (len(nobody & set(waiting)) - len(everybody & set(waiting))) / len(waiting)
    assert averted == pytest.approx(shop.story.true_effect, abs=0.1)
    # Nobody else is touched by it.
    assert nobody - set(waiting) == everybody - set(waiting)


def test_a_trouble_that_has_begun_is_not_averted_by_writing(shop: Shop) -> None:
    begun = [
        p
        for p in shop.purchases
        if p.placed_at <= shop.story.now
        and any(h.kind == "ticket_opened" and h.recorded_at <= shop.story.now for h in p.quiet)
        and any(h.kind == "ticket_closed" and h.recorded_at > shop.story.now for h in p.quiet)
    ]
    assert begun
    follows = later(shop, Contacts(orders=frozenset(p.id for p in begun)))
    closed = {p.id for _, p, h in follows.touchpoints if h.kind == "ticket_closed"}
    assert {p.id for p in begun} <= closed


def test_only_a_few_customers_are_in_slack_and_no_mail_address_is_real(shop: Shop, known: Part) -> None:
    in_slack = [p for p in known.purchasers if p.slack_user_id]
    assert len(in_slack) == shop.story.slack_customers
    assert len({p.slack_user_id for p in in_slack}) == len(in_slack)
    assert all(p.email.isascii() and p.email.endswith("@example.com") for p in known.purchasers)
