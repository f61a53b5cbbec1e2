"""`init`, `config check` and `doctor`, as a newcomer meets them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bot.cli import run
from bot.config import ENVIRONMENT
from tests.peers import free_port


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, and nothing in the environment."""
    for name in ("AFTERCARE_CONFIG", "AFTERCARE_DATABASE_URL", "AFTERCARE_NOW", *ENVIRONMENT):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(f"{name}_FILE", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def findings(capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    return {line["name"]: line["state"] for line in map(json.loads, capsys.readouterr().out.splitlines())}


def test_init_writes_a_configuration_that_is_fine_and_never_overwrites(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["init"]) == 0
    assert run(["config", "check"]) == 0
    assert "config.yaml is fine" in capsys.readouterr().out
    (home / "config.yaml").write_text("shop: {name: Mine}\n", encoding="utf-8")
    assert run(["init"]) == 2
    assert "left alone" in capsys.readouterr().err
    assert (home / "config.yaml").read_text(encoding="utf-8") == "shop: {name: Mine}\n"
    assert run(["init", "--config", "none/config.yaml"]) == 2


def test_config_check_names_all_problems_and_exits_2(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "config.yaml").write_text("web: {port: x}\nslak: {}\n", encoding="utf-8")
    assert run(["config", "check"]) == 2
    told = capsys.readouterr().err
    assert "web.port" in told
    assert "slak" in told
    assert run(["config", "check", "--json"]) == 2
    assert {json.loads(line)["path"] for line in capsys.readouterr().out.splitlines()} == {"web.port", "slak"}


def test_the_doctor_looks_at_a_new_installation_and_changes_nothing(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["init"]) == 0
    capsys.readouterr()
    assert run(["doctor", "--json"]) == 0
    found = findings(capsys)
    assert found["database.url"] == "ok"
    assert found["models.dir"] == "ok"
    assert found["AFTERCARE_SECRET_KEY"] == "warn"
    assert [file.name for file in home.iterdir()] == ["config.yaml"]
    assert run(["db", "upgrade"]) == 0
    capsys.readouterr()
    assert run(["doctor", "--json"]) == 0
    assert findings(capsys)["knowledge"] == "warn"
    assert run(["doctor"]) == 0
    assert "kb import" in capsys.readouterr().out


def test_the_doctor_says_what_fails(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "file").write_text("", encoding="utf-8")
    (home / "config.yaml").write_text(
        "database: {url: sqlite:///none/a.db}\nmodels: {dir: file/models}\nknowledge: {encoder: {path: none}}\n"
        "email: {enabled: true}\n",
        encoding="utf-8",
    )
    monkeypatch.setenv("SMTP_URL", f"smtp://127.0.0.1:{free_port()}")
    monkeypatch.setenv("AFTERCARE_SECRET_KEY", "long and random")
    assert run(["doctor", "--json"]) == 1
    found = findings(capsys)
    assert {name for name, state in found.items() if state == "fail"} == {
        "database.url",
        "models.dir",
        "knowledge.encoder",
        "SMTP_URL",
    }
    (home / "config.yaml").write_text("web: {port: x}\n", encoding="utf-8")
    assert run(["doctor", "--json"]) == 2
    assert findings(capsys) == {"web.port": "fail"}
