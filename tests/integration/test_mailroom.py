"""A mail comes in and has its effect once: replies find their check-in, and only the customer is believed to be it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from bot.channels.base import Message
from bot.decide.lifecycle import OutreachState
from bot.errors import UncertainChannelError
from bot.services.mail.mailroom import MailReport, Mailroom
from bot.services.privacy import Privacy
from bot.services.review.desk import ReviewDesk
from bot.store import audit
from bot.store.database import Database
from bot.store.quarantine import quarantined
from bot.store.tables import metadata
from tests.integration.mail_world import CARE, MailWorld
from tests.integration.shop_rows import add_customer, propose

S = OutreachState
WHERE = "Where is my order?"


@pytest.fixture
def world(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MailWorld:
    return MailWorld(database, tmp_path, monkeypatch)


def test_a_reply_with_our_token_from_the_address_that_we_wrote_to_is_the_customers(world: MailWorld) -> None:
    one, mail = world.send()
    world.arrive(world.reply(mail, WHERE))
    assert world.see(one).state == S.REPLIED
    assert world.effects() == ["answered"]
    assert world.heard()[0].evidence["customer_id"] == world.see(one).customer_id
    assert world.heard()[0].intent == "order_status"
    answer = world.answers()[0]
    assert answer["To"] == "c1@mail.example"
    # Mail programs keep the thread together by these.
    assert str(answer["References"]).split() == [mail["Message-ID"], "<reply-1@mail.example>"]
    assert answer["In-Reply-To"] == "<reply-1@mail.example>"
    assert answer["Subject"] == "Re: About your order"
    stored = world.rows("mails")[0]
    assert (stored.state, stored.kind, stored.about) == ("done", "reply", f"outreach.{one}")
    assert (stored.customer_id, stored.outreach_id) == (world.see(one).customer_id, one)


def test_order_data_is_told_by_token_and_address_together_only(world: MailWorld) -> None:
    _, mail = world.send()
    world.arrive(world.reply(mail, WHERE))
    assert world.rows("handoffs")[0].reason == "order_overdue"  # it was looked up, and is late
    _, other = world.send("c2")
    # The same words without the token: Message-ID and From are right, and yet no order is spoken of.
    world.arrive(world.reply(other, WHERE, headers={"To": CARE}))
    assert world.heard()[-1].evidence["customer_id"] is None
    assert world.rows("handoffs")[-1].reason == "order_unknown"


def test_letter_case_and_a_changed_subject_do_not_matter(world: MailWorld) -> None:
    one, mail = world.send()
    headers = {
        "Subject": "something else",
        "In-Reply-To": None,
        "References": None,
        "To": str(mail["Reply-To"]).upper(),
    }
    world.arrive(world.reply(mail, WHERE, sender="C1@Mail.Example", headers=headers))
    assert world.see(one).state == S.REPLIED
    assert world.heard()[0].evidence["customer_id"] == world.see(one).customer_id


def test_a_domain_may_be_written_in_its_own_letters_or_in_ascii(world: MailWorld) -> None:
    one, mail = world.send()
    with world.database.write() as connection:
        customers = metadata.tables["customers"]
        connection.execute(sa.update(customers).values(email="Maria@Bücher.example"))
    world.arrive(world.reply(mail, "How do I return something?", sender="maria@xn--bcher-kva.example"))
    assert world.see(one).state == S.REPLIED
    assert world.heard()[0].evidence["customer_id"] == world.see(one).customer_id


def test_a_reply_without_a_token_is_found_by_the_message_id_that_we_gave(world: MailWorld) -> None:
    one, mail = world.send()
    world.arrive(world.reply(mail, "Thank you, I will wait.", headers={"To": CARE}))
    assert world.see(one).state == S.REPLIED
    assert world.rows("conversations")[0].outreach_id == one
    assert world.heard()[0].evidence["customer_id"] is None


@pytest.mark.parametrize("what", ["forged", "expired", "another_purpose"])
def test_a_token_that_is_not_ours_counts_as_none(world: MailWorld, what: str) -> None:
    one, mail = world.send()
    token = str(mail["Reply-To"]).rpartition("+")[2].partition("@")[0]
    bad = {
        "forged": token[:-1] + ("a" if token[-1] != "a" else "b"),
        "expired": world.signer.sign("reply", f"outreach.{one}", timedelta(days=-3)),  # type: ignore[arg-type]
        "another_purpose": world.signer.sign("opt-out", f"outreach.{one}"),  # type: ignore[arg-type]
    }[what]
    headers = {"To": f"care+{bad}@shop.example", "In-Reply-To": None, "References": None}
    world.arrive(world.reply(mail, WHERE, headers=headers))
    assert world.see(one).state == S.SENT
    assert world.heard()[0].evidence["customer_id"] is None  # by From alone: a new conversation of somebody unproven
    assert world.rows("conversations")[0].customer_id is None
    assert world.rows("handoffs")[0].reason == "order_unknown"


def test_what_was_passed_on_goes_to_a_human_and_nobody_is_answered(world: MailWorld) -> None:
    one, mail = world.send()
    world.arrive(world.reply(mail, WHERE, sender="friend@elsewhere.example"))
    assert world.effects() == ["handed_over"]
    assert world.see(one).state == S.SENT
    assert [row.reason for row in world.rows("handoffs")] == ["written_from_another_address"]
    conversation = world.rows("conversations")[0]
    assert (conversation.customer_id, conversation.outreach_id) == (world.see(one).customer_id, one)
    assert conversation.state == "human"
    assert world.heard()[0].evidence["customer_id"] is None
    assert world.answers() == []


def test_a_customer_who_writes_by_themselves_begins_a_conversation_without_order_data(world: MailWorld) -> None:
    world.send()
    world.arrive(world.mail(WHERE, {"From": "Maria <c1@mail.example>", "To": CARE, "Subject": "Hello"}))
    assert world.rows("conversations")[0].customer_id is None
    assert world.rows("handoffs")[0].reason == "order_unknown"
    answer = world.answers()[0]
    assert answer["To"] == "c1@mail.example"
    # Who answers that mail has shown that the address is theirs.
    world.arrive(world.reply(answer, "Thanks!"))
    assert world.heard()[-1].evidence["customer_id"] == world.rows("customers")[0].id


def test_a_second_mail_to_ones_own_first_stays_in_its_conversation(world: MailWorld) -> None:
    world.send()
    first = {"From": "c1@mail.example", "To": CARE, "Subject": "Hello", "Message-ID": "<m1@mail.example>"}
    world.arrive(world.mail("I want to talk to a human", first))
    more = {
        **first,
        "Message-ID": "<m2@mail.example>",
        "In-Reply-To": "<m1@mail.example>",
        "References": "<m1@mail.example>",
    }
    world.arrive(world.mail("Are you there?", more))
    assert len(world.rows("conversations")) == 1
    # Somebody else who names it begins their own.
    world.send("c2")
    world.arrive(world.mail("And me?", {**more, "From": "c2@mail.example", "Message-ID": "<m3@mail.example>"}))
    assert len(world.rows("conversations")) == 2


def test_a_stranger_is_left_to_humans(world: MailWorld) -> None:
    world.send()
    world.arrive(world.mail("Buy my watches", {"From": "spam@elsewhere.example", "To": CARE, "Subject": "Deal"}))
    assert world.effects() == ["stranger"]
    assert world.rows("conversations") == []


def test_a_mail_that_says_all_in_its_subject_is_answered_by_it(world: MailWorld) -> None:
    world.send()
    world.arrive(world.mail("\n", {"From": "c1@mail.example", "To": CARE, "Subject": WHERE}))
    assert world.heard()[0].text == WHERE


def test_a_reply_proves_that_a_mail_in_doubt_had_left(world: MailWorld) -> None:
    one = world.approve()
    kept = world.channel.send

    def vanish(message: Message) -> object:
        kept(message)
        raise UncertainChannelError("the line broke after DATA")

    world.channel.send = vanish  # type: ignore[method-assign, assignment]
    world.deliverer.drain()
    assert world.see(one).state == S.UNCERTAIN
    world.arrive(world.reply(world.sent(f"outreach:{one}:1"), WHERE))
    after = world.see(one)
    assert after.state == S.REPLIED
    assert after.evidence["by"] == "reply"
    assert world.attempts(one) == ["sent"]
    with world.database.read() as connection:
        assert audit.verify(connection) == []


def test_the_same_mail_by_both_ways_and_twice_has_one_effect(world: MailWorld) -> None:
    _, mail = world.send()
    raw = world.reply(mail, WHERE)
    world.arrive(raw, raw)
    # Another mail system has added its traces, and the line breaks differ.
    posted = b"Received: from mx by hook; today\nDelivered-To: care@shop.example\n" + raw.replace(b"\r\n", b"\n")
    assert world.mailroom.take_posted(posted, "v1=a")
    world.mailroom.work()
    assert len(world.rows("mails")) == len(world.heard()) == len(world.said()) == 1


def test_two_mails_with_one_message_id_are_two(world: MailWorld) -> None:
    _, mail = world.send()
    same = {"Message-ID": "<same@mail.example>"}
    world.arrive(world.reply(mail, "I want to talk to a human", headers=same))
    world.arrive(world.reply(mail, "It is really urgent", headers=same))
    assert len(world.rows("mails")) == 2
    assert [row.text for row in world.heard()] == ["I want to talk to a human", "It is really urgent"]


def test_a_mail_that_cannot_be_read_is_set_aside_and_blocks_nobody(world: MailWorld) -> None:
    _, mail = world.send()
    report = world.arrive(b"", b"\x00" * 100, world.reply(mail, WHERE))
    assert report.done == 1
    assert report.quarantined == 2
    states = [(row.state, bool(row.error)) for row in world.rows("mails")]
    assert sorted(states) == [("done", False), ("failed", True), ("failed", True)]
    with world.database.read() as connection:
        count, listed = quarantined(connection)
    assert (count, [one.id for one in listed]) == (2, [2, 1])
    assert "header" in listed[1].error
    assert len(world.said()) == 1


def test_a_mail_that_breaks_the_reader_is_set_aside_with_the_kind_of_error(world: MailWorld) -> None:
    def broken(_content: bytes) -> None:
        raise RecursionError

    world.mailroom = world.new_mailroom(read=broken)
    assert world.arrive(b"From: a@b.example\r\n\r\nhello").quarantined == 1
    assert world.rows("mails")[0].error == "the reading broke: RecursionError"


def test_a_mail_over_a_megabyte_is_set_aside_unread_with_its_beginning(world: MailWorld) -> None:
    content = b"From: a@b.example\r\nSubject: big\r\n\r\n" + b"x" * 1024 * 1024
    world.arrive(content)
    row = world.rows("mails")[0]
    assert (row.state, row.octets) == ("failed", len(content))
    assert len(row.raw) == 64 * 1024
    assert "too large" in row.error


def test_an_effect_that_breaks_is_tried_again_later_and_given_up_visibly(
    world: MailWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, mail = world.send()

    def broken(*_arguments: object, **_named: object) -> None:
        raise ZeroDivisionError

    world.record(world.reply(mail, WHERE))
    other = world.new_mailroom(conversations=broken)
    for attempt in range(1, 6):
        assert other.work().postponed == (attempt < 5)
        assert other.work() == MailReport()  # not again at once
        world.clock.advance(timedelta(minutes=5))
    row = world.rows("mails")[0]
    assert (row.state, row.error) == ("failed", "its effect broke: ZeroDivisionError")


def test_a_mail_that_kills_whoever_takes_it_ends_in_quarantine(world: MailWorld) -> None:
    class Killed(BaseException):
        pass

    def killing(_content: bytes) -> None:
        raise Killed

    world.mailroom = world.new_mailroom(read=killing)
    world.record(b"From: a@b.example\r\n\r\nhello")
    for _ in range(5):
        with pytest.raises(Killed):
            world.mailroom.work()
        world.clock.advance(timedelta(minutes=5))
    assert world.mailroom.work().quarantined == 1
    assert "given up" in world.rows("mails")[0].error


@pytest.mark.parametrize("where", ["before_the_answer", "after_the_answer"])
def test_a_crash_between_record_and_end_has_the_effect_once(world: MailWorld, where: str) -> None:
    one, mail = world.send()
    world.record(world.reply(mail, WHERE))

    class Killed(BaseException):
        pass

    kept = world.mailroom._conversations()

    class Dying:
        def receive(self, inbound: object) -> None:
            if where == "after_the_answer":
                kept.receive(inbound)  # type: ignore[arg-type]
            raise Killed

    with pytest.raises(Killed):
        world.new_mailroom(conversations=Dying).work()
    assert world.rows("mails")[0].state == "received"
    assert world.mailroom.work().done == 0  # whoever took it may still be at it
    world.clock.advance(timedelta(seconds=31))
    assert world.mailroom.work().done == 1
    assert world.see(one).state == S.REPLIED
    assert (len(world.heard()), len(world.said()), world.effects()) == (1, 1, ["answered"])


def test_raw_octets_are_forgotten_in_time_quarantined_ones_too(world: MailWorld) -> None:
    _, mail = world.send()
    world.arrive(world.reply(mail, WHERE), b"")
    world.clock.advance(timedelta(days=29))
    assert world.mailroom.forget() == 0
    world.record(world.reply(mail, "Thanks"))
    world.clock.advance(timedelta(days=1, seconds=1))
    assert world.mailroom.forget() == 2
    assert [row.raw is None for row in world.rows("mails")] == [True, True, False]
    assert len(world.heard()) == 1
    world.clock.advance(timedelta(days=40))
    assert world.mailroom.forget() == 0  # it still waits
    assert world.mailroom.work().done == 1


def test_a_mail_whose_customer_is_gone_is_a_strangers(world: MailWorld) -> None:
    _, mail = world.send()
    Privacy(world.database, world.clock).erase("c1", "cli:ana")
    world.arrive(world.reply(mail, WHERE))
    assert world.effects() == ["stranger"]
    assert world.heard() == []


def test_of_several_customers_at_one_address_none_is_guessed(world: MailWorld) -> None:
    with world.database.write() as connection:
        for key in ("a", "b"):
            add_customer(connection, key, world.clock.now(), email="shared@mail.example")
    world.arrive(world.mail("I want to talk to a human", {"From": "shared@mail.example", "To": CARE, "Subject": "x"}))
    world.arrive(world.reply(world.answers()[0], "Thanks"))
    assert [row.evidence["customer_id"] for row in world.heard()] == [None, None]


def test_nothing_waits_costs_no_writing(world: MailWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(world.database), "write", None)
    assert Mailroom.work(world.mailroom).done == 0


def test_a_second_reply_to_one_check_in_is_no_reply_to_the_next(world: MailWorld) -> None:
    one, mail = world.send()
    world.arrive(world.reply(mail, "How do I return something?"))
    world.clock.advance(timedelta(days=9))
    later = propose(world.database, world.clock.now(), "x", customer_id=world.see(one).customer_id)
    ReviewDesk(world.database, world.clock, world.settings).approve(later.id, later.version, "cli:ana")
    world.deliverer.drain()
    world.arrive(world.reply(mail, "Thank you!"), world.reply(world.answers()[0], "Thanks again!"))
    assert world.see(later.id).state == S.SENT
    world.arrive(world.reply(world.sent(f"outreach:{later.id}:1"), "Where is my invoice?"))
    assert world.see(later.id).state == S.REPLIED
