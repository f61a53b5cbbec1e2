"""Every setting of Aftercare: config.yaml and the environment become one frozen `Settings`.

Read once, by `load_settings`; everything else is handed its settings. All that is wrong is reported at
once, each problem with its path and what to write instead. Secrets come from the environment only
(NAME or NAME_FILE) and never appear in `repr`.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from datetime import time
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, available_timezones

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError

from bot.errors import ConfigurationError


def _zone_name(value: str) -> str:
    if value not in available_timezones():
        close = difflib.get_close_matches(value, available_timezones(), 1)
        raise ValueError(f"no such IANA time zone; write {close[0] if close else 'Europe/Berlin'}")
    return value


def _clock_time(value: Any) -> Any:
    if isinstance(value, int):  # YAML 1.1 reads 9:30 as the sexagesimal number 570
        return time(value // 60, value % 60) if 0 <= value < 24 * 60 else value
    if isinstance(value, str):
        try:
            return time.fromisoformat(value if ":" in value else "x")
        except ValueError:
            raise ValueError('write a time of day such as "09:30"') from None
    return value


def _sender(value: str) -> str:
    if value.count("@") != 1 or any(c in value for c in "\r\n"):
        raise ValueError("write one address such as care@shop.example")
    return value


ZoneName = Annotated[str, AfterValidator(_zone_name)]
TimeOfDay = Annotated[time, BeforeValidator(_clock_time)]
Sender = Annotated[str, AfterValidator(_sender)]
Share = Annotated[float, Field(ge=0, le=0.9)]
PositiveInt = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """A frozen part of the settings in which unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False, validate_default=True)


class Shop(Section):
    name: str = "Your shop"
    timezone: ZoneName = "UTC"
    locale: str = "en"
    url: str = ""
    currency: str = "EUR"

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)


class Database(Section):
    url: str = "sqlite:///aftercare.db"
    backups: str = "backups"


class Web(Section):
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    base_url: str = "http://127.0.0.1:8080"


class Slack(Section):
    mode: Literal["socket", "http", "off"] = "off"
    review_channel: str = ""
    agents: tuple[str, ...] = ()
    cards: Literal["each", "urgent"] = "each"


class Email(Section):
    enabled: bool = False
    sender: Sender = Field(default="care@shop.example", alias="from")
    sender_name: str = ""
    reply_to: str = ""
    outbox: str = ""


class Review(Section):
    undo_seconds: Annotated[int, Field(ge=0, le=3600)] = 30
    claim_minutes: PositiveInt = 10
    expires_hours: PositiveInt = 72
    reject_reasons: tuple[str, ...] = (
        "not_needed",
        "wrong_customer",
        "wrong_answer",
        "bad_wording",
        "already_in_contact",
        "other",
    )


class QuietHours(Section):
    start: TimeOfDay = time(20, 0)
    end: TimeOfDay = time(9, 0)


class Caps(Section):
    day: PositiveInt = 1
    week: PositiveInt = 2
    month: PositiveInt = 4


class Policy(Section):
    quiet_hours: QuietHours = QuietHours()
    caps: Caps = Caps()
    require_consent: bool = False


class Experiments(Section):
    holdout_share: Share = 0.1
    salt: str = "aftercare"


class Scheduler(Section):
    daily_at: TimeOfDay = time(8, 0)
    tick_seconds: Annotated[float, Field(gt=0, le=3600)] = 5.0
    daily_capacity: PositiveInt = 200


class Delivery(Section):
    batch_size: PositiveInt = 50
    max_attempts: PositiveInt = 6
    backoff_seconds: Annotated[float, Field(gt=0)] = 60.0
    sending_timeout_seconds: Annotated[float, Field(gt=0)] = 300.0


class Bands(Section):
    medium: Annotated[float, Field(gt=0, lt=1)] = 0.15
    high: Annotated[float, Field(gt=0, lt=1)] = 0.35


class IssueModel(Section):
    horizon_days: PositiveInt = 45
    due_days: PositiveInt = 14
    recent_days: PositiveInt = 60
    labelled_by: Literal["auto", "all", "rated"] = "auto"


class ChurnModel(Section):
    horizon_days: PositiveInt = 90


class Predictors(Section):
    issue: IssueModel = IssueModel()
    churn: ChurnModel = ChurnModel()
    bands: Bands = Bands()
    seed: int = 0


class Models(Section):
    dir: str = "models"


class Playbooks(Section):
    dir: str = ""


class Encoder(Section):
    path: str = ""


class Knowledge(Section):
    dir: str = ""
    encoder: Encoder = Encoder()
    answer_threshold: Annotated[float, Field(ge=0, le=1)] = 0.6
    clarify_threshold: Annotated[float, Field(ge=0, le=1)] = 0.45


class Target(Section):
    """One desired value of a KPI or stage."""

    at_least: float | None = None
    at_most: float | None = None


class Secrets(Section):
    """What only the environment may hold."""

    secret_key: SecretStr | None = None
    slack_bot_token: SecretStr | None = None
    slack_app_token: SecretStr | None = None
    slack_signing_secret: SecretStr | None = None
    slack_api_base_url: str = "https://slack.com/api/"
    smtp_url: SecretStr | None = None
    imap_url: SecretStr | None = None


class Settings(Section):
    """All settings; relative paths have been made absolute against the configuration file."""

    shop: Shop = Shop()
    database: Database = Database()
    web: Web = Web()
    slack: Slack = Slack()
    email: Email = Email()
    review: Review = Review()
    policy: Policy = Policy()
    experiments: Experiments = Experiments()
    scheduler: Scheduler = Scheduler()
    delivery: Delivery = Delivery()
    predictors: Predictors = Predictors()
    models: Models = Models()
    playbooks: Playbooks = Playbooks()
    knowledge: Knowledge = Knowledge()
    journey: dict[str, Target] = {}
    secrets: Secrets = Secrets()
    home: Path = Path()

    def path(self, relative: str) -> Path:
        """Resolve a path of the configuration against the folder of the configuration file."""
        return (self.home / relative).resolve()


ENVIRONMENT = {
    "AFTERCARE_SECRET_KEY": "secret_key",
    "SLACK_BOT_TOKEN": "slack_bot_token",
    "SLACK_APP_TOKEN": "slack_app_token",
    "SLACK_SIGNING_SECRET": "slack_signing_secret",
    "SLACK_API_BASE_URL": "slack_api_base_url",
    "SMTP_URL": "smtp_url",
    "IMAP_URL": "imap_url",
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
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigurationError([(str(path), "no such file; run `aftercare init` or pass --config PATH")]) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError([(str(path), f"cannot be read: {error}")]) from error
    except yaml.YAMLError as error:
        raise ConfigurationError([(str(path), f"is no valid YAML: {' '.join(str(error).split())}")]) from error
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ConfigurationError([(str(path), "must be a mapping of sections such as `shop:` and `slack:`")])
    return {str(key): ({} if value is None else value) for key, value in tree.items()}


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
        hint = f"did you mean {close[0]}?" if close else f"known here: {', '.join(sorted(known))}"
        return path, f"unknown key; {hint}"
    message = item["msg"].removeprefix("Value error, ")
    given = item.get("input")
    return path, f"{message} (found {given!r})" if not isinstance(given, dict | Section) else message


def _known_keys(location: list[str]) -> list[str]:
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
