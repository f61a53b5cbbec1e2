"""Commands around the workers: installing their queue, what is said without it, and what stays unused without them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from bot.cli import run as command
from bot.config import Settings
from bot.running import Running
from bot.store.controls import set_control
from bot.store.database import open_database
from bot.store.queue_schema import queue_version
from bot.wiring import App
from tests.conftest import NOW
from tests.queue_world import queue_url  # noqa: F401 - a fixture

Write = Callable[[str, str], Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    monkeypatch.delenv("AFTERCARE_DATABASE_URL", raising=False)

    def written(url: str, engine: str) -> Path:
        path = tmp_path / "config.yaml"
        path.write_text(yaml.safe_dump({"database": {"url": url}, "delivery": {"engine": engine}, "web": {"port": 0}}))
        return path

    return written


@pytest.mark.peer
def test_upgrading_installs_the_queue_once_and_says_so(
    postgres_url: str, write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write(postgres_url, "workers")
    assert command(["db", "upgrade", "--config", str(config)]) == 0
    assert "The workers' queue was brought to" in capsys.readouterr().out
    assert command(["db", "upgrade", "--json", "--config", str(config)]) == 0
    line = json.loads(capsys.readouterr().out)
    assert (line["from"], line["backup"]) == (line["to"], None)
    assert line["queue"]
    assert command(["doctor", "--json", "--config", str(config)]) in (0, 1)
    checks = [json.loads(row) for row in capsys.readouterr().out.splitlines()]
    (engine,) = [check for check in checks if check["name"] == "delivery.engine"]
    assert engine["state"] == "warn"
    assert "no worker has reported" in engine["detail"]


@pytest.mark.peer
def test_without_the_queue_everything_says_what_to_run(
    postgres_url: str, write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write(postgres_url, "workers")
    assert command(["worker", "--config", str(config)]) == 1
    assert "run `aftercare db upgrade`" in capsys.readouterr().err
    assert command(["doctor", "--config", str(config)]) == 1
    assert "db upgrade" in capsys.readouterr().out


@pytest.mark.peer
def test_a_backup_without_the_queue_is_restored_and_says_what_to_run(
    own_postgres: str, write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    embedded = write(own_postgres, "embedded")
    assert command(["db", "upgrade", "--config", str(embedded)]) == 0
    assert command(["db", "backup", "--json", "--config", str(embedded)]) == 0
    kept = json.loads(capsys.readouterr().out.splitlines()[-1])["file"]
    workers = write(own_postgres, "workers")
    assert command(["db", "upgrade", "--config", str(workers)]) == 0
    assert command(["db", "restore", kept, "--config", str(workers)]) == 0
    assert "run `aftercare db upgrade`" in capsys.readouterr().err
    assert command(["worker", "--config", str(workers)]) == 1
    assert "restored from a backup without it); run `aftercare db upgrade`" in capsys.readouterr().err
    assert command(["doctor", "--config", str(workers)]) == 1
    assert "db upgrade" in capsys.readouterr().out
    assert command(["db", "upgrade", "--config", str(workers)]) == 0
    assert "The workers' queue was brought to" in capsys.readouterr().out
    assert command(["db", "backup", "--json", "--config", str(workers)]) == 0
    whole = json.loads(capsys.readouterr().out.splitlines()[-1])["file"]
    assert command(["db", "restore", whole, "--config", str(workers)]) == 0
    assert "db upgrade" not in capsys.readouterr().err
    assert command(["doctor", "--json", "--config", str(workers)]) in (0, 1)
    checks = {check["name"]: check for check in map(json.loads, capsys.readouterr().out.splitlines())}
    assert "the workers' queue stands" in checks["delivery.engine"]["detail"]


@pytest.mark.peer
def test_a_queue_of_another_version_is_noticed(
    queue_url: str,  # noqa: F811
    write: Write,
    capsys: pytest.CaptureFixture[str],
) -> None:
    database = open_database(queue_url)
    with database.write() as connection:
        set_control(connection, "queue_schema", {"version": "03.00.00_01_old.sql"}, "test", NOW)
    database.close()
    assert command(["doctor", "--json", "--config", str(write(queue_url, "workers"))]) == 1
    checks = {check["name"]: check for check in map(json.loads, capsys.readouterr().out.splitlines())}
    assert (checks["delivery.engine"]["state"], "db upgrade" in checks["delivery.engine"]["detail"]) == ("fail", True)


@pytest.mark.peer
def test_an_embedded_engine_needs_no_queue_on_postgresql(postgres_url: str, write: Write) -> None:
    config = write(postgres_url, "embedded")
    assert command(["db", "upgrade", "--config", str(config)]) == 0
    database = open_database(postgres_url)
    assert queue_version(database) is None
    database.close()


@pytest.mark.peer
def test_beside_workers_the_bot_ticks_nothing_and_does_not_deliver(queue_url: str, write: Write) -> None:  # noqa: F811
    app = App.from_config(write(queue_url, "workers"))
    try:
        assert app.scheduler().names == ()
        running = Running(app)
        checks = {check.name: check for check in running.checks()}
        assert (checks["scheduler"].state, checks["email"].state) == ("off", "off")
        assert (checks["workers"].ok, checks["workers"].state) == (False, "none")
    finally:
        app.close()


def test_who_is_connected_to_slack_keeps_its_cards_true(sqlite_url: str) -> None:
    slack = {"mode": "socket", "review_channel": "C1", "agents": ["U1"]}
    settings = Settings.model_validate(
        {"database": {"url": sqlite_url}, "delivery": {"engine": "workers"}, "slack": slack}
    )
    assert App(settings).scheduler().names == ("show",)
    assert App(settings).scheduler(ticks=False).names == ()


@pytest.mark.parametrize("arguments", [["worker"], ["worker", "--queues", "mail"]])
def test_a_worker_of_an_embedded_engine_is_refused(
    sqlite_url: str, write: Write, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert command([*arguments, "--config", str(write(sqlite_url, "embedded"))]) == 2
    assert ("delivery.engine" if len(arguments) == 1 else "--queues takes") in capsys.readouterr().err


@pytest.mark.parametrize("module", ["bot.wiring", "bot.running", "bot.commands.database", "bot.commands.worker"])
def test_procrastinate_is_imported_only_where_there_are_workers(module: str) -> None:
    code = f"import sys, {module}; print('procrastinate' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"
