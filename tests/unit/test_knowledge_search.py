"""Search: the right article first, codes decide, a language and a customer's products scope it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from messages.encoder import OnnxEncoder, load_encoder
from messages.errors import ArticleError, EncoderError
from messages.knowledge import Article, KnowledgeIndex, sections
from tests.peers import shared_data

ARTICLES = [
    Article("returns", "How to return something", "Send it back within 30 days.", ["Can I send it back?"]),
    Article("filter", "How to clean the filter", "Rinse it under cold water.\n\nLet it dry for a day."),
    Article("late", "What happens when a parcel is late", "Most come within three days."),
    Article("e04", "The display shows an error", "Code E04: the brush is blocked."),
    Article("e05", "The display shows an error code", "Code E05: the tank is empty."),
    Article("filter-de", "So reinigen Sie den Filter", "Unter kaltem Wasser spülen.", locale="de"),
    Article("pan", "How to clean the pan", "With hot water only.", products=("PAN-28",)),
]


@pytest.fixture(scope="module")
def index() -> KnowledgeIndex:
    return KnowledgeIndex.build(ARTICLES)


@pytest.mark.parametrize(
    ("question", "wanted"),
    [
        ("my package has not arrived yet", "late"),
        ("i want to give it back", "returns"),
        ("washing the filter", "filter"),
        ("error e04", "e04"),
        ("error E05 on the screen", "e05"),
    ],
)
def test_the_right_article_comes_first(index: KnowledgeIndex, question: str, wanted: str) -> None:
    assert index.search(question)[0].article_id == wanted


def test_an_article_without_a_body_is_found_by_its_headings_alone() -> None:
    asked = "Is my coupon still good?"
    bare = KnowledgeIndex.build(
        [Article("coupon", "Voucher expiry", "", [asked]), Article("other", "Opening hours", "")]
    )
    assert bare.search(asked)[0].article_id == "coupon"
    assert bare.search(asked)[0].score == 1.0


def test_scores_are_between_zero_and_one_and_fall(index: KnowledgeIndex) -> None:
    for hits in index.search_many(["filter", "zzzz qqqq", "How to clean the filter", "!?"], k=20):
        scores = [hit.score for hit in hits]
        assert scores == sorted(scores, reverse=True)
        assert all(0 <= score <= 1 for score in scores)


def test_the_passage_is_taken_word_for_word_from_the_article(index: KnowledgeIndex) -> None:
    bodies = {article.id: article.body for article in ARTICLES}
    for hit in index.search("how do I wash the filter", k=7):
        assert hit.passage in bodies[hit.article_id]


def test_one_query_answers_as_many_do(index: KnowledgeIndex) -> None:
    queries = ["late parcel", "clean the filter", "send back"]
    together = [hits[0].article_id for hits in index.search_many(queries)]
    assert together == [index.search(query)[0].article_id for query in queries]


def test_a_language_is_kept_where_there_are_articles_in_it(index: KnowledgeIndex) -> None:
    assert {hit.article_id for hit in index.search("Filter reinigen", locale="de-AT")} == {"filter-de"}
    assert "filter-de" not in {hit.article_id for hit in index.search("clean the filter", k=9, locale="en")}
    assert index.search("clean the filter", locale="fi")[0].article_id in {"filter", "filter-de"}


def test_articles_about_other_products_are_left_out(index: KnowledgeIndex) -> None:
    assert "pan" not in {hit.article_id for hit in index.search("clean the pan", k=9, products=["VAC-200"])}
    assert index.search("clean the pan", products=["pan-28"])[0].article_id == "pan"


def test_nothing_to_search_or_nothing_asked_finds_nothing(index: KnowledgeIndex) -> None:
    assert KnowledgeIndex.build([]).search("filter") == []
    assert index.search("") == []
    assert index.search("   ") == []
    assert index.search("filter", k=0) == []
    assert index.search_many([]) == []


def test_an_id_that_stands_twice_is_an_error() -> None:
    with pytest.raises(ArticleError, match="returns"):
        KnowledgeIndex.build([ARTICLES[0], ARTICLES[0]])


def test_without_an_encoder_words_alone_answer_and_the_index_says_so(index: KnowledgeIndex) -> None:
    alone = KnowledgeIndex.build(ARTICLES, lexical_only=True)
    assert alone.search("clean the filter")[0].article_id == "filter"
    assert all(0 < hit.score <= 1 for hit in alone.search("clean the filter"))
    assert alone.search("zzzz") == []
    assert "BM25 alone" in alone.answered_by
    assert "MiniLM" in index.answered_by


def test_only_a_changed_article_is_embedded_again() -> None:
    class Counting:
        name = "counting"

        def __init__(self) -> None:
            self.seen: list[str] = []

        def encode(self, texts: list[str]) -> np.ndarray:
            self.seen.extend(texts)
            return np.ones((len(texts), 4), dtype=np.float32) / 2

    encoder = Counting()
    first = KnowledgeIndex.build(ARTICLES, encoder)
    encoder.seen.clear()
    changed = [*ARTICLES[1:], Article("returns", "How to return something", "Within 60 days.")]
    KnowledgeIndex.build(changed, encoder, previous=first)
    assert encoder.seen == ["How to return something. Within 60 days."]


def test_long_bodies_are_cut_into_sections_that_lose_no_words() -> None:
    body = "\n\n".join(f"# Part {n}\n\n" + "words of this part. " * 60 for n in range(5))
    parts = sections(body)
    assert len(parts) > 5
    assert all(len(part) <= 1_200 for part in parts)
    assert " ".join(" ".join(parts).split()) == " ".join(body.split())


def test_an_altered_model_is_refused(tmp_path: Path) -> None:
    model = tmp_path / "model.onnx"
    tokenizer = tmp_path / "tokenizer.json"
    model.write_bytes(b"not a model")
    tokenizer.write_text("{}")
    with pytest.raises(EncoderError, match="sha256"):
        OnnxEncoder(model, tokenizer, sha256="0" * 64)
    with pytest.raises(EncoderError, match="no usable"):
        OnnxEncoder(model, tokenizer)
    with pytest.raises(EncoderError, match="missing"):
        load_encoder(tmp_path / "nowhere")


def test_vectors_have_unit_length_and_meaning() -> None:
    encoder = load_encoder()
    assert encoder is not None
    vectors = encoder.encode(["where is my parcel", "my package has not arrived", "how to clean the filter", ""])
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-3)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2]
    assert encoder.encode([]).shape == (0, encoder.dimensions)


@pytest.mark.shared_data
def test_recall_on_a_part_of_stackfaq_holds() -> None:
    threads = json.loads((shared_data() / "text" / "stackfaq_dev.json").read_text())[::6]
    index = KnowledgeIndex.build(
        [Article(f"{t['id']}-{i}", t["question"], body) for t in threads for i, body in enumerate(t["answers"])]
    )
    asked = [(str(t["id"]), text) for t in threads for text in t["rephrasings"]]
    found = [hits[0].article_id.rsplit("-", 1)[0] for hits in index.search_many([text for _, text in asked])]
    assert np.mean([one == gold for one, (gold, _) in zip(found, asked, strict=True)]) >= 0.97
