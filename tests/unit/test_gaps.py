"""Questions that no article answered, grouped, named, ranked and quoted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.services.knowledge.gaps import Gap, find_gaps, most_representative
from bot.services.knowledge.quoting import quoted, without_contacts
from bot.store.unanswered import AgentReply, Unanswered

NOW = datetime(2026, 3, 10, tzinfo=UTC)
WORDS = ["iron", "pan", "kosher", "gift", "card", "steel", "lid", "oven", "wood"]


def question(utterance_id: int, text: str, customer_id: int | None = None, **more: object) -> Unanswered:
    values = {"conversation_id": utterance_id, "customer_id": customer_id, "recorded_at": NOW, **more}
    return Unanswered(utterance_id=utterance_id, text=text, **values)  # type: ignore[arg-type]


def members(gaps: Sequence[Gap]) -> set[frozenset[int]]:
    return {frozenset(gap.utterance_ids) for gap in gaps}


texts = st.lists(st.sampled_from(WORDS), min_size=1, max_size=4).map(" ".join) | st.text(max_size=12)
questions = st.lists(st.tuples(texts, st.integers(1, 4) | st.none(), st.floats(0, 1) | st.none()), max_size=14).map(
    lambda rows: [question(at, text, who, risk=risk) for at, (text, who, risk) in enumerate(rows, 1)]
)


@settings(max_examples=60)
@given(questions)
def test_every_question_is_in_exactly_one_gap(asked: list[Unanswered]) -> None:
    ids = sorted(number for gap in find_gaps(asked) for number in gap.utterance_ids)
    assert ids == [one.utterance_id for one in asked]


@settings(max_examples=60)
@given(questions, st.integers(0, 15))
def test_a_question_like_no_other_changes_no_other_gap(asked: list[Unanswered], at: int) -> None:
    stranger = question(99, "quokka zeppelin fjord")
    assert members(find_gaps([*asked[:at], stranger, *asked[at:]])) == members(find_gaps(asked)) | {frozenset([99])}


@settings(max_examples=60)
@given(questions.flatmap(lambda asked: st.tuples(st.just(asked), st.permutations(asked))))
def test_the_order_of_the_questions_does_not_matter(drawn: tuple[list[Unanswered], list[Unanswered]]) -> None:
    assert find_gaps(drawn[0]) == find_gaps(drawn[1])


def test_gaps_are_ranked_by_the_customers_affected_and_their_risk() -> None:
    asked = [
        question(1, "is the lid oven proof", 1, risk=0.1),
        question(2, "is the lid oven proof", 2, risk=0.2),
        question(3, "do you sell gift cards", 3, risk=0.9),
        question(4, "are the handles made of wood", 4),
        question(5, "do you sell gift cards", 3, risk=0.4),
    ]
    found = find_gaps(asked)
    assert [(gap.rank, gap.customers, gap.times, gap.affected) for gap in found] == [
        (1, 1, 1, 1.0),  # nothing was predicted
        (2, 1, 2, 0.9),  # one customer twice, at the higher risk
        (3, 2, 2, pytest.approx(0.3)),
    ]
    assert found[2].risk == pytest.approx(0.15)
    assert found[2].line()["utterances"] == [1, 2]


def test_a_risk_that_is_known_stands_for_the_customer_also_where_it_was_unknown_before() -> None:
    asked = [question(1, "gift cards", 1), question(2, "gift cards", 1, risk=0.25)]
    assert find_gaps(asked)[0].affected == 0.25


def test_equal_gaps_stand_in_the_order_of_their_first_questions() -> None:
    asked = [question(3, "steel lid", 1), question(1, "gift cards", 2), question(2, "wood handle", 3)]
    assert [gap.utterance_ids for gap in find_gaps(asked)] == [(1,), (2,), (3,)]


def test_a_gap_is_named_by_what_is_frequent_in_it_and_rare_elsewhere() -> None:
    asked = [
        question(1, "is the iron pan certified kosher?", 1),
        question(2, "is your iron pan certified kosher", 2),
        question(3, "is the gift card valid in the outlet?", 3),
    ]
    found = find_gaps(asked, background=["This is how the pan is cleaned. Your iron pan is in the box."])
    assert found[0].name == "certified kosher iron" or found[0].name == "iron certified kosher"
    assert found[0].question in found[0].examples


def test_addresses_numbers_names_and_control_characters_are_not_quoted() -> None:
    text = (
        "\x1b[31mHi, Anna Köster here\u202e, mail anna@example.org or ＡＮＮＡ＠example.org, see https://x.example/a"
        " or call +49 (0)30 1234-567 before 10:30, order 12"
    )
    line = quoted(text, 300, names=["Anna Köster"])
    assert "example" not in line
    assert "1234" not in line
    assert "nna" not in line.lower()
    assert "\x1b" not in line
    assert "\u202e" not in line
    assert "before 10:30, order 12" in line
    assert without_contacts("one\ntwo") == "one\ntwo"


@given(st.text(max_size=300), st.integers(2, 60))
def test_what_is_quoted_is_one_short_line(text: str, limit: int) -> None:
    line = quoted(text, limit)
    assert len(line) <= limit
    assert len(line.splitlines()) <= 1


def test_the_names_of_customers_name_no_gap() -> None:
    asked = [question(1, "Zacharias here: gift cards?", 1, name="Zacharias Born")]
    assert "zacharias" not in str(find_gaps(asked)[0].line()).lower()


def test_the_reply_nearest_to_the_others_speaks_for_them() -> None:
    texts = ["gift cards are sold in the shop", "gift cards are sold in the shop at ten", "have a nice day"]
    replies = [AgentReply(utterance_id=10 + at, question_id=1, text=text) for at, text in enumerate(texts)]
    gap = find_gaps([question(1, "where are gift cards sold")], [replies[2], replies[1], replies[0]])[0]
    assert [reply.utterance_id for reply in gap.replies] == [10, 11, 12]
    best = most_representative(gap)
    assert best is not None
    assert best.utterance_id == 10
    assert most_representative(replace(gap, replies=())) is None


def test_however_many_questions_are_compared_at_a_time_the_gaps_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = [question(at, f"{WORDS[at % 9]} {WORDS[at * 5 % 9]} {WORDS[at * 2 % 7]}", at % 4) for at in range(1, 40)]
    at_once = find_gaps(asked)
    monkeypatch.setattr("bot.services.knowledge.gaps.ROWS_A_TIME", 3)
    assert find_gaps(asked) == at_once
    assert 1 < len(at_once) < len(asked)
