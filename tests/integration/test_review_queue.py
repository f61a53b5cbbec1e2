"""The queue as agents look through it, and what may be approved together, on both engines."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from bot.clock import ManualClock
from bot.decide.lifecycle import OutreachState
from bot.services.delivery.stopping import Stopping
from bot.services.planning.playbooks import load_playbooks
from bot.services.review.background import background_of
from bot.services.review.desk import ReviewDesk
from bot.services.review.low_risk import Why
from bot.services.review.queue import AT_ONCE, Owner, QueueFilter, ReviewQueue
from bot.services.review.standing import Standing
from bot.settings import Settings
from bot.store.database import Database
from bot.store.decisions import decisions_of
from bot.store.outreach import Outreach
from bot.store.planning import NewRefusal, store_refusals
from bot.store.standing import switches_since
from tests.integration.shop_rows import add_prediction, add_touchpoint, insert, propose

ADA, BEN = "slack:T1:U0ADA", "slack:T1:U0BEN"
SETTINGS = Settings()
PLAYBOOKS = load_playbooks(SETTINGS)
QUIET = {"playbook": "quiet_customer", "urgent": False, "band": "medium", "probability": 0.2}
EVERYTHING = QueueFilter()


@pytest.fixture
def review(database: Database, clock: ManualClock) -> ReviewDesk:
    return ReviewDesk(database, clock, SETTINGS)


@pytest.fixture
def queue(database: Database, clock: ManualClock, review: ReviewDesk) -> ReviewQueue:
    return ReviewQueue(database, clock, review, lambda: PLAYBOOKS)


def ids(queue: ReviewQueue, **wanted: Any) -> list[int]:
    return [card.outreach.id for card in queue.page(QueueFilter(**wanted), ADA, 1, 50).cards]


def test_pages_and_filters_show_what_waits_and_nothing_else(
    database: Database, clock: ManualClock, review: ReviewDesk, queue: ReviewQueue
) -> None:
    now = clock.now()
    urgent = propose(database, now, key="u", probability=0.1)
    quiet = [propose(database, now, key=f"q{n}", **QUIET) for n in range(3)]
    review.reject(propose(database, now, key="r").id, 1, ADA, "other")
    propose(database, now, key="x", expires_at=now)  # over, and not swept yet
    review.claim(quiet[0].id, 1, ADA)
    review.claim(quiet[1].id, 1, BEN)
    assert ids(queue) == [urgent.id, *(one.id for one in quiet)]
    assert ids(queue, urgent=True) == [urgent.id]
    assert ids(queue, urgent=False, owner=Owner.MINE) == [quiet[0].id]
    assert ids(queue, owner=Owner.NOBODY) == [urgent.id, quiet[2].id]
    assert ids(queue, playbook="delivery_at_risk") == [urgent.id]
    assert ids(queue, band="low") == []
    last = queue.page(EVERYTHING, ADA, 9, 3)
    assert (last.number, last.pages, last.total, len(last.cards)) == (2, 2, 4, 1)
    assert queue.playbooks() == {"delivery_at_risk": ("Delivery at risk", 1), "quiet_customer": ("Quiet customer", 3)}
    clock.advance(timedelta(minutes=11))  # claims are over
    assert ids(queue, owner=Owner.MINE) == []


def test_next_prefers_what_nobody_has_claimed_then_mine_then_theirs(
    database: Database, clock: ManualClock, review: ReviewDesk, queue: ReviewQueue
) -> None:
    now = clock.now()
    assert queue.next(ADA) is None
    theirs = propose(database, now, key="a", probability=0.9)
    mine = propose(database, now, key="b", probability=0.8)
    free = propose(database, now, key="c", **QUIET)
    review.claim(theirs.id, 1, BEN)
    review.claim(mine.id, 1, ADA)
    found = []
    for _ in range(3):
        card = queue.next(ADA)
        assert card is not None
        found.append(card.outreach.id)
        review.reject(card.outreach.id, card.outreach.version, card.outreach.claimed_by or ADA, "other")
    assert found == [free.id, mine.id, theirs.id]


def _why(queue: ReviewQueue, one: Outreach) -> Why | None:
    found = queue.sort(EVERYTHING, ADA)
    reasons = {other.id: why for other, why in found.others}
    assert (one.id in reasons) != (one.id in {low.id for low in found.low_risk})
    return reasons.get(one.id)


def test_what_speaks_against_approving_unread_is_read_from_the_shop(
    database: Database, clock: ManualClock, review: ReviewDesk, queue: ReviewQueue
) -> None:
    now = clock.now()
    fine = propose(database, now, key="fine", **QUIET)
    claimed = propose(database, now, key="claimed", **QUIET)
    ticket = propose(database, now, key="ticket", **QUIET)
    wrote = propose(database, now, key="wrote", **QUIET)
    human = propose(database, now, key="human", **QUIET)
    edited = propose(database, now, key="edited", **QUIET)
    loud = propose(database, now, key="loud", **{**QUIET, "draft": "Hello Maria, BUY it NOW at a discount!"})
    unknown = propose(database, now, key="unknown", **{**QUIET, "playbook": "gone"})
    severe = propose(database, now, key="severe", urgent=False)
    urgent = propose(database, now, key="urgent")
    review.claim(claimed.id, 1, BEN)
    with database.write() as connection:
        add_touchpoint(connection, "ticket_opened", ticket.customer_id, now)
        for one, state in ((wrote, "bot"), (human, "human")):
            conversation = insert(
                connection, "conversations", channel="slack", thread=f"D{one.id}", customer_id=one.customer_id, state=state,
                clarifications=0, created_at=now, updated_at=now,
            )  # fmt: skip
            insert(
                connection, "utterances", conversation_id=conversation, source="slack", external_id=str(one.id),
                direction="in", author="customer", text="Hello", occurred_at=now, recorded_at=now,
            )  # fmt: skip
    review.edit(edited.id, 1, BEN, "Hello Maria, other words.")
    review.undo(edited.id, 2, BEN)
    assert [_why(queue, one) for one in (fine, claimed, ticket, wrote, human)] == [
        None, Why.CLAIMED, Why.OPEN_ISSUE, Why.WROTE_LATELY, Why.WITH_A_HUMAN,
    ]  # fmt: skip
    assert [_why(queue, one) for one in (edited, loud, unknown, severe, urgent)] == [
        Why.EDITED, Why.TONE, Why.UNKNOWN_PLAYBOOK, Why.SEVERE, Why.URGENT,
    ]  # fmt: skip
    clock.advance(timedelta(days=2))  # still within the week
    assert _why(queue, wrote) is Why.WROTE_LATELY


def test_approving_together_overwrites_nothing_and_twice_is_once(
    database: Database, clock: ManualClock, review: ReviewDesk, queue: ReviewQueue
) -> None:
    now = clock.now()
    fine, taken, changed = (propose(database, now, key=key, **QUIET) for key in ("a", "b", "c"))
    chosen = [(one.id, one.version) for one in queue.sort(EVERYTHING, ADA).low_risk]
    assert [one for one, _ in chosen] == [fine.id, taken.id, changed.id]
    review.reject(taken.id, 1, BEN, "not_needed")  # between the recap and the click
    with database.write() as connection:
        add_touchpoint(connection, "complaint", changed.customer_id, now)
    result = queue.approve_together([*chosen, (999, 1)], ADA, "submission:1")
    assert list(result.done) == [fine.id]
    assert [one for one, _ in result.refused] == [taken.id, changed.id, 999]
    said = dict(result.refused)
    assert f"already rejected by {BEN}" in said[taken.id]
    assert "open issue" in said[changed.id]
    again = queue.approve_together(chosen, ADA, "submission:1")
    assert list(again.done) == [fine.id]
    assert review.card(taken.id).outreach.state is OutreachState.REJECTED
    assert review.card(changed.id).outreach.state is OutreachState.SUGGESTED
    with database.read() as connection:
        (decided,) = decisions_of(connection, fine.id)
    assert (decided.actor, decided.event_key) == (ADA, f"submission:1:{fine.id}")


def test_more_than_forty_follow_after_the_first(sqlite_database: Database, clock: ManualClock) -> None:
    queue = ReviewQueue(sqlite_database, clock, ReviewDesk(sqlite_database, clock, SETTINGS), lambda: PLAYBOOKS)
    for n in range(AT_ONCE + 2):
        propose(sqlite_database, clock.now(), key=f"c{n}", **QUIET)
    found = queue.sort(EVERYTHING, ADA)
    assert (len(found.low_risk), found.more) == (AT_ONCE, 2)


def test_numbers_count_what_stands_and_the_stop_says_what_waits(
    database: Database, clock: ManualClock, review: ReviewDesk
) -> None:
    standing, stopping = Standing(database, clock), Stopping(database, clock)
    proposed = [propose(database, clock.now(), key=f"c{n}") for n in range(5)]
    clock.advance(timedelta(minutes=10))
    review.approve(proposed[0].id, 1, ADA)
    review.undo(proposed[0].id, 2, BEN)  # taken back: it does not count
    review.edit(proposed[1].id, 1, ADA, "Hello Maria.")
    review.reject(proposed[2].id, 1, ADA, "other")
    review.approve(proposed[3].id, 1, BEN)
    numbers = standing.of_agent(ADA, SETTINGS.shop.zone)
    assert (numbers.today, numbers.week, numbers.edited, numbers.rejected) == (2, 2, 0.5, 0.5)
    assert numbers.median_minutes == 10
    queue = standing.of_queue()
    assert (queue.waiting, queue.urgent, queue.claimed, queue.ending) == (2, 2, 0, 0)
    clock.advance(timedelta(minutes=1))
    stopping.stop(ADA, "wrong price")
    sending = standing.of_sending()
    assert (sending.stopped_by, sending.why, sending.approved, sending.due) == (ADA, "wrong price", 2, 2)
    stopping.resume("cli:root")
    assert standing.of_sending().stopped_at is None
    with database.read() as connection:
        found = switches_since(connection, clock.now() - timedelta(days=1))
        assert switches_since(connection, clock.now() + timedelta(seconds=1)) == []
    assert [(one.actor, one.stopped, one.why) for one in found] == [(ADA, True, "wrong price"), ("cli:root", False, "")]
    clock.advance(timedelta(days=8))
    assert standing.of_agent(ADA, SETTINGS.shop.zone).week == 0


def test_the_background_of_a_card_tells_all_but_the_arm(
    database: Database, clock: ManualClock, review: ReviewDesk
) -> None:
    now = clock.now()
    proposed = propose(database, now)
    with database.write() as connection:
        for n in range(14):
            add_touchpoint(connection, "used", proposed.customer_id, now - timedelta(days=n + 1), proposed.order_id)
        add_touchpoint(connection, "complaint", proposed.customer_id, now, None, text="It is broken", value=None)
        refusal = {
            "customer_id": proposed.customer_id, "order_id": None, "playbook": "quiet_customer", "step": "first",
            "assignment_id": None, "until": now + timedelta(days=3), "local_date": "2026-03-09",
        }  # fmt: skip
        store_refusals(
            connection,
            [
                NewRefusal(**refusal, decision="defer", reason="cap_week", dedupe_key="1"),
                NewRefusal(**refusal, decision="refuse", reason="holdout", dedupe_key="2"),
            ],
            now - timedelta(days=1),
        )
    behind = background_of(database, clock, SETTINGS, review.card(proposed.id))
    assert behind.clears is not None  # 50% less 21 points lies below the 35% of the band
    assert behind.clears[0] == "The parcel is three days late."
    assert behind.clears[1] == pytest.approx(0.29)
    assert (len(behind.happened), behind.earlier) == (12, 4)
    last = behind.happened[-1]
    assert (last.kind, last.words, last.this_order) == ("complaint", "It is broken", False)
    assert behind.allowed == "a ticket, complaint or return of theirs is open"
    (ruled,) = behind.ruled  # who was drawn into the holdout is not told
    assert (ruled.playbook, ruled.deferred) == ("quiet_customer", True)
    assert "enough within a week" in ruled.words


@pytest.mark.parametrize(
    ("probability", "effect", "clears"), [(0.5, 0.1, False), (0.5, 0.16, True), (0.2, 0.04, False), (0.2, 0.06, True)]
)
def test_the_fact_that_clears_the_flag_brings_it_below_its_own_band(
    sqlite_database: Database, clock: ManualClock, probability: float, effect: float, clears: bool
) -> None:
    review = ReviewDesk(sqlite_database, clock, SETTINGS)
    proposed = propose(sqlite_database, clock.now())
    reasons = [{"feature": "late", "text": "Late.", "effect": effect}]
    with sqlite_database.write() as connection:
        later = clock.now() + timedelta(minutes=1)
        prediction = add_prediction(
            connection, proposed.customer_id, proposed.order_id, later, probability, reasons=reasons
        )
        connection.exec_driver_sql("UPDATE outreaches SET prediction_id = ?", (prediction,))
    behind = background_of(sqlite_database, clock, SETTINGS, review.card(proposed.id))
    assert (behind.clears is not None) == clears
