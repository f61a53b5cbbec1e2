"""`aftercare import` as a user or a script meets it, and on real data."""

from __future__ import annotations

import csv
import gzip
import json
from itertools import islice
from pathlib import Path

import pytest

from bot.cli import run
from tests.peers import shared_data


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sqlite_url: str) -> Path:
    """A working folder with an empty database."""
    (tmp_path / "config.yaml").write_text("shop: {timezone: America/Sao_Paulo}\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AFTERCARE_CONFIG", raising=False)
    return tmp_path


def lines(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def test_import_prints_one_json_object_a_file_and_exits_3_with_rejects(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "customers.csv").write_text("customer_id,name\nc1,Ann\n,Bob\n", encoding="utf-8")
    assert run(["import", "customers.csv", "--json"]) == 3
    printed = capsys.readouterr()
    assert lines(printed.out) == [
        {"file": "customers.csv", "read": 2, "new": 1, "updated": 0, "unchanged": 0, "rejected": 1}
    ]
    assert "rejects.csv" in printed.err
    assert (home / "rejects.csv").read_text(encoding="utf-8").splitlines() == [
        "file,line,column,reason",
        "customers.csv,3,customer_id,is required and missing",
    ]
    (home / "customers.csv").write_text("customer_id,name\nc1,Ann\n", encoding="utf-8")
    assert run(["import", ".", "--source", "files"]) == 0
    assert "unchanged" in capsys.readouterr().out
    assert not (home / "rejects.csv").exists()


def test_import_of_nothing_is_a_usage_error(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["import", "none.csv"]) == 2
    assert "none.csv does not exist" in capsys.readouterr().err
    assert run(["import"]) == 2


@pytest.mark.shared_data
@pytest.mark.parametrize("name", ["olist", "cdnow"])
def test_real_shops_are_imported_whole_and_only_once(home: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    folder = home / name
    folder.mkdir()
    expected = 0
    for file in (shared_data() / name).glob("*.csv.gz"):
        with gzip.open(file, "rt", encoding="utf-8", newline="") as opened:
            rows = list(islice(csv.reader(opened), 40_000))  # of Olist's touchpoints a part; the rest whole
        expected += len(rows) - 1
        with gzip.open(folder / file.name, "wt", encoding="utf-8", newline="", compresslevel=1) as written:
            csv.writer(written).writerows(rows)
    assert run(["import", str(folder), "--json"]) == 0
    first = lines(capsys.readouterr().out)
    assert sum(int(str(report["new"])) for report in first) == expected
    assert {report["rejected"] for report in first} == {0}
    assert run(["import", str(folder), "--json"]) == 0
    again = lines(capsys.readouterr().out)
    assert {(report["new"], report["updated"], report["rejected"]) for report in again} == {(0, 0, 0)}
