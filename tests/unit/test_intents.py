"""The intent classifier keeps scikit-learn's conventions and knows what it does not know."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from messages.errors import IntentError
from messages.intents import Intent, IntentClassifier

TEXTS = [
    "where is my order", "when does my parcel arrive", "track my package", "has it been shipped",
    "I want my money back", "refund please", "when do I get the refund", "give me the money back",
    "how do I clean the filter", "washing the filter", "filter cleaning", "rinse the filter",
]  # fmt: skip
LABELS = ["order"] * 4 + ["refund"] * 4 + ["filter"] * 4


@pytest.fixture(scope="module", params=[False, True], ids=["encoder", "words alone"])
def fitted(request: pytest.FixtureRequest) -> IntentClassifier:
    return IntentClassifier(lexical_only=request.param).fit(TEXTS, LABELS)


def test_it_learns_its_examples(fitted: IntentClassifier) -> None:
    assert list(fitted.predict(TEXTS)) == LABELS
    assert list(fitted.predict(["where is my package", "clean filter"])) == ["order", "filter"]


def test_probabilities_are_probabilities(fitted: IntentClassifier) -> None:
    found = fitted.predict_proba([*TEXTS, "", "????", "x" * 30_000])
    assert found.shape == (15, 3)
    assert np.allclose(found.sum(axis=1), 1)
    assert (found >= 0).all()


def test_what_is_far_from_every_example_is_less_in_scope(fitted: IntentClassifier) -> None:
    near, far = fitted.scope_score(["where is my parcel", "quantum chromodynamics lecture at noon"])
    assert 0 <= far < near <= 1


def test_out_of_scope_is_none(fitted: IntentClassifier) -> None:
    strict = clone(fitted).set_params(scope_threshold=1.1).fit(TEXTS, LABELS)
    assert strict.decide(["where is my order"])[0].label is None
    open_minded = clone(fitted).set_params(scope_threshold=0.0).fit(TEXTS, LABELS)
    (found,) = open_minded.decide(["where is my order"])
    assert isinstance(found, Intent)
    assert found.label == "order"
    assert found.confidence > 0.5


def test_params_survive_a_clone() -> None:
    first = IntentClassifier(lexical_only=True, scope_threshold=0.3, seed=7)
    assert clone(first).get_params() == first.get_params()


def test_the_same_data_give_the_same_model(fitted: IntentClassifier) -> None:
    again = clone(fitted).fit(TEXTS, LABELS)
    assert np.allclose(again.predict_proba(TEXTS), fitted.predict_proba(TEXTS), atol=1e-6)


@pytest.mark.parametrize(
    ("texts", "labels"),
    [([], []), (["a"], ["x", "y"]), (["hello there", "hi you"], ["x", "x"]), (["", ""], ["x", "y"])],
)
def test_nothing_to_learn_is_a_named_error(texts: list[str], labels: list[str]) -> None:
    with pytest.raises(IntentError):
        IntentClassifier(lexical_only=True).fit(texts, labels)


def test_one_text_instead_of_a_list_is_an_error(fitted: IntentClassifier) -> None:
    with pytest.raises(IntentError, match="list"):
        fitted.predict("where is my order")


def test_an_unfitted_classifier_says_so() -> None:
    with pytest.raises(NotFittedError):
        IntentClassifier().predict(["x"])


def test_no_texts_give_empty_answers(fitted: IntentClassifier) -> None:
    assert fitted.predict_proba([]).shape == (0, 3)
    assert fitted.decide([]) == []
