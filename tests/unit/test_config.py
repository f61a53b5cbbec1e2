"""config.yaml and the environment: what is read, what is refused, and that the shipped file tells the truth."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from bot.config import Settings, load_settings
from bot.errors import ConfigurationError

ROOT = Path(__file__).parents[2]


def load(tmp_path: Path, text: str, environment: Mapping[str, str] | None = None) -> Settings:
    file = tmp_path / "config.yaml"
    file.write_text(text, encoding="utf-8")
    return load_settings(file, environment or {})


def problems(tmp_path: Path, text: str, environment: Mapping[str, str] | None = None) -> dict[str, str]:
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, text, environment)
    return dict(caught.value.problems)


def paths_of(section: type[BaseModel], before: str = "") -> set[str]:
    found = set()
    for name, field in section.model_fields.items():
        if not before and name in ("secrets", "home"):
            continue
        path = f"{before}{field.alias or name}"
        kind = field.annotation
        found |= paths_of(kind, f"{path}.") if isinstance(kind, type) and issubclass(kind, BaseModel) else {path}
    return found


def paths_in(tree: Mapping[str, Any], before: str = "") -> set[str]:
    found = set()
    for name, value in tree.items():
        path = f"{before}{name}"
        found |= paths_in(value, f"{path}.") if isinstance(value, dict) and value else {path}
    return found


def test_every_setting_stands_in_config_yaml_and_every_key_there_is_a_setting() -> None:
    assert paths_in(yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))) == paths_of(Settings)


def test_the_defaults_in_config_yaml_are_those_of_the_code() -> None:
    assert load_settings(ROOT / "config.yaml", {}).model_copy(update={"home": Path()}) == Settings()


def test_init_writes_the_config_yaml_of_the_repository() -> None:
    assert (ROOT / "bot" / "first_config.yaml").read_bytes() == (ROOT / "config.yaml").read_bytes()


def test_an_empty_file_means_all_defaults(tmp_path: Path) -> None:
    assert load(tmp_path, "# nothing\n").shop.timezone == "UTC"


def test_all_problems_are_named_at_once_each_with_its_path(tmp_path: Path) -> None:
    found = problems(
        tmp_path,
        "shop: {timezone: Europe/Berlim}\nslak: {}\nweb: {port: 70000, prt: 1}\n"
        "slack: {mode: socket}\npolicy: {caps: {day: 9}}\nemail: {enabled: true}\n",
    )
    assert "Europe/Berlin" in found["shop.timezone"]
    assert "did you mean slack?" in found["slak"]
    assert "65535" in found["web.port"]
    assert "did you mean port?" in found["web.prt"]
    assert "SLACK_BOT_TOKEN_FILE" in found["SLACK_BOT_TOKEN"]
    assert {"SLACK_APP_TOKEN", "slack.review_channel", "slack.agents", "policy.caps", "SMTP_URL"} <= set(found)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("shop: 5", "shop"),
        ("web: {port: yes}", "web.port"),
        ("web: {port: abc}", "web.port"),
        ("slack: {agents: U1}", "slack.agents"),
        ("shop: {name: 5}", "shop.name"),
        ("email: {from: a@b@c}", "email.from"),
        ("policy: {quiet_hours: {start: 25:00}}", "policy.quiet_hours.start"),
        ("policy: {quiet_hours: {start: 9}}", "policy.quiet_hours.start"),
        ("scheduler: {daily_at: '08:00+02:00'}", "scheduler.daily_at"),
        ("experiments: {holdout_share: 1.5}", "experiments.holdout_share"),
        ("journey: {csat: {at_lest: 4}}", "journey.csat.at_lest"),
        ("secrets: {smtp_url: x}", "secrets"),
        ("home: /tmp", "home"),
        ("database: {url: mysql://x}", "database.url"),
        ("predictors: {bands: {medium: .5, high: .4}}", "predictors.bands"),
        ("knowledge: {costs: {wrong_answer: 1, handoff: 2}}", "knowledge.costs.handoff"),
        ("web: {base_url: example.org}", "web.base_url"),
    ],
)
def test_a_wrong_setting_is_refused_under_its_path(tmp_path: Path, text: str, path: str) -> None:
    assert path in problems(tmp_path, text)


@pytest.mark.parametrize("text", ["[1, 2]", "shop: {", "shop: {name: a}\nshop: {name: b}\n", "a: &a [*a]\nshop: \x01"])
def test_what_is_no_configuration_is_refused_with_the_files_name(tmp_path: Path, text: str) -> None:
    assert [str(tmp_path / "config.yaml")] == list(problems(tmp_path, text))


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="aftercare init"):
        load_settings(tmp_path / "none.yaml", {})


def test_off_without_quotes_means_off(tmp_path: Path) -> None:
    assert load(tmp_path, "slack: {mode: off}").slack.mode == "off"


def test_times_of_day_are_read_with_and_without_quotes(tmp_path: Path) -> None:
    policy = load(tmp_path, "policy: {quiet_hours: {start: 21:30, end: '07:15'}}").policy
    assert (policy.quiet_hours.start, policy.quiet_hours.end) == (time(21, 30), time(7, 15))


def test_secrets_come_from_the_environment_or_a_file_and_never_show(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("hush-from-file\n", encoding="utf-8")
    settings = load(
        tmp_path,
        "",
        {"AFTERCARE_SECRET_KEY_FILE": str(tmp_path / "key"), "SMTP_URL": "smtps://u:hush-password@mail.example"},
    )
    assert settings.secrets.secret_key is not None
    assert settings.secrets.secret_key.get_secret_value() == "hush-from-file"
    assert "hush" not in repr(settings)


def test_a_secret_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    assert "SMTP_URL_FILE" in problems(tmp_path, "", {"SMTP_URL_FILE": str(tmp_path / "none")})


def test_mail_without_tls_is_refused_beyond_this_machine(tmp_path: Path) -> None:
    assert "smtp+starttls://" in problems(tmp_path, "", {"SMTP_URL": "smtp://mail.example:25"})["SMTP_URL"]
    assert load(tmp_path, "", {"SMTP_URL": "smtp://127.0.0.1:25"}).secrets.smtp_url is not None


def test_the_database_of_the_environment_wins(tmp_path: Path) -> None:
    url = "postgresql://me@host/shop"
    assert load(tmp_path, "database: {url: sqlite:///x.db}", {"AFTERCARE_DATABASE_URL": url}).database.url == url


def test_relative_paths_start_at_the_file(tmp_path: Path) -> None:
    assert load(tmp_path, "").path("models") == tmp_path / "models"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=8), inner, max_size=2),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(["shop", "web", "slack", "policy", "journey", "x"]), json_values, max_size=4))
def test_any_tree_is_either_read_or_refused_with_paths(
    tmp_path_factory: pytest.TempPathFactory, tree: dict[str, Any]
) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    refused: list[tuple[str, str]] = []
    try:
        assert load(folder, yaml.safe_dump(tree, allow_unicode=True)).home == folder
    except ConfigurationError as error:
        refused = list(error.problems)
    assert all(path and advice for path, advice in refused)
