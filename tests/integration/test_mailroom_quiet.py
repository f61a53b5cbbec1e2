"""Whom nobody answers: machines, ourselves, and whoever asked to be left alone, who is told so once."""

from __future__ import annotations

from pathlib import Path

import pytest

from bot.decide.lifecycle import OutreachState
from bot.services.mail.replies import AUTOMATIC_A_DAY
from bot.store.consent import is_suppressed
from bot.store.database import Database
from tests.integration.mail_world import CARE, MailWorld
from tests.integration.shop_rows import add_customer

S = OutreachState
AWAY = {"Auto-Submitted": "auto-replied", "Subject": "Out of office"}


@pytest.fixture
def world(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MailWorld:
    return MailWorld(database, tmp_path, monkeypatch)


def ledger(world: MailWorld) -> list[tuple[str, str, bool]]:
    return [(row.channel, row.origin, row.granted) for row in world.rows("consents")]


def test_an_opt_out_by_words_is_written_down_and_confirmed_once(world: MailWorld) -> None:
    one, mail = world.send()
    world.arrive(world.reply(mail, "STOP"))
    assert ledger(world) == [("email", "email_reply", False)]
    assert world.effects() == ["opted_out"]
    assert world.see(one).state == S.REPLIED
    answers = world.answers()
    assert len(answers) == 1
    assert answers[0]["To"] == "c1@mail.example"
    assert "will not send you any more check-ins" in answers[0].get_body(("plain",)).get_content()  # type: ignore[union-attr]
    assert answers[0]["In-Reply-To"] == "<reply-1@mail.example>"
    world.arrive(world.reply(mail, "STOP"), world.reply(answers[0], "unsubscribe"))
    assert world.effects()[1:] == ["already_out", "already_out"]
    assert len(ledger(world)) == len(world.answers()) == 1


def test_it_is_confirmed_in_the_customers_language(world: MailWorld) -> None:
    _, mail = world.send()
    world.arrive(world.reply(mail, "Bitte keine E-Mails mehr.", headers={"Content-Language": "de"}))
    assert "keine Nachfragen mehr" in world.said()[0].text


def test_the_mailto_of_the_mails_header_ends_contact(world: MailWorld) -> None:
    _, mail = world.send()
    address = str(mail["List-Unsubscribe"]).rpartition("mailto:")[2].partition("?")[0]
    # From another address: the token says who is meant, and the confirmation goes to them.
    headers = {"From": "other@elsewhere.example", "To": address, "Subject": "unsubscribe"}
    world.arrive(world.mail("", headers))
    assert ledger(world) == [("email", "email_mailto", False)]
    assert [answer["To"] for answer in world.answers()] == ["c1@mail.example"]
    with world.database.read() as connection:
        assert is_suppressed(connection, "email", ["c1@mail.example"])


def test_from_alone_suffices_to_end_contact_and_every_customer_there_is_meant(world: MailWorld) -> None:
    world.send()
    with world.database.write() as connection:
        add_customer(connection, "again", world.clock.now(), email="c1@mail.example")
    world.arrive(world.mail("Unsubscribe", {"From": "C1@MAIL.example", "To": CARE, "Subject": "Please"}))
    assert ledger(world) == [("email", "email_reply", False)] * 2
    assert [answer["To"].lower() for answer in world.answers()] == ["c1@mail.example"]


def test_a_stranger_who_asks_to_be_left_alone_is_not_written_to(world: MailWorld) -> None:
    world.arrive(world.mail("Unsubscribe", {"From": "who@elsewhere.example", "To": CARE, "Subject": "Please"}))
    assert ledger(world) == []
    with world.database.read() as connection:
        assert is_suppressed(connection, "email", ["who@elsewhere.example"])
    assert world.rows("conversations") == []


def test_an_opt_out_takes_back_what_is_open_and_a_human_hears_of_it(world: MailWorld) -> None:
    _, mail = world.send()
    world.arrive(world.reply(mail, "I want to talk to a human"))
    assert world.rows("conversations")[0].state == "human"
    before = len(world.said())
    world.arrive(world.reply(mail, "STOP"))
    assert len(ledger(world)) == 1
    assert len(world.said()) == before  # a human has the conversation: the bot is silent
    assert world.heard()[-1].decision == "opt_out"


@pytest.mark.parametrize("token", ["with", "without"])
def test_an_automatic_reply_is_not_answered_and_changes_nothing(world: MailWorld, token: str) -> None:
    one, mail = world.send()
    headers = AWAY if token == "with" else {**AWAY, "To": CARE, "In-Reply-To": None, "References": None}
    world.arrive(world.reply(mail, "I am away until Monday.", headers=headers))
    assert world.effects() == ["silent"]
    assert world.see(one).state == S.SENT
    assert world.rows("conversations") == []
    assert "reply" not in {row.kind for row in world.rows("touchpoints")}
    assert world.answers() == []


def test_two_machines_that_face_each_other_stop_after_the_first_mail(world: MailWorld) -> None:
    _, mail = world.send()
    world.arrive(world.reply(mail, "Thank you for your mail.", headers={"Auto-Submitted": "auto-replied"}))
    assert world.answers() == []
    assert len(list(world.outbox.iterdir())) == 1


def test_our_own_mail_that_comes_round_is_ignored(world: MailWorld) -> None:
    one, _ = world.send()
    world.arrive((world.outbox / f"outreach-{one}-1.eml").read_bytes())
    assert world.effects() == ["own"]
    assert world.see(one).state == S.SENT
    assert world.rows("conversations") == []


def test_a_machine_that_hides_what_it_is_gets_few_answers_and_then_a_human(world: MailWorld) -> None:
    _, mail = world.send()
    questions = ["How do I return something?", "Where is my invoice?", "Can I change my delivery address?"]
    latest = mail
    answered = 0
    for number in range(4 * AUTOMATIC_A_DAY):
        # Each time somebody gives the conversation back, as a tired agent might: nothing but the limit stops it.
        world.arrive(world.reply(latest, f"{questions[number % 3]} ({number})"))
        sent = world.answers()
        if len(sent) == answered:
            break
        answered, latest = len(sent), sent[-1]
        _give_back(world)
    assert answered == AUTOMATIC_A_DAY
    assert world.rows("handoffs")[-1].reason == "too_many_automatic_answers_in_a_day"


def _give_back(world: MailWorld) -> None:
    conversations = world.mailroom._conversations()
    for row in world.rows("conversations"):
        conversations.give_back(row.id, "cli:ana")
