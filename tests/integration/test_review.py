"""The review desk: one decision wins, on both engines, and the loser is told who won."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import pairwise
from threading import Barrier

import pytest

from bot.clock import ManualClock
from bot.config import Settings
from bot.decide.lifecycle import OutreachState
from bot.errors import AlreadyDecided, InputError, NotFound, Refused
from bot.services.review.desk import ClaimedByOther, DecidedByOther, ReviewDesk
from bot.store import audit
from bot.store.database import Database
from bot.store.decisions import decisions_of
from bot.store.enums import DecisionKind
from bot.store.outreach import Outreach, change_state, outreach
from tests.integration.shop_rows import propose

ANA, BEN = "slack:T1:UANA", "slack:T1:UBEN"


@pytest.fixture
def desk(database: Database, clock: ManualClock) -> ReviewDesk:
    return ReviewDesk(database, clock, Settings())


@pytest.fixture
def card(database: Database, clock: ManualClock) -> Outreach:
    return propose(database, clock.now())


def test_an_approval_goes_out_after_the_undo_window(desk: ReviewDesk, card: Outreach, clock: ManualClock) -> None:
    after = desk.approve(card.id, card.version, ANA)
    assert (after.state, after.version, after.decided_by) == (OutreachState.APPROVED, card.version + 1, ANA)
    assert after.not_before == clock.now() + timedelta(seconds=30)


def test_an_approval_does_not_bring_a_planned_time_forward(
    database: Database, desk: ReviewDesk, clock: ManualClock
) -> None:
    morning = clock.now() + timedelta(hours=9)
    card = propose(database, clock.now(), not_before=morning)
    assert desk.approve(card.id, card.version, ANA).not_before == morning


@pytest.mark.parametrize("rounds", range(3))
def test_eight_agents_at_once_make_one_decision(
    database: Database, desk: ReviewDesk, card: Outreach, rounds: int
) -> None:
    start = Barrier(8, timeout=30)

    def click(number: int) -> Outreach | DecidedByOther:
        actor = f"slack:T1:U{number}"
        start.wait()
        try:
            if number % 2:
                return desk.approve(card.id, card.version, actor)
            return desk.reject(card.id, card.version, actor, "not_needed")
        except DecidedByOther as lost:
            return lost

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(click, range(8)))
    winners = [result for result in results if isinstance(result, Outreach)]
    losers = [result for result in results if isinstance(result, DecidedByOther)]
    assert len(winners) == 1
    assert len(losers) == 7
    with database.read() as connection:
        decided = decisions_of(connection, card.id)
        assert audit.verify(connection) == []
        assert outreach(connection, card.id) == winners[0]
    assert [one.actor for one in decided] == [winners[0].decided_by]
    for lost in losers:
        assert lost.winner == winners[0].decided_by
        assert str(winners[0].decided_by) in str(lost)
        assert lost.kind in (DecisionKind.APPROVE, DecisionKind.REJECT)
        assert lost.exit_status == 4


def test_the_loser_hears_what_was_decided(desk: ReviewDesk, card: Outreach) -> None:
    desk.reject(card.id, card.version, ANA, "wrong_answer")
    with pytest.raises(AlreadyDecided, match=f"already rejected by {ANA}"):
        desk.approve(card.id, card.version, BEN)


def test_the_same_click_delivered_twice_is_one_click(database: Database, desk: ReviewDesk, card: Outreach) -> None:
    first = desk.approve(card.id, card.version, ANA, event_key="Ev1")
    assert desk.approve(card.id, card.version, ANA, event_key="Ev1") == first
    with database.read() as connection:
        assert len(decisions_of(connection, card.id)) == 1


def test_an_edit_sends_the_new_words_and_keeps_the_old_ones(
    database: Database, desk: ReviewDesk, card: Outreach
) -> None:
    after = desk.edit(card.id, card.version, ANA, "  Hello Maria, it comes on Friday.  ")
    assert after.state is OutreachState.APPROVED
    assert (after.draft, after.original_draft) == ("Hello Maria, it comes on Friday.", card.draft)
    with database.read() as connection:
        (decided,) = decisions_of(connection, card.id)
    assert (decided.draft_before, decided.draft_after) == (card.draft, "Hello Maria, it comes on Friday.")


@pytest.mark.parametrize("text", ["", "  \n ", "x" * 2901])
def test_an_edit_without_words_or_with_too_many_changes_nothing(desk: ReviewDesk, card: Outreach, text: str) -> None:
    with pytest.raises(InputError):
        desk.edit(card.id, card.version, ANA, text)
    assert desk.card(card.id).outreach == card


def test_an_edit_on_an_old_version_changes_nothing(desk: ReviewDesk, card: Outreach) -> None:
    claimed = desk.claim(card.id, card.version, ANA)
    with pytest.raises(AlreadyDecided, match=f"already claimed by {ANA}"):
        desk.edit(card.id, card.version, ANA, "Other words")
    assert desk.edit(card.id, claimed.version, ANA, "Other words").draft == "Other words"


def test_a_rejection_needs_a_reason_from_the_list(desk: ReviewDesk, card: Outreach) -> None:
    with pytest.raises(InputError, match="not_needed, wrong_customer"):
        desk.reject(card.id, card.version, ANA, "because")
    assert desk.reject(card.id, card.version, ANA, "other").state is OutreachState.REJECTED


def test_undo_takes_an_approval_back_until_it_may_leave(desk: ReviewDesk, card: Outreach, clock: ManualClock) -> None:
    approved = desk.approve(card.id, card.version, ANA)
    clock.advance(timedelta(seconds=29))
    back = desk.undo(card.id, approved.version, BEN)
    assert (back.state, back.decided_by) == (OutreachState.SUGGESTED, None)
    again = desk.approve(card.id, back.version, BEN)
    clock.advance(timedelta(seconds=30))
    with pytest.raises(Refused, match="on its way"):
        desk.undo(card.id, again.version, BEN)


def test_undo_takes_a_rejection_back_only_within_the_window(
    desk: ReviewDesk, card: Outreach, clock: ManualClock
) -> None:
    rejected = desk.reject(card.id, card.version, ANA, "other")
    assert desk.undo(card.id, rejected.version, ANA).state is OutreachState.SUGGESTED
    rejected = desk.reject(card.id, rejected.version + 1, ANA, "other")
    clock.advance(timedelta(seconds=31))
    with pytest.raises(Refused, match="30 seconds"):
        desk.undo(card.id, rejected.version, ANA)


def test_a_claim_keeps_others_out_for_ten_minutes(desk: ReviewDesk, card: Outreach, clock: ManualClock) -> None:
    claimed = desk.claim(card.id, card.version, ANA)
    decisions: list[Callable[[], Outreach]] = [
        lambda: desk.approve(card.id, claimed.version, BEN),
        lambda: desk.reject(card.id, claimed.version, BEN, "other"),
        lambda: desk.claim(card.id, claimed.version, BEN),
        lambda: desk.snooze(card.id, claimed.version, BEN, clock.now() + timedelta(hours=1)),
    ]
    for decision in decisions:
        with pytest.raises(ClaimedByOther, match=ANA):
            decision()
    clock.advance(timedelta(minutes=10))
    assert desk.approve(card.id, claimed.version, BEN).decided_by == BEN


def test_who_claimed_it_may_decide(desk: ReviewDesk, card: Outreach) -> None:
    claimed = desk.claim(card.id, card.version, ANA)
    approved = desk.approve(card.id, claimed.version, ANA)
    assert (approved.state, approved.claimed_by) == (OutreachState.APPROVED, None)


def test_a_snooze_lies_in_the_future_and_before_the_expiry(
    desk: ReviewDesk, card: Outreach, clock: ManualClock
) -> None:
    with pytest.raises(InputError, match="past"):
        desk.snooze(card.id, card.version, ANA, clock.now())
    with pytest.raises(Refused, match="expires"):
        desk.snooze(card.id, card.version, ANA, card.expires_at)
    until = clock.now() + timedelta(hours=5)
    snoozed = desk.snooze(card.id, card.version, ANA, until)
    assert (snoozed.state, snoozed.snoozed_until) == (OutreachState.SNOOZED, until)
    assert desk.approve(card.id, snoozed.version, BEN).state is OutreachState.APPROVED


def test_an_expired_check_in_cannot_be_approved(desk: ReviewDesk, card: Outreach, clock: ManualClock) -> None:
    clock.set(card.expires_at)
    with pytest.raises(Refused, match="expired"):
        desk.approve(card.id, card.version, ANA)


def test_a_failed_one_can_be_tried_again_by_hand(
    database: Database, desk: ReviewDesk, card: Outreach, clock: ManualClock
) -> None:
    approved = desk.approve(card.id, card.version, ANA)
    with pytest.raises(AlreadyDecided):
        desk.retry(card.id, approved.version, ANA)  # nothing has failed yet
    with database.write() as connection:
        states = (OutreachState.APPROVED, OutreachState.SENDING, OutreachState.FAILED)
        for version, (source, target) in enumerate(pairwise(states), approved.version):
            assert change_state(connection, card.id, version, [source], target, clock.now(), attempts=6)
    again = desk.retry(card.id, approved.version + 2, BEN)
    assert (again.state, again.not_before, again.attempts) == (OutreachState.APPROVED, clock.now(), 6)


def test_an_unknown_id_is_not_found(desk: ReviewDesk) -> None:
    with pytest.raises(NotFound, match="no outreach 4711"):
        desk.approve(4711, 1, ANA)


def test_the_queue_shows_urgent_ones_first_and_only_what_waits(
    database: Database, desk: ReviewDesk, clock: ManualClock
) -> None:
    calm = propose(database, clock.now(), "calm", urgent=False, probability=0.9)
    mild = propose(database, clock.now(), "mild", probability=0.4)
    grave = propose(database, clock.now(), "grave", probability=0.8)
    gone = propose(database, clock.now(), "gone")
    desk.reject(gone.id, gone.version, ANA, "other")
    assert [one.id for one in desk.queue()] == [grave.id, mild.id, calm.id]
    assert [one.id for one in desk.queue(limit=1, offset=1)] == [mild.id]


def test_a_card_says_who_why_and_when_but_never_an_address_or_the_arm(desk: ReviewDesk, card: Outreach) -> None:
    shown = desk.card(card.id)
    assert (shown.customer_first_name, shown.order_key) == ("Maria", "o-c1")
    assert shown.reasons[0].text == "The parcel is three days late."
    assert shown.predicted_issue == "a problem with this order within 45 days"
    assert shown.local_send_time == "Tue 10 Mar 13:00 (Europe/Berlin)"
    assert shown.status_line == ""
    assert "@" not in repr(shown)
    assert "treatment" not in repr(shown)


def test_every_action_is_in_the_audit_log(database: Database, desk: ReviewDesk, card: Outreach) -> None:
    approved = desk.approve(card.id, card.version, ANA)
    desk.undo(card.id, approved.version, BEN)
    with database.read() as connection:
        rows = connection.exec_driver_sql("SELECT action, actor FROM audit ORDER BY id").all()
        assert audit.verify(connection) == []
    assert [tuple(row) for row in rows] == [("outreach.approve", ANA), ("outreach.undo", BEN)]
