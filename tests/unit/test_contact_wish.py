"""What counts as asking to end contact, what is asked about, and what is neither; in ten languages."""

from __future__ import annotations

import string
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from messages.answers import Answerer, Decision, KnownIntent, known_intents
from messages.contact_wish import ContactWish, contact_wish
from messages.knowledge import Article, KnowledgeIndex

DATA = Path(__file__).parents[1] / "data" / "opt_out"
SETS = {name: yaml.safe_load((DATA / f"{name}.yaml").read_text(encoding="utf-8")) for name in ("main", "held_out")}
KINDS = ("ends", "unclear", "stays")


def cases(kind: str) -> list[str]:
    return [words for languages in SETS.values() for kinds in languages.values() for words in kinds[kind]]


@pytest.fixture(scope="module")
def answerer() -> Answerer:
    index = KnowledgeIndex.build([Article(id="cleaning", title="Cleaning the grinder", body="Clean it weekly.")])
    return Answerer(index, known_intents(lexical_only=True))


def test_the_tables_hold_enough_cases_of_each_kind_in_ten_languages() -> None:
    for languages in SETS.values():
        assert len(languages) == 10
        for language, kinds in languages.items():
            assert set(kinds) == set(KINDS)
            for kind, lines in kinds.items():
                assert len(lines) == len(set(lines)) >= (12 if language in ("en", "de") else 5), (language, kind)


@pytest.mark.parametrize("words", cases("ends"))
def test_a_request_ends_contact(words: str) -> None:
    assert contact_wish(words) is ContactWish.END


@pytest.mark.parametrize("words", cases("unclear"))
def test_what_may_be_a_request_is_asked_about(words: str) -> None:
    assert contact_wish(words) is ContactWish.UNCLEAR


@pytest.mark.parametrize("words", cases("stays"))
def test_what_is_no_request_ends_nothing(words: str) -> None:
    assert contact_wish(words) is not ContactWish.END


def test_of_the_latest_lines_none_is_ignored_and_none_ends_contact_by_mistake() -> None:
    languages = yaml.safe_load((DATA / "held_out_later.yaml").read_text(encoding="utf-8")).values()
    ends, unclear, stays = ([words for kinds in languages for words in kinds[kind]] for kind in KINDS)
    assert {contact_wish(words) for words in ends} == {ContactWish.END, ContactWish.UNCLEAR}
    assert sum(contact_wish(words) is ContactWish.UNCLEAR for words in ends) <= 4
    assert {contact_wish(words) for words in unclear} == {ContactWish.UNCLEAR}
    assert not {contact_wish(words) for words in stays} & {ContactWish.END, ContactWish.UNCLEAR}


def test_nearly_nobody_is_asked_who_meant_something_else() -> None:
    asked = [words for words in cases("stays") if contact_wish(words) is ContactWish.UNCLEAR]
    assert len(asked) <= 0.02 * len(cases("stays")), asked


def test_the_intent_follows_the_words_and_the_classifier_alone_ends_nothing(answerer: Answerer) -> None:
    for kind in KINDS:
        for words in cases(kind):
            found = answerer.answer(words)
            ends = found.intent is KnownIntent.OPT_OUT and found.decision is Decision.ANSWER
            assert ends is (kind == "ends"), words
            if kind == "unclear":
                assert (found.decision, found.about_contact) == (Decision.CLARIFY, True), words


def test_what_sounds_like_it_without_its_words_is_asked_about(answerer: Answerer) -> None:
    found = answerer.answer("I never asked for these messages, make them end")
    assert (found.intent, found.decision, found.about_contact) == (KnownIntent.OPT_OUT, Decision.CLARIFY, True)


def test_a_long_message_that_may_ask_for_it_goes_to_a_human(answerer: Answerer) -> None:
    story = "I tried to unsubscribe and the link does not work. " + "The lamp is green and on. " * 20
    found = answerer.answer(story)
    assert (found.decision, found.about_contact) == (Decision.HANDOFF, True)


def test_a_request_at_the_end_of_a_sentence_without_end_is_seen() -> None:
    assert contact_wish("the lamp is green and on " * 30 + ", please unsubscribe me") is ContactWish.END


@pytest.mark.parametrize(
    "footer",
    [
        "To unsubscribe from our newsletter, click here <https://acme.example/u>",
        "Unsubscribe <https://acme.example/u>",
        "Wenn Sie keine Mails mehr möchten, klicken Sie hier.",
        "Pour vous désabonner, cliquez ici.",
    ],
)
def test_the_footer_of_a_customers_company_wishes_nothing_of_us(footer: str) -> None:
    assert (
        contact_wish(f"The filter is stuck. How do I clean it?\n\nAcme Ltd, 1 High Street\n{footer}")
        is ContactWish.NONE
    )


def test_a_lone_word_below_a_longer_mail_is_asked_about() -> None:
    mail = "The filter is stuck. I tried it twice. It is brown.\n\nUnsubscribe"
    assert contact_wish(mail) is ContactWish.UNCLEAR
    assert contact_wish(mail.replace("I tried it twice. It is brown.", "")) is ContactWish.END


@pytest.mark.parametrize(
    ("words", "wish"),
    [
        ("STOP\nAna", ContactWish.END),
        ("STOP\n\nWhere is my order?", ContactWish.END),
        ("Unsubscribe.\n\nNo wait, don't unsubscribe me.", ContactWish.UNCLEAR),
        ("Stop. Thanks, Ana", ContactWish.UNCLEAR),
        ("Stopp! Grüße, Ana", ContactWish.UNCLEAR),
        ("stop?", ContactWish.UNCLEAR),
        ("Stop. The lamp blinks again.", ContactWish.NONE),
        ("No more leaks, thank you!", ContactWish.NONE),
        ("End of the cable is broken", ContactWish.NONE),
    ],
)
def test_a_word_that_begins_other_sentences_counts_by_what_follows(words: str, wish: ContactWish) -> None:
    assert contact_wish(words) is wish


def test_a_second_sentence_that_takes_the_request_back_makes_it_unclear() -> None:
    assert contact_wish("I thought about it. Please unsubscribe me. No wait, don't unsubscribe me.") is (
        ContactWish.UNCLEAR
    )


@pytest.mark.parametrize(
    "part", ["stop\n", "unsubscribe?", "no, ", "“", "„a", "please ", "a.\n", "keine mails mehr nicht "]
)
def test_a_message_made_to_be_long_is_judged(part: str) -> None:
    assert contact_wish(part * (40_000 // len(part))) in ContactWish


@given(st.text(alphabet=string.ascii_lowercase + " .,?!\"'“”„«»「」\n配信停止を", max_size=600))
def test_any_message_is_judged(text: str) -> None:
    assert contact_wish(text) in ContactWish
