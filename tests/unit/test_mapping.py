"""mapping.yaml: our column: theirs, and every mistake in it at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from bot.errors import ConfigurationError
from bot.services.importing.canonical import COLUMNS
from bot.services.importing.mapping import ShopMapping, load_mapping
from bot.store.enums import Entity

KNOWN = {entity: [column.name for column in columns] for entity, columns in COLUMNS.items()}


def load(tmp_path: Path, text: str) -> ShopMapping:
    file = tmp_path / "mapping.yaml"
    file.write_text(text, encoding="utf-8")
    return load_mapping(file, KNOWN)


def test_columns_constants_values_and_files_are_read(tmp_path: Path) -> None:
    told = load(
        tmp_path,
        "files: {Bestellungen: orders}\norders:\n  order_id: Nummer\n  currency: {constant: EUR}\n"
        "  status: {column: Stand, values: {9: cancelled}}\n",
    )
    orders = told.of(Entity.ORDERS)
    assert told.files == {"Bestellungen": Entity.ORDERS}
    assert (orders.theirs("order_id"), orders.theirs("status"), orders.theirs("total")) == ("Nummer", "Stand", "total")
    assert orders.constants == {"currency": "EUR"}
    assert orders.values == {"status": {"9": "cancelled"}}
    assert told.of(Entity.PRODUCTS).columns == {}


def test_all_mistakes_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(
            tmp_path,
            "order: {}\nfiles: {x: ordrs}\norders:\n  order_idd: x\n  total: 5\n"
            "  status: {colum: x}\n  currency: {constant: EUR, column: c}\n  placed_at: {values: []}\n",
        )
    found = {place.partition(": ")[2]: advice for place, advice in caught.value.problems}
    assert set(found) == {
        "order", "files.x", "orders.order_idd", "orders.total", "orders.status.colum", "orders.currency", "orders.placed_at.values",
    }  # fmt: skip
    assert "did you mean orders?" in found["order"]
    assert "did you mean order_id?" in found["orders.order_idd"]


@pytest.mark.parametrize("text", ["[1]", "a: [", "5"])
def test_what_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"mapping\.yaml"):
        load(tmp_path, text)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="--map"):
        load_mapping(tmp_path / "none.yaml", KNOWN)
