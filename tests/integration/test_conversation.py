"""Dialogues with customers on both engines: what is answered, what is handed over, what is never said."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from bot.clock import ManualClock
from bot.decide.lifecycle import OutreachState
from bot.errors import InputError
from bot.services.conversation.conversations import ConversationDecision, Conversations
from bot.services.knowledge.curation import Curation
from bot.services.knowledge.desk import KnowledgeDesk
from bot.store import audit
from bot.store.consent import consent_of, is_suppressed
from bot.store.database import Database
from bot.store.outreach import Outreach, change_state, outreach
from messages.choices import Choice, said
from tests.integration.shop_rows import add_customer, add_order, add_touchpoint, propose
from tests.integration.talk import CLASSIFIER, ENCODER, SETTINGS, Talk

D = ConversationDecision


@pytest.fixture
def desk(database: Database, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> KnowledgeDesk:
    monkeypatch.setattr(KnowledgeDesk, "classifier", CLASSIFIER)
    monkeypatch.setattr(KnowledgeDesk, "encoder", ENCODER)
    return KnowledgeDesk(database, clock, SETTINGS)


@pytest.fixture
def talk(database: Database, clock: ManualClock, desk: KnowledgeDesk) -> Talk:
    with database.write() as connection:
        customer_id = add_customer(connection, "maria", clock.now() - timedelta(days=30), slack_user_id="U1")
    return Talk(database, clock, Conversations(database, clock, SETTINGS, desk), customer_id)


@pytest.fixture
def stranger(talk: Talk) -> Talk:
    return Talk(talk.database, talk.clock, talk.conversations, None, thread="D9")


def shipped(talk: Talk, key: str = "A100", promised_in: int = 3, customer_id: int | None = None) -> int:
    now = talk.clock.now()
    owner = customer_id or talk.customer_id
    assert owner is not None
    with talk.database.write() as connection:
        order_id = add_order(
            connection, key, owner, now - timedelta(days=6), promised_at=now + timedelta(days=promised_in)
        )
        add_touchpoint(connection, "shipped", owner, now - timedelta(days=5), order_id)
    return order_id


def sent(talk: Talk, key: str = "anna", **changed: Any) -> Outreach:
    one = propose(talk.database, talk.clock.now(), key, **{"channel": "slack", **changed})
    steps = [OutreachState.APPROVED, OutreachState.SENDING, OutreachState.SENT]
    with talk.database.write() as connection:
        for state in steps:
            now = talk.clock.now()
            before = outreach(connection, one.id)
            assert change_state(connection, one.id, before.version, [before.state], state, now, sent_at=now)
        return outreach(connection, one.id)


def test_a_question_is_answered_from_its_article_and_says_a_bot_writes_once(talk: Talk) -> None:
    first = talk.say("How do I clean the filter?")
    assert first.decision is D.ANSWER
    words = talk.told(first)
    assert "Rinse the filter under cold water" in words
    assert "How to clean the filter" in words
    assert "computer program" in words
    second = talk.say("And how do I return something?")
    assert "computer program" not in talk.told(second)
    (answer, *_) = [row for row in talk.rows("utterances") if row.direction == "out"]
    assert answer.article_version_id is not None
    assert answer.evidence is None


def test_a_german_customer_is_answered_in_german(talk: Talk) -> None:
    words = talk.told(talk.say("Wie reinige ich den Filter?"))
    assert "Spülen Sie den Filter" in words
    assert "Computerprogramm" in words


def test_the_same_message_twice_has_one_effect(talk: Talk) -> None:
    inbound = talk.inbound("How do I clean the filter?")
    first, again = talk.conversations.receive(inbound), talk.conversations.receive(inbound)
    assert again.duplicate
    assert not first.duplicate
    assert again.utterance_ids == ()
    assert again.decision is first.decision
    assert len(talk.rows("utterances")) == 2
    assert len(talk.rows("touchpoints")) == 1


def test_the_same_message_at_once_in_many_threads_has_one_effect(talk: Talk) -> None:
    inbound = talk.inbound("Can I talk to a human?")
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda _: talk.conversations.receive(inbound), range(6)))
    assert sum(not one.duplicate for one in found) == 1
    assert len(talk.rows("handoffs")) == 1
    assert len(talk.rows("utterances")) == 2


def test_what_no_article_answers_goes_to_a_human_who_then_has_it(talk: Talk) -> None:
    given = talk.say("Is the iron pan certified kosher?")
    assert given.decision is D.HANDOFF
    assert given.handoff_id is not None
    assert "A person will answer you here" in talk.told(given)
    (handoff,) = talk.rows("handoffs")
    assert (handoff.reason, handoff.urgent, handoff.state) == ("no_answer", False, "open")
    later = talk.say("How do I clean the filter?")
    assert (later.decision, later.utterance_ids, later.handoff_id) == (D.SILENT, (), given.handoff_id)


def test_the_bot_asks_back_once_and_never_twice(talk: Talk) -> None:
    first = talk.say("It is scratched, I would like to send it back.")
    assert first.decision is D.CLARIFY
    assert talk.told(first).count("?") == 1
    second = talk.say("It has a scratch and I would like to send it back")
    assert second.decision in {D.ANSWER, D.HANDOFF}
    third = talk.say("It is scratched, I would like to send it back.")
    assert third.decision in {D.HANDOFF, D.SILENT}
    assert sum(row.decision == "clarify" for row in talk.rows("utterances") if row.direction == "out") == 1


def test_the_same_answer_is_not_given_twice_in_a_row(talk: Talk) -> None:
    assert talk.say("How do I clean the filter?").decision is D.ANSWER
    assert talk.say("I mean, how do I clean the filter?").decision is D.HANDOFF
    assert talk.rows("handoffs")[0].reason == "same_answer"


def test_two_machines_do_not_thank_each_other_for_ever(talk: Talk) -> None:
    assert len(talk.say("Thank you!").utterance_ids) == 1
    assert talk.say("Thanks!").utterance_ids == ()
    assert talk.say("Thank you!").decision is D.SILENT


def test_safety_is_urgent_and_at_once(talk: Talk) -> None:
    given = talk.say("The battery is swollen and smells, how do I return it?")
    assert given.decision is D.HANDOFF
    assert talk.rows("handoffs")[0].urgent
    assert "stop using" in talk.told(given)


def test_safety_makes_an_open_handover_urgent(talk: Talk) -> None:
    talk.say("Can I talk to a human?")
    talk.say("It is smoking now, there are sparks")
    (handoff,) = talk.rows("handoffs")
    assert handoff.urgent


def test_a_known_customer_hears_about_their_own_order(talk: Talk) -> None:
    shipped(talk)
    words = talk.told(talk.say("Where is my parcel?"))
    assert "A100 was shipped on 5 March" in words
    assert "promised for 13 March" in words
    assert "no news from the carrier since" in words


def test_a_delivered_order_is_said_to_be_delivered(talk: Talk) -> None:
    order_id = shipped(talk)
    with talk.database.write() as connection:
        assert talk.customer_id
        add_touchpoint(connection, "delivered", talk.customer_id, talk.clock.now() - timedelta(days=1), order_id)
    assert "delivered on 9 March" in talk.told(talk.say("Wo ist mein Paket? Where is my parcel?", locale="en"))


def test_what_is_not_yet_recorded_is_not_told(talk: Talk) -> None:
    order_id = shipped(talk)
    with talk.database.write() as connection:
        assert talk.customer_id
        add_touchpoint(connection, "delivered", talk.customer_id, talk.clock.now() + timedelta(days=1), order_id)
    assert "was shipped" in talk.told(talk.say("Where is my parcel?"))


def test_an_order_long_past_its_promise_goes_to_a_human_with_what_we_know(talk: Talk) -> None:
    shipped(talk, promised_in=-4)
    given = talk.say("Where is my parcel?")
    assert given.decision is D.HANDOFF
    assert talk.rows("handoffs")[0].reason == "order_overdue"
    assert "was shipped on 5 March" in talk.told(given)
    assert "A person" in talk.told(given) or "a person" in talk.told(given)


@pytest.mark.parametrize("words", ["Where is my order A100?", "Where is my parcel?", "Wo ist meine Bestellung A100?"])
def test_an_unknown_sender_hears_nothing_about_any_order(talk: Talk, stranger: Talk, words: str) -> None:
    shipped(talk)
    given = stranger.say(words)
    said = stranger.told(given)
    assert given.decision is D.HANDOFF
    for secret in ("A100", "March", "März", "shipped", "verschickt", "Maria"):
        assert secret not in said


def test_naming_somebody_elses_order_tells_nothing(talk: Talk) -> None:
    with talk.database.write() as connection:
        other = add_customer(connection, "other", talk.clock.now())
    shipped(talk, "B2000", customer_id=other)
    shipped(talk, "A1000")
    given = talk.say("Where is my order B2000?")
    assert given.decision is D.HANDOFF
    assert "shipped" not in talk.told(given)


def test_a_strangers_words_in_a_customers_thread_get_no_order_data(talk: Talk) -> None:
    shipped(talk)
    talk.say("Hello")
    given = talk.say("Where is my parcel?", customer_id=None, sender="slack:T1:U666")
    assert "A100" not in talk.told(given)
    with talk.database.write() as connection:
        other = add_customer(connection, "other", talk.clock.now())
    talk.conversations.give_back(given.conversation_id, "slack:T1:AGENT")
    assert "A100" not in talk.told(talk.say("Where is my parcel?", customer_id=other))


def test_opt_out_goes_to_the_ledger_and_is_confirmed_once(talk: Talk) -> None:
    done = talk.say("STOP")
    assert done.decision is D.OPT_OUT
    assert "will not send you any more check-ins" in talk.told(done)
    assert talk.say("unsubscribe").utterance_ids == ()
    assert talk.customer_id is not None
    with talk.database.read() as connection:
        assert consent_of(connection, [talk.customer_id], "slack") == {talk.customer_id: False}
        assert consent_of(connection, [talk.customer_id], "email") == {talk.customer_id: None}
        assert audit.verify(connection) == []


@pytest.mark.parametrize("state", [OutreachState.SUGGESTED, OutreachState.APPROVED])
def test_opt_out_takes_back_what_was_not_sent(talk: Talk, state: OutreachState) -> None:
    one = propose(talk.database, talk.clock.now(), "anna", channel="slack")
    with talk.database.write() as connection:
        if state is OutreachState.APPROVED:
            change_state(connection, one.id, one.version, [one.state], state, talk.clock.now())
    talk.say("please stop messaging me", customer_id=one.customer_id, thread="D2")
    with talk.database.read() as connection:
        assert outreach(connection, one.id).state is OutreachState.SUPPRESSED


def test_opt_out_in_the_middle_of_a_human_conversation_counts_and_the_bot_stays_silent(talk: Talk) -> None:
    talk.say("Can I talk to a human?")
    done = talk.say("unsubscribe me")
    assert (done.decision, done.utterance_ids) == (D.OPT_OUT, ())
    assert talk.customer_id is not None
    with talk.database.read() as connection:
        assert consent_of(connection, [talk.customer_id], "slack") == {talk.customer_id: False}


def test_somebody_unknown_who_opts_out_is_left_alone_by_address(talk: Talk) -> None:
    done = talk.say(
        "unsubscribe", customer_id=None, channel="email", source="email", thread="<a@x>", sender="who@mail.example"
    )
    assert done.decision is D.OPT_OUT
    with talk.database.read() as connection:
        assert is_suppressed(connection, "email", ["who@mail.example"]) == {"who@mail.example"}


def test_a_reply_marks_the_check_in_that_it_answers(talk: Talk) -> None:
    one = sent(talk)
    talk.say("Thanks, it is fine", customer_id=one.customer_id, thread="D2")
    with talk.database.read() as connection:
        assert outreach(connection, one.id).state is OutreachState.REPLIED
    (reply,) = [row for row in talk.rows("touchpoints") if row.kind == "reply"]
    assert (reply.customer_id, reply.order_id, reply.channel) == (one.customer_id, one.order_id, "slack")
    assert talk.rows("conversations")[-1].outreach_id == one.id


def test_a_reply_on_another_channel_marks_nothing(talk: Talk) -> None:
    one = sent(talk, channel="email")
    talk.say("Thanks", customer_id=one.customer_id, thread="D2")
    with talk.database.read() as connection:
        assert outreach(connection, one.id).state is OutreachState.SENT


def test_a_human_takes_answers_and_gives_back(talk: Talk) -> None:
    given = talk.say("Can I talk to a human?")
    assert given.handoff_id is not None
    conversations = talk.conversations
    assert conversations.take(given.handoff_id, "slack:T1:ADA")
    assert conversations.take(given.handoff_id, "slack:T1:ADA")
    assert not conversations.take(given.handoff_id, "slack:T1:BEN")
    utterance_id = conversations.reply_as_agent(given.conversation_id, "slack:T1:ADA", " It comes tomorrow. ")
    written = next(row for row in talk.rows("utterances") if row.id == utterance_id)
    assert (written.text, written.author, written.author_id) == ("It comes tomorrow.", "agent", "slack:T1:ADA")
    assert talk.say("How do I clean the filter?").utterance_ids == ()
    assert conversations.give_back(given.conversation_id, "slack:T1:ADA")
    assert not conversations.give_back(given.conversation_id, "slack:T1:ADA")
    assert talk.rows("handoffs")[0].state == "given_back"
    assert talk.say("How do I clean the filter?").decision is D.ANSWER
    with talk.database.read() as connection:
        assert audit.verify(connection) == []


def test_an_agent_who_writes_unasked_silences_the_bot(talk: Talk) -> None:
    first = talk.say("Hello")
    talk.conversations.reply_as_agent(first.conversation_id, "slack:T1:ADA", "I am Ada, I can help.")
    assert talk.state() == "human"
    assert talk.say("How do I clean the filter?").decision is D.SILENT
    with pytest.raises(InputError):
        talk.conversations.reply_as_agent(first.conversation_id, "slack:T1:ADA", "  \n")


def test_a_message_left_by_a_crash_is_decided_exactly_once(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    decide: Callable[..., Any] = KnowledgeDesk.decide

    def dies(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(KnowledgeDesk, "decide", dies)
    with pytest.raises(KeyboardInterrupt):
        talk.say("How do I clean the filter?")
    monkeypatch.setattr(KnowledgeDesk, "decide", decide)
    assert talk.conversations.resume() == []
    talk.clock.advance(timedelta(minutes=1))
    (resumed,) = talk.conversations.resume()
    assert resumed.decision is D.ANSWER
    assert len(resumed.utterance_ids) == 1
    assert talk.conversations.resume() == []
    assert len(talk.rows("utterances")) == 2


def test_a_failure_while_the_decision_is_written_leaves_nothing_half_done(
    talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbound = talk.inbound("STOP")

    def breaks(*_: Any, **__: Any) -> int:
        raise RuntimeError("disk full")

    with monkeypatch.context() as broken:
        broken.setattr("bot.services.conversation.dialogue.store.add_outbound", breaks)
        with pytest.raises(RuntimeError):
            talk.conversations.receive(inbound)
    assert talk.rows("consents") == []
    again = talk.conversations.receive(inbound)
    assert (again.duplicate, again.decision) == (False, D.OPT_OUT)
    assert len(talk.rows("consents")) == 1


@pytest.mark.parametrize("text", ["", " \n", "🙂", "\0", "x" * 20_000, "{{ 7*7 }} <!channel>"])
def test_odd_messages_are_handed_over_not_dropped(talk: Talk, text: str) -> None:
    given = talk.say(text)
    assert given.decision is D.HANDOFF
    assert "49" not in talk.told(given)
    assert talk.rows("utterances")[0].text == text.replace("\0", "")


def test_questions_that_no_article_answers_become_gaps(talk: Talk, desk: KnowledgeDesk) -> None:
    for number, words in enumerate(
        ["Is the iron pan certified kosher?", "is your iron pan kosher certified", "Do you sell gift cards?"]
    ):
        assert talk.say(words, thread=f"G{number}", customer_id=None).decision is D.HANDOFF
    talk.say("Can I talk to a human?", thread="G9", customer_id=None)
    found = Curation(talk.database, talk.clock, SETTINGS, desk).gaps()
    assert [(gap.customers, gap.times) for gap in found] == [(2, 2), (1, 1)]
    assert "kosher" in found[0].question
    talk.clock.advance(timedelta(days=100))
    assert Curation(talk.database, talk.clock, SETTINGS, desk).gaps(days=90) == []


def test_what_a_button_says_calls_a_human(talk: Talk) -> None:
    for choice in (Choice.UNHELPFUL, Choice.HUMAN):
        for locale in ("en", "de"):
            received = talk.say(said(choice, locale), thread=f"{choice}-{locale}")
            assert received.decision is ConversationDecision.HANDOFF, (choice, locale)


@pytest.mark.parametrize(
    ("template", "words", "kind", "value"),
    [
        ("csat_after_resolution", "2/5, it took a week", "csat", 2.0),
        ("nps", "10", "nps", 10.0),
        ("success_goal", "I want to brew better coffee at home", "goal", None),
        ("first_use", "Ja, läuft gut", "activated", None),
    ],
)
def test_an_answer_to_what_a_check_in_asked_is_kept_once_and_thanked_for(
    talk: Talk, template: str, words: str, kind: str, value: float | None
) -> None:
    one = sent(talk, template=template)
    writer = Talk(talk.database, talk.clock, talk.conversations, one.customer_id, thread="D7")
    received = writer.say(words)
    assert received.decision is D.ANSWER
    assert "noted" in writer.told(received) or "notiert" in writer.told(received)
    writer.say(words)
    kept = [(row.kind, row.value, row.order_id) for row in writer.rows("touchpoints") if row.kind != "reply"]
    assert kept == [(kind, value, one.order_id)]


def test_a_number_in_words_about_danger_is_no_rating(talk: Talk) -> None:
    one = sent(talk, template="csat_after_resolution")
    writer = Talk(talk.database, talk.clock, talk.conversations, one.customer_id, thread="D7")
    assert writer.say("1 - it smells of gas in the kitchen").decision is D.HANDOFF
    assert {row.kind for row in writer.rows("touchpoints")} == {"reply"}
