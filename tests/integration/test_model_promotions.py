"""Who scores: promotions and rollbacks on both engines, by one hand at a time, with the audit told."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import IntegrityError

from bot.clock import ManualClock
from bot.config import Settings
from bot.errors import AlreadyDecided, ModelError, NotFound, Refused
from bot.services.prediction.champions import OpenModels
from bot.services.prediction.promoting import Promoter
from bot.store import audit, models, promotions
from bot.store.database import Database
from bot.store.enums import ModelStatus, PromotionWay
from bot.store.models import ModelVersion, Series
from bot.store.tables import metadata
from predictors.moments import Moment
from predictors.registry import save_model
from predictors.scoring import rules_model

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
SERIES = Series("issue", "due", 45)


class Shelf:
    """A folder of real model files, with their rows."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.database = database
        self.folder = folder
        self.settings = Settings(home=folder)
        self.promoter = Promoter(database, ManualClock(NOW), self.settings)

    def add(self, number: int, horizon_days: int = 45) -> ModelVersion:
        model = rules_model(Moment.DUE, horizon_days=horizon_days, since=NOW)
        name = f"issue-due-{horizon_days}-v{number}"
        path, sha256, manifest = save_model(model, self.folder / "models", name, {})
        row = ModelVersion(
            id=0, name=name, kind="issue", moment="due", horizon_days=horizon_days, version=number, stage="rules",
            path=path.name, sha256=sha256, trained_as_of=NOW, created_at=NOW, metrics={}, manifest=manifest,
            status=ModelStatus.CHALLENGER,
        )  # fmt: skip
        with self.database.write() as connection:
            return models.add_model(connection, row)

    def promote(self, number: int) -> str:
        return self.promoter.promote(f"issue-due-45-v{number}", actor="cli:ann", reason="by hand").name

    def rollback(self) -> str:
        return self.promoter.rollback(*SERIES, actor="cli:ann", reason="it was worse")[0].name

    @property
    def champion(self) -> str | None:
        with self.database.read() as connection:
            found = models.champion(connection, *SERIES)
        return found.name if found else None


@pytest.fixture
def shelf(database: Database, tmp_path: Path) -> Shelf:
    found = Shelf(database, tmp_path)
    for number in (1, 2, 3):
        found.add(number)
    return found


def test_rolling_back_goes_down_promotion_by_promotion(shelf: Shelf) -> None:
    for number in (1, 2, 3):
        shelf.promote(number)
    assert [shelf.rollback(), shelf.rollback()] == ["issue-due-45-v2", "issue-due-45-v1"]
    with pytest.raises(Refused, match="no earlier model"):
        shelf.rollback()
    assert shelf.champion == "issue-due-45-v1"
    shelf.promote(3)  # on top of what scores now, not of what was taken back
    assert shelf.rollback() == "issue-due-45-v1"


def test_a_process_that_scores_follows_promotions_and_reads_a_manifest_only_once(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = OpenModels(shelf.settings)
    read: list[str] = []
    whole = models.champion
    monkeypatch.setattr(models, "champion", lambda *given: read.append("manifest") or whole(*given))

    def scores() -> str | None:
        with shelf.database.read() as connection:
            found = opened.champion(connection, SERIES)
            assert found is None or found == whole(connection, *SERIES)
        return found.name if found else None

    assert scores() is None
    shelf.promote(1)
    assert [scores(), scores()] == ["issue-due-45-v1"] * 2
    shelf.promote(2)
    assert [scores(), scores()] == ["issue-due-45-v2"] * 2
    shelf.rollback()
    assert [scores(), scores()] == ["issue-due-45-v1"] * 2
    assert len(read) == 3


def test_an_older_model_that_was_promoted_again_goes_back_to_what_it_replaced(shelf: Shelf) -> None:
    for number in (1, 2, 1):
        shelf.promote(number)
    assert [shelf.rollback(), shelf.rollback()] == ["issue-due-45-v2", "issue-due-45-v1"]
    with pytest.raises(Refused):
        shelf.rollback()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.one_of(st.integers(1, 3), st.just(None)), max_size=12))
def test_any_order_of_promotions_and_rollbacks_behaves_as_a_stack(
    sqlite_database: Database, tmp_path: Path, steps: list[int | None]
) -> None:
    with sqlite_database.write() as connection:
        for table in reversed(metadata.sorted_tables):
            connection.execute(sa.delete(table))
    shelf, stack = Shelf(sqlite_database, tmp_path), []
    for number in (1, 2, 3):
        shelf.add(number)
    for step in steps:
        if step is not None:
            shelf.promote(step)
            if not stack or stack[-1] != step:
                stack.append(step)
        elif len(stack) < 2:
            with pytest.raises(Refused):
                shelf.rollback()
        else:
            stack.pop()
            shelf.rollback()
        assert shelf.champion == (f"issue-due-45-v{stack[-1]}" if stack else None)
    with sqlite_database.read() as connection:
        assert audit.verify(connection) == []


