"""`aftercare replay`: exact keys, the page, what cannot be replayed, and that nothing is written."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from datetime import timedelta
from pathlib import Path

import pytest

from bot.cli import run
from tests.integration.invented import NOW, imported_shop
from tests.unit.shops import START

FROM, TO = ((START + timedelta(days=days)).date() for days in (150, 175))
CONFIG = "shop: {name: <b>Invented</b>, timezone: America/Sao_Paulo}\npredictors: {issue: {horizon_days: 20}}\n"


@pytest.fixture(scope="module")
def shop(_migrated_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a shop, imported once."""
    home = imported_shop(_migrated_file, tmp_path_factory.mktemp("replayed"), orders=700)
    (home / "config.yaml").write_text(CONFIG, encoding="utf-8")
    return home


def _content(home: Path) -> str:
    with sqlite3.connect(home / "aftercare.db") as connection:
        return hashlib.sha256("\n".join(connection.iterdump()).encode()).hexdigest()


def _replay(home: Path, *arguments: str) -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AFTERCARE_NOW", NOW.isoformat())
        return run(["replay", "--config", str(home / "config.yaml"), *arguments])


def test_a_replay_prints_its_lines_writes_its_page_and_changes_nothing(
    shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page, before = tmp_path / "page.html", _content(shop)
    assert (
        _replay(shop, "--from", str(FROM), "--to", str(TO), "--capacity", "0.2", "--json", "--report", str(page)) == 0
    )
    assert _content(shop) == before
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    of = {
        row: [one for one in lines if one["row"] == row]
        for row in ("policy", "comparison", "capacity", "verdict", "contact")
    }
    assert [one["policy"] for one in of["policy"]] == ["aftercare", "rule", "aftercare_at_the_rules_volume"]
    ours = of["policy"][0]
    assert (ours["from"], ours["to"], ours["days"], ours["capacity"]) == (str(FROM), str(TO), 25, 0.2)
    assert set(ours["lead_days"]) == {"median", "low_quartile", "high_quartile"}
    contacts = [one for one in of["contact"] if one["policy"] == "aftercare"]
    assert len(contacts) == ours["contacts"] == len({one["order_id"] for one in contacts})
    assert 0 < sum(one["caught"] for one in contacts) == ours["caught"]
    assert all(str(FROM) <= one["local_date"] < str(TO) for one in contacts)
    assert all((one["first_sign_at"] or "9") > one["at"] for one in contacts)
    assert [one["comparison"] for one in of["comparison"]] == ["same_contacts", "same_capacity"]
    assert of["comparison"][1]["caught"] == ours["caught"]
    assert len(of["verdict"][0]["sentences"]) >= 4
    text = page.read_text(encoding="utf-8")
    assert text.count("<svg") == 4
    assert "<b>Invented" not in text
    assert "://" not in text.replace("http://www.w3.org/", "")
    for sentence in of["verdict"][0]["sentences"][:2]:
        assert sentence.split("'")[0] in text


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("--from", str(TO), "--to", str(FROM)), 2, "before --to"),
        (("--from", str(FROM), "--to", str(TO), "--capacity", "5"), 2, "share of the orders"),
        (("--from", f"{FROM}T09:00:00Z", "--to", f"{FROM}T10:00:00Z"), 2, "choose a longer span"),
        (("--from", "2036-01-01", "--to", "2036-02-01"), 4, "in the future"),
        (("--from", str(FROM), "--to", str(TO), "--report", "/nowhere/page.html"), 2, "make it first"),
    ],
)
def test_what_cannot_be_replayed_is_said(
    shop: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], status: int, said: str
) -> None:
    assert _replay(shop, *arguments) == status
    assert said in capsys.readouterr().err
