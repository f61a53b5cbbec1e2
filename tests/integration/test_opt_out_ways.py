"""Opting out by words and by links, where customers, channels and purposes do not line up as simply as one hopes."""

from __future__ import annotations

from datetime import timedelta

import pytest

from bot.clock import ManualClock
from bot.services.conversation.conversations import ConversationDecision, Conversations
from bot.services.knowledge.desk import KnowledgeDesk
from bot.store.consent import CHECK_INS, consent_of, is_suppressed, record_consent
from bot.store.database import Database
from bot.store.optout import end_contact
from bot.store.shop import customer
from tests.integration.shop_rows import add_customer
from tests.integration.talk import CLASSIFIER, ENCODER, SETTINGS, Talk


@pytest.fixture
def talk(database: Database, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> Talk:
    monkeypatch.setattr(KnowledgeDesk, "classifier", CLASSIFIER)
    monkeypatch.setattr(KnowledgeDesk, "encoder", ENCODER)
    with database.write() as connection:
        customer_id = add_customer(connection, "maria", clock.now() - timedelta(days=30), slack_user_id="U1")
    desk = KnowledgeDesk(database, clock, SETTINGS)
    return Talk(database, clock, Conversations(database, clock, SETTINGS, desk), customer_id)


def consents(talk: Talk, customer_id: int | None) -> dict[str, bool | None]:
    assert customer_id is not None
    with talk.database.read() as connection:
        return {channel: consent_of(connection, [customer_id], channel)[customer_id] for channel in ("slack", "email")}


def test_whoever_the_channel_vouches_for_may_opt_out_though_the_thread_was_begun_as_somebody_else(talk: Talk) -> None:
    talk.say("Hello")
    with talk.database.write() as connection:  # the shop sent the same person a second time, under another id
        again = add_customer(connection, "maria-2", talk.clock.now(), slack_user_id="U1")
    done = talk.say("STOP", customer_id=again)
    assert done.decision is ConversationDecision.OPT_OUT
    assert consents(talk, again)["slack"] is False
    with talk.database.read() as connection:  # and so is the person's other record, by the address that they share
        assert is_suppressed(connection, "slack", ["U1"]) == {"U1"}


def test_somebody_unknown_in_slack_who_opts_out_stays_left_alone_when_the_shop_names_them_later(talk: Talk) -> None:
    talk.say("STOP", customer_id=None, thread="D9", sender="slack:T1:U0LATER")
    with talk.database.read() as connection:
        assert is_suppressed(connection, "slack", ["U0LATER"]) == {"U0LATER"}


@pytest.mark.parametrize("words", ["Please stop emailing me", "stop sending me mails"])
def test_who_writes_in_slack_that_mails_must_stop_gets_no_more_mails(talk: Talk, words: str) -> None:
    assert talk.say(words).decision is ConversationDecision.OPT_OUT
    assert consents(talk, talk.customer_id) == {"slack": False, "email": False}
    with talk.database.read() as connection:
        assert is_suppressed(connection, "email", ["maria@mail.example"]) == {"maria@mail.example"}


def test_who_wants_no_more_messages_at_all_is_not_written_to_the_other_way_round(talk: Talk) -> None:
    assert talk.say("Please don't contact me again").decision is ConversationDecision.OPT_OUT
    assert consents(talk, talk.customer_id) == {"slack": False, "email": False}
    with talk.database.read() as connection:
        assert is_suppressed(connection, "email", ["maria@mail.example"]) == {"maria@mail.example"}


def test_a_bare_stop_ends_the_channel_that_it_came_by(talk: Talk) -> None:
    talk.say("STOP")
    assert consents(talk, talk.customer_id) == {"slack": False, "email": None}


def test_an_opt_out_from_check_ins_is_written_down_though_another_purpose_was_forbidden_before(talk: Talk) -> None:
    now = talk.clock.now()
    assert talk.customer_id is not None
    with talk.database.write() as connection:
        record_consent(connection, talk.customer_id, "email", "news", False, "agent", None, now)
        person = customer(connection, talk.customer_id)
        assert person is not None
        assert end_contact(connection, person, "email", origin="email_link", evidence=None, now=now)
        assert not end_contact(connection, person, "email", origin="email_link", evidence=None, now=now)
        # Taking up the newsletter again says nothing about check-ins.
        record_consent(connection, person.id, "email", "news", True, "agent", None, now + timedelta(days=1))
        assert consent_of(connection, [person.id], "email", CHECK_INS) == {person.id: False}
        assert consent_of(connection, [person.id], "email") == {person.id: False}


def test_who_may_want_no_more_check_ins_is_asked_and_then_believed(talk: Talk) -> None:
    asked = talk.say("How do I unsubscribe?")
    assert asked.decision is ConversationDecision.CLARIFY
    assert "STOP" in talk.told(asked)
    assert talk.rows("consents") == []
    assert talk.say("STOP").decision is ConversationDecision.OPT_OUT
    assert len(talk.rows("consents")) == 1


def test_who_is_unclear_about_it_twice_is_given_to_a_human(talk: Talk) -> None:
    talk.say("How do I unsubscribe?")
    again = talk.say("I cannot unsubscribe, the link is broken")
    assert (again.decision, again.handoff_id is not None) == (ConversationDecision.HANDOFF, True)
    assert talk.rows("handoffs")[0].reason == "unclear"
    assert talk.rows("consents") == []


@pytest.mark.parametrize("words", ["Please don't stop emailing me", "Don't unsubscribe me", "I never asked to stop"])
def test_who_wants_contact_to_go_on_keeps_it(talk: Talk, words: str) -> None:
    assert talk.say(words).decision is not ConversationDecision.OPT_OUT
    assert talk.rows("consents") == []


def test_who_is_in_danger_and_wants_no_more_check_ins_gets_help_and_silence(talk: Talk) -> None:
    done = talk.say("It burnt my hand. I want to unsubscribe.")
    assert done.decision is ConversationDecision.HANDOFF
    assert [(row.reason, row.urgent) for row in talk.rows("handoffs")] == [("safety", True)]
    assert len(talk.rows("consents")) == 1


def test_a_question_beside_an_opt_out_comes_to_a_human(talk: Talk) -> None:
    done = talk.say("Please stop messaging me. Where is my refund?")
    assert done.decision is ConversationDecision.OPT_OUT
    assert [(row.reason, row.urgent) for row in talk.rows("handoffs")] == [("opted_out_and_said_more", False)]
    assert len(talk.rows("consents")) == 1
