"""What stands in deploy/ fits the commands, the secrets and the health page that exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from bot.cli import cli
from bot.config import ENVIRONMENT
from bot.running import PARTS

DEPLOY = Path(__file__).parents[2] / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
SECRETS = {f"{name}_FILE" for name in (*ENVIRONMENT, "AFTERCARE_DATABASE_URL")}
HARDENED = {
    "NoNewPrivileges=yes",
    "ProtectSystem=strict",
    "ProtectHome=yes",
    "PrivateTmp=yes",
    "CapabilityBoundingSet=",
    "SystemCallFilter=@system-service",
}


@pytest.fixture
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
    return loaded


def parses(arguments: list[str]) -> bool:
    """Say whether there is such a command with such options."""
    context = click.Context(cli, info_name="aftercare")
    command: click.Command | None = cli.get_command(context, arguments[0])
    rest = arguments[1:]
    if isinstance(command, click.Group):
        command, rest = command.get_command(context, rest[0]), rest[1:]
    assert command is not None
    command.make_context("aftercare", list(rest))
    return True


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_starts_what_exists_with_secrets_that_are_read_and_little_else(unit: Path) -> None:
    lines = unit.read_text(encoding="utf-8").splitlines()
    (start,) = [line.removeprefix("ExecStart=") for line in lines if line.startswith("ExecStart=")]
    assert parses(shlex.split(start)[1:])
    names = {line.split("=")[1]: line.split("=")[2] for line in lines if line.startswith("Environment=")}
    assert names.keys() <= SECRETS
    assert {value.removeprefix("%d/") for value in names.values()} == {
        line.removeprefix("LoadCredential=").partition(":")[0] for line in lines if line.startswith("LoadCredential=")
    }
    assert set(lines) >= HARDENED


def test_there_is_a_unit_for_the_bot_and_one_for_any_number_of_workers() -> None:
    assert [unit.name for unit in UNITS] == ["aftercare-worker@.service", "aftercare.service"]
    bot = UNITS[1].read_text(encoding="utf-8")
    only = re.search(r"--only (\S+)", bot)
    assert only
    assert set(only.group(1).split(",")) == set(PARTS) - {"delivery"}


def test_the_containers_start_what_exists_and_the_bot_is_asked_whether_it_is_ready(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert set(services) == {"database", "upgrade", "bot", "worker"}
    assert services["database"]["image"] == "postgres:15"
    for name in ("upgrade", "bot", "worker"):
        assert parses(services[name]["command"])
        assert services[name]["cap_drop"] == ["ALL"]
    assert services["upgrade"]["command"] == ["db", "upgrade"]
    assert services["worker"]["depends_on"] == {"upgrade": {"condition": "service_completed_successfully"}}
    assert "/readyz" in services["bot"]["healthcheck"]["test"][-1]
    assert int(services["worker"]["stop_grace_period"].removesuffix("s")) > 10


def test_containers_read_secrets_from_files_that_they_are_given(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        environment = service["environment"]
        read = {value for key, value in environment.items() if key.endswith("_FILE")}
        assert read == {f"/run/secrets/{secret}" for secret in service["secrets"]}
        assert set(service["secrets"]) <= set(compose["secrets"])
        if name != "database":
            assert environment.keys() <= SECRETS


def test_no_image_names_a_registry(compose: dict[str, Any]) -> None:
    images = [service["image"] for service in compose["services"].values()]
    dockerfile = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    images += [line.split()[1] for line in dockerfile.splitlines() if line.startswith("FROM ")]
    assert images
    assert not [image for image in images if "/" in image]
    assert "://" not in dockerfile


def test_the_image_takes_what_the_package_is_built_from() -> None:
    dockerfile = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    copied = [
        line.split()[1:-1] for line in dockerfile.splitlines() if line.startswith("COPY ") and "--from" not in line
    ]
    sources = {source for sources in copied for source in sources}
    assert {"bot", "predictors", "messages", "pyproject.toml", "requirements.txt", "README.md", "LICENSE"} == sources
    assert all((DEPLOY.parent / source).exists() for source in sources)
