"""Reasons read like sentences: one seller, two sellers."""

from __future__ import annotations

import pytest

from predictors.explain import FACTS, counted


@pytest.mark.parametrize(("number", "text"), [(0, "0 sellers"), (1, "1 seller"), (1.2, "1 seller"), (2, "2 sellers")])
def test_a_number_and_its_noun_agree(number: float, text: str) -> None:
    assert counted(number, "seller") == text


def test_a_basket_of_one_seller_reads_well() -> None:
    basket = next(fact for fact in FACTS if fact.name == "basket")
    assert basket.text({"items": 3.0, "sellers": 1.0}) == "The order has 3 items from 1 seller"
    assert basket.text({}) == "The order has an unknown number of items from an unknown number of sellers"
