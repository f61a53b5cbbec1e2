"""Every setting of Aftercare: config.yaml and the environment become one frozen `Settings`.

Read once, by `load_settings`; everything else is handed its settings. All that is wrong is reported at
once, each problem with its path and what to write instead. Secrets come from the environment only
(NAME or NAME_FILE) and never appear in `repr`.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from pydantic import BaseModel, ValidationError

from bot.errors import ConfigurationError
from bot.setting_types import Section
from bot.settings import Secrets, Settings, Target

__all__ = ["ENVIRONMENT", "Section", "Settings", "load_settings"]

# What to write instead, by pydantic's type of error (https://docs.pydantic.dev/latest/errors/validation_errors/).
ADVICE = {
    "model_type": "must be a section with keys of its own",
    "dict_type": "must be a section with keys of its own",
    "tuple_type": "must be a list, such as [U0123456789]",
    "string_type": "must be a text; put it in quotes",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
}
ENVIRONMENT = {
    "AFTERCARE_SECRET_KEY": "secret_key",
    "SLACK_BOT_TOKEN": "slack_bot_token",
    "SLACK_APP_TOKEN": "slack_app_token",
    "SLACK_SIGNING_SECRET": "slack_signing_secret",
    "SLACK_API_BASE_URL": "slack_api_base_url",
    "SMTP_URL": "smtp_url",
    "IMAP_URL": "imap_url",
    "AFTERCARE_DKIM_KEY": "dkim_key",
    "AFTERCARE_MAIL_HOOK_SECRET": "mail_hook_secret",
}


def load_settings(path: Path | None = None, environment: Mapping[str, str] | None = None) -> Settings:
    """Read and check the configuration.

    Parameters
    ----------
    path : Path, optional
        The YAML file; else `AFTERCARE_CONFIG`, else `config.yaml` in the working folder.
    environment : mapping, optional
        Stands in for `os.environ`.

    Raises
    ------
    ConfigurationError
        With every problem found, each under its path.
    """
    environment = os.environ if environment is None else environment
    path = path or Path(environment.get("AFTERCARE_CONFIG") or "config.yaml")
    problems: list[tuple[str, str]] = []
    tree = _read_yaml(path)
    secrets = _read_environment(environment, problems)
    for forbidden in ("secrets", "home"):
        if forbidden in tree:
            problems.append((forbidden, "unknown key; secrets come from the environment only"))
            tree.pop(forbidden)
    if url := _variable(environment, "AFTERCARE_DATABASE_URL", problems):
        section = tree.setdefault("database", {})
        if isinstance(section, dict):
            section["url"] = url
    try:
        settings = Settings.model_validate({**tree, "home": path.resolve().parent})
    except ValidationError as error:
        problems += [_problem(item, tree) for item in error.errors()]
        settings = Settings(home=path.resolve().parent)
        # What the environment lacks can still be said, from the parts of the file that are well-formed.
        for name in ("slack", "email", "policy", "database", "web", "predictors", "review", "knowledge"):
            try:
                part = type(getattr(settings, name)).model_validate(tree.get(name) or {})
            except ValidationError:
                continue
            settings = settings.model_copy(update={name: part})
    try:
        settings = settings.model_copy(update={"secrets": Secrets.model_validate(secrets)})
    except ValidationError as error:  # pragma: no cover - every secret is a plain string
        problems += [_problem(item, {}) for item in error.errors()]
    problems += _contradictions(settings)
    if problems:
        raise ConfigurationError(problems)
    return settings


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        tree = yaml.load(path.read_text(encoding="utf-8"), _OneOfEach)  # noqa: S506 - a SafeLoader
    except FileNotFoundError:
        raise ConfigurationError([(str(path), "no such file; run `aftercare init` or pass --config PATH")]) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError([(str(path), f"cannot be read: {error}")]) from error
    except yaml.YAMLError as error:
        raise ConfigurationError([(str(path), f"is no valid YAML: {' '.join(str(error).split())}")]) from error
    except RecursionError as error:
        raise ConfigurationError([(str(path), "is nested too deeply")]) from error
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ConfigurationError([(str(path), "must be a mapping of sections such as `shop:` and `slack:`")])
    return {str(key): ({} if value is None else value) for key, value in tree.items()}


class _OneOfEach(yaml.SafeLoader):
    """Refuses a key that stands twice, of which YAML would silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, str) and key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key} stands there twice", key_node.start_mark)
            if isinstance(key, str):
                seen.add(key)
        return super().construct_mapping(node, deep=deep)


