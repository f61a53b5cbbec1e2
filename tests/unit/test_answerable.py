"""Whether to answer a short message: what is learned from sample questions and labels, and what mistakes cost."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.services.knowledge.deciding import decider
from bot.settings import Knowledge
from bot.store.enums import ExampleSource
from bot.store.examples import Example
from messages.answerable import LEAST_ARTICLES, Answerability, Costs, Label, Trial, coverage_at
from messages.answers import Answerer, Decision, known_intents
from messages.encoder import Vectors
from messages.intents import IntentClassifier
from messages.knowledge import Article, KnowledgeIndex

TOPICS = (
    "kettle", "lid", "coupon", "drill", "invoice", "pump", "hose", "lamp", "socket", "ladder", "sofa", "fabric",
    "shelf", "bracket", "mirror", "faucet", "gasket", "pillow", "blanket", "grill", "tripod", "camera",
)  # fmt: skip
DAY = date(2026, 5, 4)
COSTS = Costs(wrong_answer=3.0)


class WordVectors:
    """A toy encoder: a text is the sum of its words, each a direction of its own."""

    name = "toy"

    def encode(self, texts: Sequence[str]) -> Vectors:
        found = np.stack([self._sum(text) for text in texts]) if texts else np.zeros((0, 48))
        return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), dtype=np.float32)

    @staticmethod
    def _sum(text: str) -> np.ndarray:
        total = np.full(48, 1e-3)
        for word in text.casefold().split():
            seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:4], "big")
            total += np.random.default_rng(seed).normal(size=48)
        return total


def article(number: int, topic: str) -> Article:
    other = TOPICS[(number + 7) % len(TOPICS)]
    asked = [
        f"how do i clean the {topic}",
        f"cleaning my {topic} at home",
        f"can i clean the {topic} with soap",
        f"what cleans a {topic} best",
        f"is the {topic} fit for the {other}",
        f"clean {topic}",
    ]
    return Article(topic, f"Cleaning the {topic}", "", asked)


ARTICLES = [article(number, topic) for number, topic in enumerate(TOPICS)]


@pytest.fixture(scope="module")
def index() -> KnowledgeIndex:
    return KnowledgeIndex.build(ARTICLES, WordVectors())


@pytest.fixture(scope="module")
def model(index: KnowledgeIndex) -> Answerability:
    found = Answerability.fit(index, costs=COSTS)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def classifier() -> IntentClassifier:
    return known_intents(lexical_only=True)


def probability(model: Answerability, index: KnowledgeIndex, text: str) -> float:
    return model.probability(text, index.search(text))


@settings(max_examples=30, deadline=None)
@given(text=st.text(min_size=1, max_size=60))
def test_a_probability_is_between_zero_and_one(index: KnowledgeIndex, model: Answerability, text: str) -> None:
    assert 0.0 <= probability(model, index, text) <= 1.0


def test_nothing_found_is_no_answer(model: Answerability) -> None:
    assert model.probability("anything", []) == 0.0


def test_a_question_of_an_article_is_more_probable_than_one_that_no_article_knows(
    index: KnowledgeIndex, model: Answerability
) -> None:
    known = probability(model, index, "how do i clean the kettle please")
    assert known > 0.8 > 0.4 > probability(model, index, "which colour has the parrot")


def test_the_same_articles_teach_the_same(index: KnowledgeIndex, model: Answerability) -> None:
    again = Answerability.fit(index, costs=COSTS)
    assert again is not None
    assert again.trial == model.trial
    for text in ("clean the grill", "parrot", "is the lamp fit for soap"):
        assert probability(again, index, text) == probability(model, index, text)


def test_a_question_is_not_learned_from_itself(model: Answerability) -> None:
    # Were it found by its own words, with nothing else of its article gone, no trial would go wrong or be shy.
    assert model.trial.asked == 2 * sum(len(one.questions) for one in ARTICLES)
    assert model.trial.right < sum(len(one.questions) for one in ARTICLES)


@pytest.mark.parametrize(
    ("articles", "encoder"),
    [
        (ARTICLES[: LEAST_ARTICLES - 1], WordVectors()),
        ([replace(one, questions=one.questions[:4]) for one in ARTICLES], WordVectors()),
        (ARTICLES, None),
    ],
    ids=["few articles", "few questions", "no encoder"],
)
def test_too_little_to_learn_from_leaves_it_to_the_threshold(
    articles: list[Article], encoder: WordVectors | None, classifier: IntentClassifier
) -> None:
    small = KnowledgeIndex.build(articles, encoder, lexical_only=encoder is None)
    assert Answerability.fit(small) is None
    made = decider(small, classifier, Knowledge(), [], DAY)
    assert made.reason.startswith("short messages are answered from a score of 0.62 on: too few")


def test_labels_move_the_probability_their_way(index: KnowledgeIndex, model: Answerability) -> None:
    asked = "is the kettle fit for tea"
    first = index.search(asked)[0].article_id

    def taught(label: Label) -> float:
        found = Answerability.fit(index, [label], costs=COSTS)
        assert found is not None
        return probability(found, index, asked)

    before = probability(model, index, asked)
    assert taught(Label(text=asked, article=first, weight=20)) > before
    assert taught(Label(text=asked, article=first, right=False, weight=20)) < before
    assert taught(Label(text=asked, article=None, weight=20)) < before
    # Neither what another article is not, nor an article that is no longer there, says anything about this one.
    assert taught(Label(text=asked, article="camera", right=False, weight=20)) == before
    assert taught(Label(text=asked, article="long gone", weight=20)) == before


@given(
    likely=st.floats(0, 1),
    wrong=st.floats(0.1, 100),
    handoff=st.floats(0.1, 100),
    more=st.floats(0, 50),
)
def test_dearer_mistakes_and_cheaper_humans_never_add_an_answer(
    likely: float, wrong: float, handoff: float, more: float
) -> None:
    costs = Costs(wrong_answer=wrong, handoff=handoff)
    if Costs(wrong_answer=wrong + more, handoff=handoff).worth_answering(likely):
        assert costs.worth_answering(likely)
    if costs.worth_answering(likely):
        assert Costs(wrong_answer=wrong, handoff=handoff + more).worth_answering(likely)
        assert likely >= costs.least_probability - 1e-9


def test_the_costs_decide_about_short_messages_alone(
    index: KnowledgeIndex, model: Answerability, classifier: IntentClassifier
) -> None:
    def decision(text: str, wrong_answer: float) -> Decision:
        costs = Costs(wrong_answer=wrong_answer)
        return Answerer(index, classifier, answerable=model, costs=costs).answer(text).decision

    short, long = "how do i clean the kettle", "how do i clean the kettle " * 13
    assert decision(short, 2.0) is Decision.ANSWER
    assert decision(short, 1_000_000.0) is Decision.CLARIFY
    assert decision(long, 2.0) is decision(long, 1_000_000.0) is Decision.ANSWER


def test_what_was_learned_decides_only_where_it_proved_better() -> None:
    better = Trial(
        asked=100, right=30, wrong=1, cost=89.0, matched=35, threshold_right=32, threshold_wrong=8, threshold_cost=220.0
    )
    assert better.won
    assert not replace(better, cost=220.0).won
    assert not replace(better, matched=31).won
    assert not replace(better, right=0).won


def test_the_shop_reads_what_decides(index: KnowledgeIndex, model: Answerability, classifier: IntentClassifier) -> None:
    configured = Knowledge.model_validate({"costs": {"wrong_answer": 3.0}})
    assert model.trial.won
    said = decider(index, classifier, configured, [], DAY).reason
    assert said.startswith("short messages are answered from a probability of 0.67 on; of 264 trials")


def test_only_short_labels_teach_and_agents_weigh_more(
    index: KnowledgeIndex, classifier: IntentClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[Label] = []

    def fit(_: KnowledgeIndex, labels: Iterable[Label], *, costs: Costs, threshold: float) -> None:
        heard.extend(labels)

    monkeypatch.setattr(Answerability, "fit", fit)
    rating = Example(
        utterance_id=1, text="clean it", intent=None, article="kettle", right=False, source=ExampleSource.RATING,
        actor=None, recorded_at=datetime(2026, 5, 1, tzinfo=UTC), name=None,
    )  # fmt: skip
    chosen = replace(rating, article=None, right=True, source=ExampleSource.AGENT_CHOICE)
    decider(index, classifier, Knowledge(), [rating, chosen, replace(rating, text="word " * 61)], DAY)
    assert heard == [
        Label(text="clean it", article="kettle", right=False, weight=1.0),
        Label(text="clean it", article=None, right=True, weight=3.0),
    ]


def test_an_article_left_out_is_not_found_and_others_take_its_place(index: KnowledgeIndex) -> None:
    asked = "clean kettle"
    usual, without = index.search_many([asked, asked], 3, without=["lid", "kettle"])
    assert usual[0].article_id == "kettle"
    assert "kettle" not in {hit.article_id for hit in without}
    assert len(without) == 3


@given(st.lists(st.tuples(st.sampled_from([0.1, 0.2, 0.5, 0.9]), st.booleans()), max_size=12))
def test_a_share_that_can_be_answered_is_that_of_some_bar(rows: list[tuple[float, bool]]) -> None:
    scores, right = np.array([one[0] for one in rows]), np.array([one[1] for one in rows], dtype=bool)
    possible = [right[scores >= bar] for bar in np.unique(scores)]
    best = max([0, *(len(said) for said in possible if said.mean() >= 0.75)])
    assert coverage_at(scores, right, 0.75) == pytest.approx(best / max(len(rows), 1))
