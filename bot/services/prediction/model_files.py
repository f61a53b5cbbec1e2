"""Where trained models lie: a number of their own each, written before their row, swept where a crash left them alone.

A name is reserved in the table of runs before its file is written, so that of two trainings at the same time neither
writes over the other's. Files whose training died are told from a stranger's by that reservation; a stranger's (of
another database, or a restored one) are never removed.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import structlog

from bot.clock import Clock
from bot.config import Settings
from bot.services.delivery.ownership import certainly_dead, this_process
from bot.store import models, runs
from bot.store.database import Database
from bot.store.enums import RunState
from predictors.model_card import card_plots, model_card
from predictors.registry import write_beside
from predictors.training import HeldOut

__all__ = ["ModelFiles", "Reserved", "card_files"]

log = structlog.get_logger(__name__)

# The job under which the table of runs remembers a training that has a name and no row yet.
STORING = "store_model"
# Writing takes seconds; a training of another host that is silent for longer has died.
GIVE_UP = timedelta(hours=3)


class Reserved:
    """A name that no other training gets."""

    def __init__(self, name: str, number: int) -> None:
        self.name = name
        self.number = number


def card_files(manifest: Mapping[str, Any], held_out: HeldOut | None) -> dict[str, str]:
    """Return a model's card and its plots by the names of their files."""
    name, plots = manifest["name"], card_plots(held_out)
    return {f"{name}.{plot}.svg": drawn for plot, drawn in plots.items()} | {
        f"{name}.md": model_card(manifest, list(plots))
    }


class ModelFiles:
    """The folder `models.dir`, beside the table that says what lies in it."""

    def __init__(self, database: Database, clock: Clock, settings: Settings, *, owner: str | None = None) -> None:
        self._database = database
        self._clock = clock
        self.folder = settings.path(settings.models.dir)
        self._owner = owner or this_process()

    def reserve(self, series: models.Series) -> Reserved:
        """Take the next number of a series for the model about to be written."""
        with self._database.write() as connection:
            number = models.next_version(connection, *series)
            while True:
                name = f"{series.kind}-{series.moment}-{series.horizon_days}-v{number}"
                if runs.start_run(connection, STORING, name, self._clock.now(), {"owner": self._owner}):
                    return Reserved(name, number)
                number += 1

    def write(self, files: Mapping[str, str]) -> None:
        """Write texts beside the models, by their names."""
        for name, content in files.items():
            write_beside(self.folder, name, content.encode())

    def finish(self, reserved: Reserved) -> None:
        """Say that the model has its row."""
        self._end(reserved.name, RunState.DONE)

    def give_up(self, reserved: Reserved) -> None:
        """Remove what was written under a name that will have no row."""
        self._remove(reserved.name)
        self._end(reserved.name, RunState.FAILED)

    def sweep(self) -> list[str]:
        """Remove the files of trainings that died between file and row; return their names."""
        now = self._clock.now()
        with self._database.read() as connection:
            begun = runs.runs_in(connection, STORING, RunState.RUNNING)
            kept = {model.name for model in models.list_models(connection)}
        swept = []
        for run in begun:
            owner = str((run.detail or {}).get("owner", ""))
            if run.key in kept:
                self._end(run.key, RunState.DONE)  # it died after the row
            elif certainly_dead(owner) or run.started_at + GIVE_UP <= now:
                self._remove(run.key)
                self._end(run.key, RunState.FAILED)
                swept.append(run.key)
        if swept:
            log.warning("orphaned_models_removed", models=swept)
        return swept

    def strangers(self) -> list[str]:
        """Return the names of model files of which the database knows nothing."""
        with self._database.read() as connection:
            known = {model.path for model in models.list_models(connection)}
            known |= {f"{run.key}.joblib" for run in runs.runs_in(connection, STORING, RunState.RUNNING)}
        found = sorted(path.name for path in self.folder.glob("*.joblib")) if self.folder.is_dir() else []
        return [name for name in found if name not in known]

    def card(self, name: str) -> Path:
        """Return where a model's card lies."""
        return self.folder / f"{name}.md"

    def _remove(self, name: str) -> None:
        # Exactly this model's files: `v1` must not take those of `v12`.
        for path in [*self.folder.glob(f"{name}.*")]:
            path.unlink(missing_ok=True)

    def _end(self, name: str, state: RunState) -> None:
        with self._database.write() as connection:
            runs.finish_run(connection, STORING, name, state, None, self._clock.now())