def _variable(environment: Mapping[str, str], name: str, problems: list[tuple[str, str]]) -> str | None:
    if value := environment.get(name):
        return value
    if file := environment.get(f"{name}_FILE"):
        try:
            return Path(file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            problems.append(
                (
                    f"{name}_FILE",
                    f"{file} cannot be read ({type(error).__name__}); name a readable file that holds {name}",
                )
            )
    return None


def _read_environment(environment: Mapping[str, str], problems: list[tuple[str, str]]) -> dict[str, str]:
    found = {field: _variable(environment, name, problems) for name, field in ENVIRONMENT.items()}
    return {field: value for field, value in found.items() if value}


def _problem(item: Any, tree: Mapping[str, Any]) -> tuple[str, str]:
    location = [str(part) for part in item["loc"]]
    path = ".".join(location)
    if item["type"] == "extra_forbidden":
        known = _known_keys(location[:-1])
        close = difflib.get_close_matches(location[-1], known, 1)
        hint = f"did you mean {close[0]}?" if close else f"known here: {', '.join(sorted(known)) or 'nothing'}"
        return path, f"unknown key; {hint}"
    message = ADVICE.get(item["type"]) or item["msg"].removeprefix("Value error, ")
    given = item.get("input")
    return path, f"{message} (found {given!r})" if not isinstance(given, dict | Section) else message


def _known_keys(location: list[str]) -> list[str]:
    if location[:1] == ["journey"]:
        return list(Target.model_fields)
    section: type[BaseModel] = Settings
    for part in location:
        field = section.model_fields.get(part)
        if field is None or not (isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)):
            return []
        section = field.annotation
    hidden = {"secrets", "home"} if section is Settings else set()
    return [field.alias or name for name, field in section.model_fields.items() if name not in hidden]


def _contradictions(settings: Settings) -> list[tuple[str, str]]:
    problems: list[tuple[str, str]] = []
    secrets = settings.secrets

    def need(value: object, path: str, advice: str) -> None:
        if not value:
            problems.append((path, advice))

    if settings.slack.mode != "off":
        need(
            secrets.slack_bot_token,
            "SLACK_BOT_TOKEN",
            "set it (xoxb-…) or SLACK_BOT_TOKEN_FILE, or write slack.mode: off",
        )
        need(
            settings.slack.review_channel,
            "slack.review_channel",
            "write the id of the channel for the cards, such as C0123456789",
        )
        need(settings.slack.agents, "slack.agents", "list the user ids of the support agents, such as [U0123456789]")
    if settings.slack.mode == "socket":
        need(
            secrets.slack_app_token,
            "SLACK_APP_TOKEN",
            "set it (xapp-…) or SLACK_APP_TOKEN_FILE: Socket Mode needs an app-level token",
        )
    if settings.slack.mode == "http":
        need(
            secrets.slack_signing_secret,
            "SLACK_SIGNING_SECRET",
            "set it or SLACK_SIGNING_SECRET_FILE: HTTP mode checks signatures",
        )
    if settings.email.dkim_selector:
        need(
            secrets.dkim_key,
            "AFTERCARE_DKIM_KEY",
            "set it or AFTERCARE_DKIM_KEY_FILE: email.dkim_selector signs with it",
        )
    if settings.delivery.engine == "workers" and settings.database.url.startswith("sqlite"):
        problems.append(("delivery.engine", "workers need PostgreSQL; write embedded, or another database.url"))
    if settings.email.enabled:
        if not settings.email.outbox:
            need(
                secrets.smtp_url,
                "SMTP_URL",
                "set it, for example smtp+starttls://user:password@mail.example:587, or write email.outbox: FOLDER, or email.enabled: false",
            )
        need(secrets.secret_key, "AFTERCARE_SECRET_KEY", "set it to a long random text; it signs the links in mails")
    for name, secret, schemes in (
        ("SMTP_URL", secrets.smtp_url, ("smtp", "smtp+starttls", "smtps")),
        ("IMAP_URL", secrets.imap_url, ("imap", "imaps")),
    ):
        if secret is not None and (advice := _transport_advice(secret.get_secret_value(), schemes)):
            problems.append((name, advice))
    if not settings.database.url.startswith(("sqlite:///", "postgresql://", "postgresql+psycopg://")):
        problems.append(("database.url", "write sqlite:///FILE or postgresql://USER@HOST/DATABASE"))
    if settings.predictors.bands.medium >= settings.predictors.bands.high:
        problems.append(("predictors.bands", "medium must be below high"))
    if settings.knowledge.clarify_threshold > settings.knowledge.answer_threshold:
        problems.append(("knowledge.clarify_threshold", "must not be above knowledge.answer_threshold"))
    if settings.knowledge.costs.handoff >= settings.knowledge.costs.wrong_answer:
        problems.append(("knowledge.costs.handoff", "must be below knowledge.costs.wrong_answer"))
    caps = settings.policy.caps
    if not caps.day <= caps.week <= caps.month:
        problems.append(("policy.caps", "day must not be above week, nor week above month"))
    if not settings.web.base_url.startswith(("http://", "https://")):
        problems.append(("web.base_url", "write the address that customers reach, such as https://care.shop.example"))
    return problems


def _transport_advice(url: str, schemes: tuple[str, ...]) -> str | None:
    parts = urlsplit(url)
    if parts.scheme not in schemes or not parts.hostname:
        return f"write {' or '.join(f'{scheme}://HOST:PORT' for scheme in schemes)}"
    plain = parts.scheme in ("smtp", "imap")
    if plain and parts.hostname not in ("127.0.0.1", "localhost", "::1"):
        return f"without TLS only to this machine; write {schemes[1]}:// for {parts.hostname}"
    return None
