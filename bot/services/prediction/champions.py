"""What scoring, retraining and evaluating share: the snapshot, the champion, and the errors of the predictors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from bot.config import Settings
from bot.errors import InputError, ModelError, Refused, UsageError
from bot.store import history, models
from bot.store.database import Connection, Database
from predictors.errors import FrameError, LockedError, ModelFileError, NotEnoughDataError, PredictorError
from predictors.model import TrainedModel
from predictors.moments import Moment
from predictors.registry import load_model
from predictors.snapshot import Snapshot

KINDS = ("issue", "churn", "uplift")


class NotEnoughHistory(Refused):
    """There is too little to learn from yet."""


@contextmanager
def predictor_errors() -> Iterator[None]:
    """Turn what a predictor says into the product's own errors."""
    try:
        yield
    except ModelFileError as error:
        raise ModelError(str(error)) from error
    except LockedError as error:
        raise Refused(str(error)) from error
    except NotEnoughDataError as error:
        raise NotEnoughHistory(str(error)) from error
    except FrameError as error:
        raise InputError(str(error)) from error
    except PredictorError as error:
        raise ModelError(str(error)) from error


def check_kind(kind: str) -> None:
    """Refuse an unknown kind of prediction."""
    if kind not in KINDS:
        raise UsageError(f"there is no kind {kind!r}; write {', '.join(KINDS)}")


def read_snapshot(database: Database, settings: Settings, until: datetime) -> Snapshot:
    """Read all that was recorded by an instant, in one consistent view."""
    with predictor_errors(), database.read() as connection:
        return history.read_snapshot(connection, until=until, timezone=settings.shop.timezone)


def open_champion(
    database: Database, settings: Settings, kind: str, moment: Moment, horizon_days: int
) -> tuple[TrainedModel, models.ModelVersion] | None:
    """Open the model that scores; None where none was promoted yet.

    Raises
    ------
    ModelError
        Its file is missing, altered, or was written by other libraries.
    """
    with database.read() as connection:
        version = models.champion(connection, kind, moment.value, horizon_days)
    return None if version is None else (open_model(settings, version), version)


def open_model(settings: Settings, version: models.ModelVersion) -> TrainedModel:
    """Open the file of a model version, against the hash that the database holds.

    Raises
    ------
    ModelError
        The file is missing, altered, no plain file of the folder, was written by other libraries, or holds another
        model than the database says; the message says what to do.
    """
    if Path(version.path).name != version.path:
        raise ModelError(f"the file of {version.name} lies outside models.dir ({version.path}) and is not opened")
    with predictor_errors():
        path = settings.path(settings.models.dir) / version.path
        model = load_model(path, version.sha256, version.manifest.get("libraries"))
    if (model.kind, model.moment, model.horizon_days) != version.series:
        raise ModelError(
            f"{version.path} holds a model of {model.kind} {model.moment} {model.horizon_days}, not {version.name}; "
            "run `aftercare train`"
        )
    return model


class OpenModels:
    """Models that stay open in a process; a file that was touched since is checked and opened again."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._open: dict[tuple[str, str], tuple[tuple[int, int], TrainedModel]] = {}
        self._champions: dict[models.Series, tuple[tuple[int, str], models.ModelVersion]] = {}

    def champion(self, connection: Connection, series: models.Series) -> models.ModelVersion | None:
        """Return the model that scores; its manifest, tens of kilobytes of JSON, is read again only once another one does."""
        mark = models.champion_mark(connection, series)
        if mark is None:
            return None
        if series not in self._champions or self._champions[series][0] != mark:
            version = models.champion(connection, *series)
            if version is None:
                return None
            self._champions[series] = mark, version
        return self._champions[series][1]

    def open(self, version: models.ModelVersion) -> TrainedModel:
        """Open the file of a model version as `open_model` does."""
        key = version.path, version.sha256
        state = self._state(version)
        if state is not None and key in self._open and self._open[key][0] == state:
            return self._open[key][1]
        model = open_model(self._settings, version)
        if state is not None:
            self._open = {
                of: kept
                for of, kept in self._open.items()
                if kept[1].kind != model.kind or kept[1].moment != model.moment
            }
            self._open[key] = state, model
        return model

    def _state(self, version: models.ModelVersion) -> tuple[int, int] | None:
        try:
            found = (self._settings.path(self._settings.models.dir) / version.path).stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size
