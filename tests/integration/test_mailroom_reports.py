"""Bounces and complaints: they end mail to an address, and only where they prove that we wrote to it."""

from __future__ import annotations

from datetime import timedelta
from email.message import EmailMessage
from pathlib import Path

import pytest

from bot.channels.base import Message
from bot.decide.lifecycle import OutreachState
from bot.errors import UncertainChannelError
from bot.services.review.desk import ReviewDesk
from bot.store import audit
from bot.store.consent import consent_of, is_suppressed
from bot.store.database import Database
from tests.integration.mail_world import CARE, MailWorld
from tests.integration.shop_rows import propose

S = OutreachState
AT = "c1@mail.example"


@pytest.fixture
def world(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MailWorld:
    return MailWorld(database, tmp_path, monkeypatch)


def reasons(world: MailWorld) -> list[str]:
    return [row.reason for row in world.rows("suppressions")]


def in_a_row(world: MailWorld, count: int) -> list[EmailMessage]:
    """Send some check-ins to one customer, with so many days between them that the caps allow it."""
    _, first = world.send()
    mails = [first]
    customer_id = world.rows("customers")[0].id
    for number in range(1, count):
        world.clock.advance(timedelta(days=9))
        one = propose(world.database, world.clock.now(), f"x{number}", customer_id=customer_id)
        ReviewDesk(world.database, world.clock, world.settings).approve(one.id, one.version, "cli:ana")
        world.deliverer.drain()
        mails.append(world.sent(f"outreach:{one.id}:1"))
    return mails


def suppressed(world: MailWorld, address: str = AT) -> bool:
    with world.database.read() as connection:
        assert audit.verify(connection) == []
        return bool(is_suppressed(connection, "email", [address]))


def test_a_hard_bounce_ends_mail_to_the_address(world: MailWorld) -> None:
    one, mail = world.send()
    world.arrive(world.bounce(mail))
    assert world.effects() == ["dead_address"]
    after = world.see(one)
    assert (after.state, after.refusal) == (S.FAILED, "the mail came back: 5.1.1")
    assert world.attempts(one) == ["failed"]
    assert suppressed(world)
    assert reasons(world) == ["hard_bounce"]
    # An agent's retry is refused by the policy.
    ReviewDesk(world.database, world.clock, world.settings).retry(one, after.version, "cli:ana")
    world.deliverer.drain()
    assert world.see(one).state == S.SUPPRESSED


def test_a_hard_bounce_by_token_alone_counts_as_well(world: MailWorld) -> None:
    one, mail = world.send()
    world.arrive(world.bounce(mail, returned={"Message-ID": "<rewritten@relay.example>", "X-Aftercare-Key": None}))
    assert world.see(one).state == S.FAILED
    assert suppressed(world)


def test_a_bounce_proves_that_a_mail_in_doubt_had_been_taken(world: MailWorld) -> None:
    one = world.approve()
    kept = world.channel.send

    def vanish(message: Message) -> object:
        kept(message)
        raise UncertainChannelError("the line broke after DATA")

    world.channel.send = vanish  # type: ignore[method-assign, assignment]
    world.deliverer.drain()
    assert world.see(one).state == S.UNCERTAIN
    world.arrive(world.bounce(world.sent(f"outreach:{one}:1")))
    assert (world.see(one).state, world.attempts(one)) == (S.FAILED, ["failed"])


def test_a_late_mail_is_no_lost_mail(world: MailWorld) -> None:
    one, mail = world.send()
    world.arrive(world.bounce(mail, "4.4.1", action="delayed"))
    assert (world.effects(), world.see(one).state) == (["delayed"], S.SENT)
    assert reasons(world) == []


@pytest.mark.parametrize("status", ["4.2.2", "5.2.2", "5.7.1"])
def test_the_third_mail_in_a_row_that_comes_back_for_now_ends_mail_to_the_address(
    world: MailWorld, status: str
) -> None:
    mails = in_a_row(world, 3)
    for mail in mails[:2]:
        world.arrive(world.bounce(mail, status), world.bounce(mail, status))  # two systems report it
        assert not suppressed(world)
    assert [one.state for one in world.rows("outreaches")] == ["failed", "failed", "sent"]
    world.arrive(world.bounce(mails[2], status))
    assert suppressed(world)
    assert reasons(world) == ["soft_bounces"]
    assert world.effects()[-1] == "returned_often"


def test_one_that_arrived_in_between_ends_the_row(world: MailWorld) -> None:
    mails = in_a_row(world, 4)
    for mail in (mails[0], mails[2], mails[3]):
        world.arrive(world.bounce(mail, "4.2.2"))
    assert not suppressed(world)


def forgeries(world: MailWorld) -> dict[str, bytes]:
    _, mail = world.send()
    only_key = {"Message-ID": None, "Reply-To": None, "From": None}
    made_up = {"Message-ID": "<outreach.1.0123456789abcdef0123@shop.example>", "Reply-To": CARE}
    stolen = {"Reply-To": f"care+{world.signer.sign('opt-out', 'outreach.1')}@shop.example", "Message-ID": None}  # type: ignore[arg-type]
    return {
        "the key that anybody can count up to": world.bounce(mail, returned=only_key),
        "a Message-ID made up": world.bounce(mail, returned=made_up),
        "a token for another purpose": world.bounce(mail, returned=stolen),
        "another recipient than we wrote to": world.bounce(mail, recipient="victim@mail.example"),
        "nothing but the recipient": world.bounce(mail, returned={**only_key, "X-Aftercare-Key": None}),
    }


@pytest.mark.parametrize("number", range(5))
def test_a_forged_bounce_changes_nothing(world: MailWorld, number: int) -> None:
    name, content = list(forgeries(world).items())[number]
    world.send("victim")
    world.arrive(content)
    assert world.effects() == ["unproven"], name
    assert [row.state for row in world.rows("outreaches")] == ["sent", "sent"]
    assert reasons(world) == []


def test_a_bounce_of_an_earlier_attempt_leaves_the_present_one_alone(world: MailWorld) -> None:
    one, mail = world.send()
    soft = world.bounce(mail, "4.4.7")
    world.arrive(soft)
    ReviewDesk(world.database, world.clock, world.settings).retry(one, world.see(one).version, "cli:ana")
    world.deliverer.drain()
    assert world.see(one).state == S.SENT
    world.arrive(world.bounce(mail, "4.4.7"))
    assert world.see(one).state == S.SENT


def test_an_answer_that_comes_back_calls_a_human(world: MailWorld) -> None:
    _, mail = world.send()
    world.arrive(world.reply(mail, "How do I return something?"))
    answer = world.answers()[0]
    assert world.rows("conversations")[0].state == "bot"
    world.arrive(world.bounce(answer))
    assert world.rows("conversations")[0].state == "human"
    assert [row.reason for row in world.rows("handoffs")] == ["not_delivered"]
    assert suppressed(world)


def test_a_complaint_ends_contact_and_takes_back_what_is_open(world: MailWorld) -> None:
    one, mail = world.send()
    customer_id = world.see(one).customer_id
    by_mail = propose(world.database, world.clock.now(), "x1", customer_id=customer_id)
    by_slack = propose(world.database, world.clock.now(), "x2", customer_id=customer_id, channel="slack")
    world.arrive(world.complaint(mail))
    assert world.effects() == ["complained"]
    assert suppressed(world)
    assert reasons(world) == ["complaint"]
    with world.database.read() as connection:
        assert consent_of(connection, [customer_id], "email") == {customer_id: False}
    assert [(row.origin, row.granted) for row in world.rows("consents")] == [("complaint", False)]
    assert world.see(by_mail.id).state == S.SUPPRESSED
    assert world.see(by_slack.id).state == S.CANCELLED
    assert [row.action for row in world.rows("audit") if row.entity == "customer"] == [
        "address.suppressed",
        "consent.refused",
    ]
    assert world.answers() == []
    # The label `complaint` is about an order; this is none.
    assert "complaint" not in {row.kind for row in world.rows("touchpoints")}


def test_a_complaint_that_no_mail_of_ours_proves_changes_nothing(world: MailWorld) -> None:
    _, mail = world.send()
    world.arrive(
        world.complaint(mail, returned="Subject: spam\r\nX-Aftercare-Key: outreach:1:1\r\n"),
        world.complaint(mail, recipient="victim@mail.example"),
    )
    assert world.effects() == ["unproven", "unproven"]
    assert reasons(world) == []
    assert world.rows("consents") == []


def test_the_same_report_twice_counts_once(world: MailWorld) -> None:
    _, mail = world.send()
    report = world.complaint(mail)
    world.arrive(report, report)
    world.arrive(report, world.complaint(mail))
    assert len(world.rows("consents")) == len(world.rows("suppressions")) == 1
    assert len([row for row in world.rows("audit") if row.entity == "customer"]) == 2
