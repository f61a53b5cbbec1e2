"""A model's life through the product: manifest, card, crashes, two trainings at once, drift, and training when it is time."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
import sqlalchemy as sa

from bot.errors import ModelError, Refused
from bot.services.prediction import retraining
from bot.services.prediction.drifting import DriftReport, DriftWatch
from bot.services.prediction.model_files import ModelFiles
from bot.services.prediction.retraining import Trainer
from bot.store import models, runs
from bot.store.database import Database, open_database
from bot.store.enums import ModelStatus, RunState
from bot.store.models import Series
from bot.store.notices import notices_since
from bot.store.tables import metadata
from predictors.training import TrainingResult
from tests.integration.invented import NOW, SCORED_FROM, SCORED_TO, Shop, imported_shop, write_shop

SERIES = Series("issue", "due", 20)


FIRST = "issue-due-20-v1"


@pytest.fixture(scope="module")
def imported(_migrated_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a shop, imported once."""
    return imported_shop(_migrated_file, tmp_path_factory.mktemp("imported"), orders=300)


@pytest.fixture(scope="module")
def with_model(imported: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the same shop with its first model, trained once."""
    home = tmp_path_factory.mktemp("with_model")
    shop = Shop.copied(imported, home)
    assert trained(shop) == FIRST
    shop.close()
    return home


@pytest.fixture
def untrained(imported: Path, tmp_path: Path) -> Iterator[Shop]:
    shop = Shop.copied(imported, tmp_path)
    yield shop
    shop.close()


@pytest.fixture
def shop(with_model: Path, tmp_path: Path) -> Iterator[Shop]:
    """A shop with a champion, `FIRST`."""
    shop = Shop.copied(with_model, tmp_path)
    yield shop
    shop.close()


def trained(shop: Shop) -> str:
    return shop.trainer.train("issue", moment="due", as_of=SCORED_FROM)[0].name


def files(shop: Shop) -> set[str]:
    return {path.name for path in (shop.folder / "models").iterdir()}


def test_a_model_comes_with_its_manifest_and_its_card(shop: Shop) -> None:
    name = FIRST
    manifest = shop.promoter.show(name).manifest
    assert {"data_from", "data_until", "features", "libraries", "code", "metrics", "settings", "gate", "parent"} <= set(
        manifest
    )
    assert json.loads((shop.folder / "models" / f"{name}.json").read_text()) == json.loads(json.dumps(manifest))
    assert set(manifest["reference"]["features"]) == set(manifest["features"])
    card = shop.promoter.card(shop.promoter.show(name)).read_text()
    for said in (f"# {name}", "the first model of its kind", manifest["sha256"], "## What it looks at"):
        assert said in card
    for plot in ("reliability", "roc", "precision_recall", "level_by_month"):
        assert f"({name}.{plot}.svg)" in card
        assert (shop.folder / "models" / f"{name}.{plot}.svg").read_text().startswith("<svg")


def test_the_next_model_names_whom_it_was_judged_against(shop: Shop) -> None:
    first, second = FIRST, trained(shop)
    manifest = shop.promoter.show(second).manifest
    assert manifest["parent"] == first
    assert manifest["gate"]["reason"]
    assert not manifest["gate"]["passed"]  # the same data and the same recipe: nothing to show
    assert shop.promoter.show(first).status is ModelStatus.CHAMPION
    with shop.database.read() as connection:
        (told,) = notices_since(connection, shop.clock.now() - timedelta(days=1))  # the first one was no news
    assert told.text.startswith(f"{first} scores on; {second} was refused: log loss ")


@pytest.mark.parametrize("where", ["after the file", "after the row"])
def test_what_a_crash_leaves_between_file_and_row_is_swept_by_the_next_training(shop: Shop, where: str) -> None:
    kept = FIRST
    dead = ModelFiles(shop.database, shop.clock, shop.settings, owner="elsewhere:1:1")
    lost = dead.reserve(SERIES)
    for ending in ("joblib", "json", "md", "roc.svg", "joblib.partial"):
        (dead.folder / f"{lost.name}.{ending}").write_bytes(b"x")
    (dead.folder / f"{lost.name}0.joblib").write_bytes(b"x")  # a stranger with a name that begins alike
    if where == "after the row":
        with shop.database.write() as connection:
            row = shop.promoter.show(kept)
            values = {**vars(row), "name": lost.name, "version": lost.number, "path": f"{lost.name}.joblib"}
            models.add_model(connection, models.ModelVersion(**values))
    assert dead.sweep() == []  # its process may still be writing
    shop.clock.advance(timedelta(hours=4))
    swept = ModelFiles(shop.database, shop.clock, shop.settings).sweep()
    assert swept == ([lost.name] if where == "after the file" else [])
    assert (f"{lost.name}.joblib" in files(shop)) == (where == "after the row")
    assert {f"{kept}.joblib", f"{lost.name}0.joblib"} <= files(shop)
    assert shop.promoter.strangers() == [f"{lost.name}0.joblib"]
    assert trained(shop) not in (kept, lost.name)
    with shop.database.read() as connection:
        assert runs.runs_in(connection, "store_model", RunState.RUNNING) == []


def test_a_training_that_fails_while_it_writes_leaves_nothing(untrained: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(retraining, "card_files", full)
    with pytest.raises(OSError, match="space"):
        trained(untrained)
    assert files(untrained) == set()
    assert untrained.promoter.list_models() == []


def test_of_two_trainings_at_once_one_is_champion_and_no_file_is_lost(database: Database, tmp_path: Path) -> None:
    """Each has a connection of its own; both saw that nobody scored."""
    write_shop(tmp_path, orders=200)
    shop = Shop(database, tmp_path)
    shop.read_files()
    start = Barrier(2)

    class Together(Trainer):
        def _store(self, *arguments: Any) -> Any:
            start.wait()
            return super()._store(*arguments)

    def one(_: int) -> Any:
        return Together(shop.database, shop.clock, shop.settings).train("issue", moment="due", as_of=SCORED_FROM)[0]

    with ThreadPoolExecutor(2) as pool:
        reports = list(pool.map(one, range(2)))
    assert sorted(report.promoted for report in reports) == [False, True]
    (kept_out,) = (report for report in reports if not report.promoted)
    assert "another model was promoted" in kept_out.reason
    assert {one.status for one in shop.promoter.list_models()} == {ModelStatus.CHAMPION, ModelStatus.CHALLENGER}
    assert {f"issue-due-20-v{number}.joblib" for number in (1, 2)} <= files(shop)
    for name in ("issue-due-20-v1", "issue-due-20-v2"):
        shop.promoter.promote(name, actor="test", reason="both files are whole")


def _train_in_a_process(url: str, folder: str, barrier: Any) -> None:
    database = open_database(url)
    shop = Shop(database, Path(folder))
    barrier.wait(120)
    shop.trainer.train("issue", moment="due", as_of=SCORED_FROM)
    database.close()


@pytest.mark.parametrize("engine", ["sqlite", pytest.param("postgres", marks=pytest.mark.peer)])
def test_two_processes_that_train_at_once_leave_one_champion(
    engine: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    url = request.getfixturevalue(f"{engine}_url")
    database = open_database(url)
    write_shop(tmp_path, orders=150)
    shop = Shop(database, tmp_path)
    shop.read_files()
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(2)
    other = context.Process(target=_train_in_a_process, args=(url, str(tmp_path), barrier))
    other.start()
    barrier.wait(120)
    trained(shop)
    other.join(120)
    assert other.exitcode == 0
    found = shop.promoter.list_models()
    database.close()
    assert sorted(one.status for one in found) == [ModelStatus.CHALLENGER, ModelStatus.CHAMPION]
    assert len({one.sha256 for one in found} | {one.path for one in found}) >= 2


@pytest.mark.parametrize("path", ["../elsewhere.joblib", "/etc/passwd", "sub/x.joblib"])
def test_a_row_that_points_out_of_the_folder_is_refused(shop: Shop, path: str) -> None:
    with shop.database.write() as connection:
        connection.execute(sa.update(metadata.tables["model_versions"]).values(path=path))
    with pytest.raises(ModelError, match="outside") as refusal:
        shop.scorer.score("issue", moment="due", start=SCORED_FROM, end=SCORED_TO)
    assert refusal.value.exit_status == 4


def test_a_file_of_another_model_is_refused_though_its_hash_is_right(shop: Shop) -> None:
    name = FIRST
    with shop.database.write() as connection:
        table = metadata.tables["model_versions"]
        connection.execute(sa.update(table).where(table.c.name == name).values(moment="placed"))
        connection.execute(sa.update(metadata.tables["promotions"]).values(moment="placed"))
    with pytest.raises(ModelError, match="holds a model of issue due 20"):
        shop.scorer.score("issue", moment="placed", start=SCORED_FROM, end=SCORED_TO)


def test_a_model_of_before_there_were_references_scores_and_says_what_it_lacks(shop: Shop) -> None:
    name = FIRST
    old = {
        key: value
        for key, value in shop.promoter.show(name).manifest.items()
        if key not in ("reference", "gate", "code", "settings", "parent", "importances", "bytes")
    }
    with shop.database.write() as connection:
        connection.execute(sa.update(metadata.tables["model_versions"]).values(manifest=old))
    assert shop.scorer.score("issue", moment="due", start=SCORED_FROM, end=SCORED_TO)
    (report,) = watch(shop).look(as_of=SCORED_FROM)
    assert any("no reference in the model" in text for text in report.line()["not_enough"])


# --- Drift -------------------------------------------------------------------------------------------


def watch(shop: Shop) -> DriftWatch:
    return DriftWatch(shop.database, shop.clock, shop.settings, shop.trainer)


def test_drift_says_what_moved_and_changes_nothing(shop: Shop) -> None:
    (report,) = watch(shop).look()
    line = report.line()
    assert list(line) == [
        "model", "kind", "moment", "horizon_days", "trained_as_of", "as_of", "recent_rows", "features", "weeks",
        "level", "alarms", "not_enough", "retrain",
    ]  # fmt: skip
    assert json.loads(json.dumps(line)) == line
    assert line["not_enough"]  # the shop had closed by now: no recent order
    assert len(shop.promoter.list_models()) == 1


def test_a_champion_that_cannot_be_opened_is_an_alarm_and_asks_for_training(shop: Shop) -> None:
    name = FIRST
    (shop.folder / "models" / f"{name}.joblib").unlink()
    shop.clock.advance(timedelta(days=8))
    assert watch(shop).look_if_due() == 1
    (report,) = watch(shop).look()
    assert "cannot be read" in report.alarms[0]
    assert report.retrain == "drift alarmed"
    assert watch(shop).retrain_if_due() == 1
    (champion,) = (one for one in shop.promoter.list_models() if one.status is ModelStatus.CHAMPION)
    assert champion.name != name


def test_looks_are_a_week_apart_and_trainings_a_month(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []
    monkeypatch.setattr(DriftWatch, "look", lambda self, as_of=None: looked.append(1) or _fitting(self))
    watching = watch(shop)
    for _ in range(15):
        watching.look_if_due()
        shop.clock.advance(timedelta(days=1))
    assert len(looked) == 3
    assert watching.retrain_if_due() == 0
    assert len(shop.promoter.list_models()) == 1
    shop.clock.advance(timedelta(days=16))
    watching.retrain_if_due()
    watching.retrain_if_due()  # it was tried just now
    assert len(shop.promoter.list_models()) == 2


def _fitting(watching: DriftWatch) -> list[Any]:
    (version,) = watching._champions()
    return [DriftReport(model=version, as_of=NOW, reading=None)]


def test_an_update_of_the_program_asks_for_training_after_a_pause(shop: Shop) -> None:
    with shop.database.write() as connection:
        table = metadata.tables["model_versions"]
        (manifest,) = connection.scalars(sa.select(table.c.manifest)).all()
        connection.execute(sa.update(table).values(manifest={**manifest, "code": "another"}))
    assert watch(shop).look()[0].retrain is None
    shop.clock.advance(timedelta(days=8))
    assert "program has changed" in str(watch(shop).look()[0].retrain)


def test_a_training_that_is_refused_leaves_the_round_going(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.clock.advance(timedelta(days=40))

    def refuse(*_: Any, **__: Any) -> TrainingResult:
        raise Refused("too little")

    monkeypatch.setattr(shop.trainer, "train", refuse)
    assert watch(shop).retrain_if_due() == 0
