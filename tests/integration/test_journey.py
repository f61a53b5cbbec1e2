"""Where customers stand, and what became of what agents rejected, read from stored rows on both engines."""

from __future__ import annotations

from datetime import timedelta

import pytest

from bot.clock import ManualClock
from bot.config import Settings
from bot.decide.lifecycle import OutreachState
from bot.errors import NotFound
from bot.services.journey import JourneyBoard
from bot.services.planning.playbooks import load_playbooks
from bot.services.prediction.labelling import Labeller
from bot.services.review.desk import ReviewDesk
from bot.services.scoreboard import Scoreboard
from bot.settings import Target
from bot.store.database import Database
from bot.store.outreach import change_state
from tests.integration.shop_rows import add_customer, add_order, add_prediction, add_touchpoint, propose

DAY = timedelta(days=1)


def test_the_board_counts_stages_and_names_the_gaps(database: Database, clock: ManualClock) -> None:
    now = clock.now()
    with database.write() as connection:
        for key in ("waits", "delivered", "warned", "late", "ticket"):
            person = add_customer(connection, key, now - 60 * DAY)
            placed = now - (20 if key == "late" else 3) * DAY
            order = add_order(connection, f"o-{key}", person, placed)
            if key == "delivered":
                add_touchpoint(connection, "delivered", person, now - DAY, order)
            if key == "warned":
                add_prediction(connection, person, order, now - 2 * DAY, probability=0.2)
                add_prediction(connection, person, order, now - DAY, probability=0.9)
            if key == "ticket":
                add_touchpoint(connection, "ticket_opened", person, now - DAY / 2, order)
                # What will only be recorded later says nothing today.
                add_touchpoint(connection, "ticket_closed", person, now - DAY / 4, order, recorded_at=now + DAY)
    targets = {
        "stage.at_risk.share": Target(at_most=0.1), "stage.received.days": Target(at_most=2.0), "cheer": Target(at_least=1.0),
    }  # fmt: skip
    board = JourneyBoard(database, clock, Settings(journey=targets))
    lines = board.board().lines()
    stages = {line["stage"]: line for line in lines if line["row"] == "stage"}
    assert {name: line["customers"] for name, line in stages.items()} == {
        "awaiting": 1, "received": 1, "setting_up": 0, "using": 0, "at_risk": 3, "advocate": 0,
    }  # fmt: skip
    assert (stages["awaiting"]["median_days"], stages["received"]["median_days"], stages["at_risk"]["share"]) == (
        3.0,
        1.0,
        0.6,
    )
    assert stages["at_risk"]["experience"] < 0 < stages["received"]["experience"]
    assert [line["text"] for line in lines if line["row"] == "gap"] == [
        "stage.at_risk.share is 0.6, and at most 0.1 is wanted"
    ]
    assert [line["kpi"] for line in lines if line["row"] == "unknown"] == ["cheer"]
    ticket, warned = board.of_customer("ticket"), board.of_customer("warned")
    assert (ticket.line()["stage"], ticket.days, warned.position.since) == ("at_risk", 0.5, now - DAY)
    with pytest.raises(NotFound):
        board.of_customer("nobody")


def test_an_empty_shop_has_an_empty_board(sqlite_database: Database, clock: ManualClock) -> None:
    board = JourneyBoard(sqlite_database, clock, Settings()).board()
    assert (board.customers, board.gaps) == (0, [])


def test_rejected_check_ins_are_read_beside_approved_ones(database: Database, clock: ManualClock) -> None:
    desk = ReviewDesk(database, clock, Settings())
    now = clock.now()
    for number in range(3):
        one = propose(database, now, f"r{number}", band="high" if number else "medium")
        desk.reject(one.id, one.version, "cli:ana", "not_needed" if number else "wrong_customer")
        if number == 2:
            with database.write() as connection:
                add_touchpoint(connection, "complaint", one.customer_id, now + DAY, one.order_id)
    approved = desk.approve((one := propose(database, now, "a")).id, one.version, "cli:ana")
    propose(database, now, "nobody-decided")
    with database.write() as connection:
        assert change_state(connection, approved.id, approved.version, [approved.state], OutreachState.SENDING, now)
        version = approved.version + 1
        assert change_state(
            connection, approved.id, version, [OutreachState.SENDING], OutreachState.SENT, now, sent_at=now
        )
    board = Scoreboard(database, clock)
    assert board.read() == []
    clock.advance(46 * DAY)
    Labeller(database, clock, Settings(), load_playbooks(Settings())).label()
    lines = [one.line() for one in board.read()]
    assert [(one["group"], one["name"], one["decision"], one["n"], one["bad"]) for one in lines] == [
        ("all", "all", "rejected", 3, 1), ("all", "all", "approved", 1, 0),
        ("band", "high", "rejected", 2, 1), ("band", "high", "approved", 1, 0),
        ("band", "medium", "rejected", 1, 0), ("band", "medium", "approved", 0, 0),
        ("reason", "not_needed", "rejected", 2, 1), ("reason", "wrong_customer", "rejected", 1, 0),
    ]  # fmt: skip
    assert lines[0]["expected"] == 0.5
    assert lines[0]["verdict"] == "too few"
    assert lines[0]["text"] == "too few to say: 3 rejected and observed, at least 30 are needed"
    assert "although they were contacted" in lines[1]["text"]
