"""What a claim reads by one statement is what the planner reads by several, on both engines."""

from __future__ import annotations

from datetime import timedelta
from itertools import product

from bot.decide.contact import Purpose, standing
from bot.store.consent import consent_of, is_suppressed, record_consent, suppress
from bot.store.database import Connection, Database
from bot.store.delivery import settle_sent
from bot.store.journeys import locked, open_issues
from bot.store.permission import permissions
from tests.integration.delivery_world import NOON, Shop, fails
from tests.integration.shop_rows import add_customer, add_touchpoint, insert

DAY = timedelta(days=1)
HISTORIES = [
    [],
    [("ticket_opened", 3)],
    [("ticket_opened", 3), ("ticket_closed", 2)],
    [("complaint", 40)],
    [("complaint", 5), ("delivered", 4)],
    [("return_requested", 9), ("refunded", 9)],
]
WORDS = [[], [("check_ins", True)], [("check_ins", True), ("check_ins", False)], [("ads", False), ("check_ins", True)]]


def people_of_all_kinds(connection: Connection) -> dict[int, str | None]:
    found: dict[int, str | None] = {}
    for number, (history, words) in enumerate(product(HISTORIES, WORDS)):
        one = add_customer(connection, f"c{number}", NOON - 60 * DAY)
        for place, (kind, days) in enumerate(history):
            at = NOON - days * DAY + timedelta(minutes=place)
            add_touchpoint(connection, kind, one, at, source=f"s{number}")
        for purpose, granted in words:
            record_consent(connection, one, "email", purpose, granted, "agent", None, NOON - DAY)
        record_consent(connection, one, "slack", "check_ins", False, "agent", None, NOON)
        add_touchpoint(connection, "ticket_opened", one, NOON + DAY, source=f"later{number}")  # not known yet
        found[one] = None if number % 7 == 0 else f"c{number}@mail.example"
        if number % 3 == 0:
            suppress(connection, "email", f"C{number}@mail.example", "bounced", NOON)
        if number % 5 == 0:
            insert(
                connection, "conversations", channel="email", thread=f"<{number}@mail.example>", customer_id=one,
                state="human" if number % 2 else "bot", clarifications=0, created_at=NOON, updated_at=NOON,
            )  # fmt: skip
    return found


def test_one_statement_finds_what_several_find(database: Database) -> None:
    with database.write() as connection:
        people = people_of_all_kinds(connection)
        known = permissions(connection, people, "email", now=NOON, since=NOON - 32 * DAY, besides=())
        locks = locked(connection, people, NOON)
        consents = consent_of(connection, people, "email")
        suppressed = is_suppressed(connection, "email", [one for one in people.values() if one])
    seen = {one: (open_issues(found.events, NOON), found.with_a_human) for one, found in known.items()}
    assert seen == locks
    assert len(set(seen.values())) == 4
    assert {one: standing(found.said, Purpose.SERVICE) for one, found in known.items()} == consents
    assert set(consents.values()) == {None, True, False}
    assert {one for one, found in known.items() if found.suppressed} == {
        one for one, address in people.items() if address in suppressed
    }


def test_nobody_is_asked_about(database: Database) -> None:
    with database.read() as connection:
        assert permissions(connection, {}, "email", now=NOON, since=NOON, besides=()) == {}


def test_contacts_that_happened_or_may_have_count_but_not_those_that_are_judged(database: Database) -> None:
    shop = Shop(database)
    sent = shop.approve("sent")
    shop.deliverer.drain()
    doubtful = shop.approve("doubtful")
    shop.channel.mood = fails(RuntimeError("nobody knows"))
    shop.deliverer.drain()
    waiting = shop.approve("waiting")
    people = {shop.see(one).customer_id: None for one in (sent, doubtful, waiting)}

    def contacted(**given: object) -> list[int]:
        with database.read() as connection:
            known = permissions(
                connection, people, "email", **{"now": NOON, "since": NOON - DAY, "besides": ()} | given
            )  # type: ignore[arg-type]
        return [len(found.contacts) for found in known.values()]

    assert contacted() == [1, 1, 0]
    assert contacted(besides={sent}) == [0, 1, 0]
    assert contacted(since=NOON + DAY) == [0, 0, 0]


def test_only_what_is_still_under_way_is_settled_and_once(database: Database) -> None:
    shop = Shop(database, delivery={"connections": 3})
    ids = [shop.approve(f"c{number}") for number in range(3)]
    shop.channel.mood = fails(RuntimeError("nobody knows"))
    shop.deliverer.drain()
    assert shop.attempts(ids[0]) == ["uncertain"]
    proof = {"reference": "<x@mail.example>", "thread": None, "detail": {"reply": '250 \\ "ok" ü'}}
    found = [shop.see(one) for one in ids]
    with database.write() as connection:
        assert settle_sent(connection, [(found[2], proof)], NOON) == {ids[2]}
    with database.write() as connection:
        assert settle_sent(connection, [(one, proof) for one in found], NOON + DAY) == {ids[0], ids[1]}
        assert settle_sent(connection, [(one, proof) for one in found], NOON + 2 * DAY) == set()
        assert settle_sent(connection, [], NOON) == set()
    assert [shop.see(one).sent_at for one in ids] == [NOON + DAY, NOON + DAY, NOON]
    assert [shop.see(one).evidence for one in ids] == [proof] * 3
    assert [shop.attempts(one) for one in ids] == [["sent"]] * 3
