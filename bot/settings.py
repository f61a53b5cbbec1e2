"""The settings as types: every section of config.yaml with its defaults and ranges.

Reading them from a file and the environment, and what contradicts what, is `bot.config`'s business.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import time
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import Field, SecretStr, field_validator

from bot.setting_types import (
    WEEKDAYS,
    CapShare,
    ContactPurpose,
    CountryCode,
    PositiveInt,
    Section,
    Sender,
    Share,
    TimeOfDay,
    Weekday,
    ZoneName,
)
from bot.support_settings import Support


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
    mailbox: str = "INBOX"
    keep_raw_days: PositiveInt = 30
    dkim_selector: str = ""


class AutonomyBar(Section):
    """What a playbook must reach before it is offered to send at once."""

    days: PositiveInt = 60
    decisions: PositiveInt = 100
    as_written: Annotated[float, Field(gt=0, lt=1)] = 0.95
    objections: Annotated[float, Field(ge=0, le=1)] = 0.02
    sample: Annotated[float, Field(gt=0, le=1)] = 0.1


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
    autonomy: AutonomyBar = AutonomyBar()


class QuietHours(Section):
    start: TimeOfDay = time(20, 0)
    end: TimeOfDay = time(9, 0)


class DaysOff(Section):
    """The days, where the customer lives, on which nobody is contacted."""

    weekdays: tuple[Weekday, ...] = ()
    holidays: bool = True
    country: CountryCode = ""

    @field_validator("weekdays")
    @classmethod
    def _some_day_is_left(cls, value: tuple[Weekday, ...]) -> tuple[Weekday, ...]:
        if len(set(value)) == len(WEEKDAYS):
            raise ValueError("leave at least one day of the week on which customers may be contacted")
        return value


class Caps(Section):
    day: PositiveInt = 1
    week: PositiveInt = 2
    month: PositiveInt = 4
    normal_share: CapShare = 1.0
    low_share: CapShare = 0.5


class Budget(Section):
    """Most check-ins that are sent on a channel within a day of the shop; 0: no limit."""

    email: Annotated[int, Field(ge=0)] = 0
    slack: Annotated[int, Field(ge=0)] = 0


class Policy(Section):
    quiet_hours: QuietHours = QuietHours()
    days_off: DaysOff = DaysOff()
    caps: Caps = Caps()
    hours_apart: Annotated[float, Field(ge=0, le=24 * 366)] = 0.0
    daily_budget: Budget = Budget()
    require_consent: bool | tuple[ContactPurpose, ...] = ("marketing",)

    @property
    def purposes_by_consent(self) -> tuple[str, ...]:
        """The purposes for which a customer must have said yes."""
        if isinstance(self.require_consent, bool):
            return ("service", "research", "marketing") if self.require_consent else ()
        return self.require_consent


class ExplorationRules(Section):
    """How far trying out variants may go, where `experiments.allocation` is `thompson`."""

    floor: Annotated[float, Field(gt=0, le=0.5)] = 0.05
    budget: Annotated[float, Field(gt=0, le=1)] = 0.5
    stop_below: Annotated[float, Field(gt=0, lt=0.5)] = 0.01
    days: PositiveInt = 180


class Experiments(Section):
    holdout_share: Share = 0.1
    global_holdout_share: Share = 0.0
    salt: str = "aftercare"
    allocation: Literal["fixed", "thompson"] = "fixed"
    exploration: ExplorationRules = ExplorationRules()


class Value(Section):
    """What an averted bad end is worth and a message costs, in `shop.currency`."""

    margin_share: Annotated[float, Field(ge=0, le=1)] = 0.3
    issue_cost: Annotated[float, Field(ge=0)] = 10.0
    contact_cost: Annotated[float, Field(ge=0)] = 0.5
    fatigue_cost: Annotated[float, Field(ge=0)] = 0.2


class Scheduler(Section):
    daily_at: TimeOfDay = time(8, 0)
    tick_seconds: Annotated[float, Field(gt=0, le=3600)] = 5.0
    daily_capacity: PositiveInt = 200


class Rates(Section):
    """Most messages a second on a channel, over all workers; 0: no limit."""

    email: Annotated[float, Field(ge=0)] = 0.0
    slack: Annotated[float, Field(ge=0)] = 5.0


class Delivery(Section):
    batch_size: PositiveInt = 50
    max_attempts: PositiveInt = 6
    backoff_seconds: Annotated[float, Field(gt=0)] = 60.0
    sending_timeout_seconds: Annotated[float, Field(gt=0)] = 300.0
    connections: Annotated[int, Field(ge=1, le=64)] = 8
    per_second: Rates = Rates()
    engine: Literal["embedded", "workers"] = "embedded"

    @property
    def by_workers(self) -> bool:
        """Say whether `aftercare worker` processes send and do what comes round."""
        return self.engine == "workers"


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


class Drift(Section):
    every_days: Annotated[int, Field(ge=0)] = 7
    psi: Annotated[float, Field(gt=0)] = 0.25
    level: Annotated[float, Field(gt=0)] = 0.25
    recent_days: PositiveInt = 28
    weeks: PositiveInt = 8


class Retrain(Section):
    after_days: Annotated[int, Field(ge=0)] = 30
    on_drift: bool = True
    pause_days: PositiveInt = 7


class Predictors(Section):
    issue: IssueModel = IssueModel()
    churn: ChurnModel = ChurnModel()
    bands: Bands = Bands()
    drift: Drift = Drift()
    retrain: Retrain = Retrain()
    seed: int = 0


class Models(Section):
    dir: str = "models"


class Playbooks(Section):
    dir: str = ""
    enable: tuple[str, ...] = ()
    disable: tuple[str, ...] = ()


class Encoder(Section):
    path: str = ""


class Gaps(Section):
    """When drafts of articles about what no article answers are proposed."""

    every_days: Annotated[int, Field(ge=0)] = 7
    customers: PositiveInt = 3
    again_days: PositiveInt = 30
    tell_days: PositiveInt = 30


class AnswerCosts(Section):
    """What a wrong answer costs against a hand-over, in any unit."""

    wrong_answer: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 20.0
    handoff: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0


class Knowledge(Section):
    dir: str = ""
    encoder: Encoder = Encoder()
    gaps: Gaps = Gaps()
    costs: AnswerCosts = AnswerCosts()
    answer_threshold: Annotated[float, Field(ge=0, le=1)] = 0.62
    clarify_threshold: Annotated[float, Field(ge=0, le=1)] = 0.45
    long_answer_threshold: Annotated[float, Field(ge=0, le=1)] = 0.52


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
    dkim_key: SecretStr | None = None
    mail_hook_secret: SecretStr | None = None


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
    value: Value = Value()
    scheduler: Scheduler = Scheduler()
    delivery: Delivery = Delivery()
    predictors: Predictors = Predictors()
    models: Models = Models()
    playbooks: Playbooks = Playbooks()
    knowledge: Knowledge = Knowledge()
    support: Support = Support()
    journey: Mapping[str, Target] = Field(default_factory=dict)
    secrets: Secrets = Secrets()
    home: Path = Path()

    def path(self, relative: str) -> Path:
        """Resolve a path of the configuration against the folder of the configuration file."""
        return (self.home / relative).resolve()
