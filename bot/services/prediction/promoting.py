"""Who scores, by hand: promote a model past the gate, or go back to the champion before; checked, audited, one at a time."""

from __future__ import annotations

from pathlib import Path

import structlog

from bot.clock import Clock
from bot.config import Settings
from bot.errors import AlreadyDecided, NotFound, Refused
from bot.services.prediction.champions import open_model
from bot.services.prediction.model_files import ModelFiles
from bot.store import models, promotions
from bot.store.database import Database
from bot.store.enums import PromotionWay

__all__ = ["Promoter"]

log = structlog.get_logger(__name__)


class Promoter:
    """Decides, on somebody's word, which model scores from now on."""

    def __init__(self, database: Database, clock: Clock, settings: Settings) -> None:
        self._database = database
        self._clock = clock
        self._settings = settings
        self._files = ModelFiles(database, clock, settings)

    def promote(self, name: str, *, actor: str, reason: str) -> models.ModelVersion:
        """Let a named model score from now on, after its file was checked; the one that scores already stays.

        Raises
        ------
        NotFound
            No model has this name.
        ModelError
            Its file is missing, altered, or was written by other libraries.
        AlreadyDecided
            Somebody else promoted another model meanwhile.
        """
        with self._database.read() as connection:
            chosen = models.model_named(connection, name)
            if chosen is None:
                raise NotFound(f"there is no model {name}; `aftercare models list` shows them")
            seen = promotions.top_promotion(connection, chosen.series)
        open_model(self._settings, chosen)
        if seen is not None and seen.model_version_id == chosen.id:
            return chosen
        self._change(chosen, seen, seen.number if seen else None, PromotionWay.HAND, actor, reason)
        return chosen

    def rollback(
        self, kind: str, moment: str, horizon_days: int, *, actor: str, reason: str
    ) -> tuple[models.ModelVersion, promotions.Promotion]:
        """Go back to the champion before this one; again and again, down to the first.

        Returns
        -------
        model, promotion
            What scores now, and the promotion that was taken back.

        Raises
        ------
        Refused
            There was none before.
        ModelError
            The file of the one before is missing, altered, or was written by other libraries.
        AlreadyDecided
            Somebody else promoted or rolled back meanwhile.
        """
        series = models.Series(kind, moment, horizon_days)
        with self._database.read() as connection:
            seen = promotions.top_promotion(connection, series)
            below = None if seen is None else promotions.promotion_below(connection, series, seen)
            chosen = None if below is None else models.model_named(connection, below.model)
        if seen is None or below is None or chosen is None:
            raise Refused(
                f"there is no earlier model of {kind} {moment} {horizon_days} to go back to; "
                "`aftercare models promote NAME` takes any other of `aftercare models list`"
            )
        open_model(self._settings, chosen)
        self._change(chosen, seen, below.below, PromotionWay.ROLLBACK, actor, reason)
        return chosen, seen

    def list_models(self) -> list[models.ModelVersion]:
        """Return all models, the newest of each kind first."""
        with self._database.read() as connection:
            return models.list_models(connection)

    def show(self, name: str) -> models.ModelVersion:
        """Return one model."""
        with self._database.read() as connection:
            found = models.model_named(connection, name)
        if found is None:
            raise NotFound(f"there is no model {name}; `aftercare models list` shows them")
        return found

    def strangers(self) -> list[str]:
        """Return the model files of which the database knows nothing."""
        return self._files.strangers()

    def card(self, model: models.ModelVersion) -> Path:
        """Return where a model's card lies, if it has one."""
        return self._files.card(model.name)

    def history(self, series: models.Series) -> list[promotions.Promotion]:
        """Return all promotions of a series, the newest first."""
        with self._database.read() as connection:
            return promotions.promotions_of(connection, series)

    def _change(
        self,
        chosen: models.ModelVersion,
        seen: promotions.Promotion | None,
        below: int | None,
        way: PromotionWay,
        actor: str,
        reason: str,
    ) -> None:
        with self._database.write() as connection:
            done = promotions.promote(
                connection,
                chosen,
                seen=seen,
                below=below,
                way=way,
                actor=actor,
                reason=reason,
                now=self._clock.now(),
            )
        if not done:
            raise AlreadyDecided(
                "another model was promoted meanwhile, and nothing was changed; look at `aftercare models list`"
            )
        log.info("model_promoted", model=chosen.name, way=way.value)