def test_the_audit_says_who_and_why(shelf: Shelf) -> None:
    shelf.promote(1)
    shelf.promote(2)
    shelf.rollback()
    with shelf.database.read() as connection:
        entries = connection.execute(sa.select(metadata.tables["audit"]).order_by(sa.text("id"))).all()
        history = promotions.promotions_of(connection, SERIES)
    assert [(one.actor, one.action, one.entity, one.entity_id) for one in entries] == [
        ("cli:ann", "model_hand", "model", "issue-due-45-v1"),
        ("cli:ann", "model_hand", "model", "issue-due-45-v2"),
        ("cli:ann", "model_rollback", "model", "issue-due-45-v1"),
    ]
    assert entries[2].detail["instead_of"] == "issue-due-45-v2"
    assert entries[2].detail["reason"] == "it was worse"
    assert [(one.number, one.model, one.below) for one in history] == [
        (3, "issue-due-45-v1", None), (2, "issue-due-45-v2", 1), (1, "issue-due-45-v1", None),
    ]  # fmt: skip


def test_promoting_what_scores_already_changes_nothing(shelf: Shelf) -> None:
    assert shelf.promote(1) == shelf.promote(1)
    assert len(shelf.promoter.history(SERIES)) == 1


def test_a_name_that_nobody_knows_is_said(shelf: Shelf) -> None:
    with pytest.raises(NotFound, match="models list"):
        shelf.promoter.promote("nothing", actor="cli:ann", reason="")


@pytest.mark.parametrize("how", ["missing", "truncated", "altered"])
def test_a_file_that_is_not_as_the_database_says_is_neither_promoted_nor_gone_back_to(shelf: Shelf, how: str) -> None:
    shelf.promote(1)
    shelf.promote(2)
    file = shelf.folder / "models" / "issue-due-45-v1.joblib"
    content = file.read_bytes()
    if how == "missing":
        file.unlink()
    else:
        file.write_bytes(content[:-9] if how == "truncated" else content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ModelError, match="aftercare") as refusal:
        shelf.promote(1)
    assert refusal.value.exit_status == 4
    with pytest.raises(ModelError):
        shelf.rollback()
    assert shelf.champion == "issue-due-45-v2"


def test_of_many_who_promote_at_once_one_after_the_other_succeeds_or_is_told(shelf: Shelf) -> None:
    """Whatever the interleaving: one champion, and every promotion that succeeded stands in the history."""
    start = Barrier(6)

    def one(number: int) -> str | None:
        start.wait()
        try:
            return shelf.promote(number)
        except AlreadyDecided:
            return None

    with ThreadPoolExecutor(6) as pool:
        done = [name for name in pool.map(one, [1, 2, 3, 1, 2, 3]) if name]
    history = shelf.promoter.history(SERIES)
    assert done
    assert shelf.champion == history[0].model
    assert {one.model for one in history} <= set(done)
    assert [one.number for one in reversed(history)] == list(range(1, len(history) + 1))


def test_who_decided_on_an_old_view_is_refused(shelf: Shelf) -> None:
    with shelf.database.read() as connection:
        chosen = models.model_named(connection, "issue-due-45-v3")
    assert chosen is not None
    shelf.promote(1)
    with shelf.database.write() as connection:
        assert not promotions.promote(
            connection, chosen, seen=None, below=None, way=PromotionWay.GATE, actor="system", reason="", now=NOW
        )
    assert shelf.champion == "issue-due-45-v1"


def test_models_of_other_horizons_do_not_take_each_others_place(shelf: Shelf) -> None:
    shelf.promote(1)
    other = shelf.add(1, horizon_days=30)
    shelf.promoter.promote(other.name, actor="cli:ann", reason="")
    assert shelf.champion == "issue-due-45-v1"
    with shelf.database.read() as connection:
        assert models.horizons(connection, "issue", "due") == [30, 45]
        assert models.next_version(connection, *SERIES) == 4
        names = [one.name for one in models.list_models(connection)]
    assert names == ["issue-due-30-v1", "issue-due-45-v3", "issue-due-45-v2", "issue-due-45-v1"]


def test_the_database_itself_refuses_a_second_champion(shelf: Shelf) -> None:
    shelf.promote(1)
    table = metadata.tables["model_versions"]
    with pytest.raises(IntegrityError), shelf.database.write() as connection:
        connection.execute(sa.update(table).where(table.c.version == 2).values(status="champion"))


def test_what_was_known_of_promotions_before_they_were_written_down_can_be_rolled_back(database: Database) -> None:
    known = import_module("bot.store.migrations.versions.0003_promotions").KNOWN
    with database.write() as connection:
        for number, status in ((1, "retired"), (2, "challenger"), (3, "retired"), (4, "champion"), (5, "challenger")):
            connection.execute(sa.insert(metadata.tables["model_versions"]).values(**_row(number, status)))
        connection.exec_driver_sql(known)
        history = promotions.promotions_of(connection, SERIES)
    assert [(one.number, one.model, one.below) for one in history] == [
        (3, "issue-due-45-v4", 2), (2, "issue-due-45-v3", 1), (1, "issue-due-45-v1", None),
    ]  # fmt: skip


def _row(number: int, status: str) -> dict[str, Any]:
    return {
        "name": f"issue-due-45-v{number}", "kind": "issue", "moment": "due", "horizon_days": 45, "version": number,
        "stage": "rules", "path": "x.joblib", "sha256": "ab", "trained_as_of": NOW, "created_at": NOW, "metrics": {},
        "manifest": {}, "status": status,
    }  # fmt: skip
