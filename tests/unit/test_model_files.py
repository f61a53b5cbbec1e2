"""Model files: nothing is opened before its bytes are known to be ours."""

from __future__ import annotations

import hashlib
import io
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import joblib
import pytest

from predictors import registry
from predictors.errors import ModelFileError
from predictors.model import TrainedModel
from predictors.moments import Moment
from predictors.registry import library_versions, load_model, save_model
from predictors.scoring import rules_model

MODEL = rules_model(Moment.DUE, horizon_days=45, since=datetime(2026, 1, 1, tzinfo=UTC))


class Bomb:
    """What unpickling would set off."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(Path.cwd() / "exploded"),)


@pytest.fixture
def saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, str]:
    monkeypatch.chdir(tmp_path)
    path, sha256, _ = save_model(MODEL, tmp_path / "models", "issue-due-45-v1", {})
    return path, sha256


def dumped(thing: object) -> bytes:
    buffer = io.BytesIO()
    joblib.dump(thing, buffer)
    return buffer.getvalue()


def test_what_was_written_is_opened(saved: tuple[Path, str]) -> None:
    found = load_model(*saved, library_versions())
    assert isinstance(found, TrainedModel)
    assert found.features == MODEL.features
    assert not list(saved[0].parent.glob("*.partial"))


def test_a_file_with_another_hash_is_not_unpickled(saved: tuple[Path, str]) -> None:
    saved[0].write_bytes(dumped(Bomb()))
    with pytest.raises(ModelFileError, match="altered"):
        load_model(*saved, library_versions())
    assert not Path("exploded").exists()


def test_a_model_of_another_scikit_learn_is_not_unpickled(saved: tuple[Path, str]) -> None:
    content = dumped(Bomb())
    saved[0].write_bytes(content)
    for versions in ({**library_versions(), "scikit-learn": "0.24.2"}, {}, None):
        with pytest.raises(ModelFileError, match=r"scikit-learn.*aftercare train"):
            load_model(saved[0], hashlib.sha256(content).hexdigest(), versions)
    assert not Path("exploded").exists()


@pytest.mark.parametrize("cut", [0, 1, 100])
def test_a_truncated_file_is_told_from_a_whole_one(saved: tuple[Path, str], cut: int) -> None:
    saved[0].write_bytes(saved[0].read_bytes()[:cut])
    with pytest.raises(ModelFileError, match="cut off"):
        load_model(*saved, library_versions())


def test_a_link_is_not_followed_even_to_the_right_bytes(saved: tuple[Path, str], tmp_path: Path) -> None:
    elsewhere = saved[0].rename(tmp_path / "elsewhere")
    saved[0].symlink_to(elsewhere)
    with pytest.raises(ModelFileError, match="symbolic link"):
        load_model(*saved, library_versions())


def test_a_file_that_is_too_large_is_not_read(saved: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "MAX_BYTES", saved[0].stat().st_size - 1)
    with pytest.raises(ModelFileError, match="plain file"):
        load_model(*saved, library_versions())


def test_a_folder_or_a_pipe_is_no_model(saved: tuple[Path, str], tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name in ("folder", "pipe", "nothing"):
        with pytest.raises(ModelFileError, match="aftercare train"):
            load_model(tmp_path / name, saved[1], library_versions())


@pytest.mark.parametrize("content", [b"", b"no pickle at all", dumped({"a": 1})])
def test_bytes_of_the_right_hash_that_hold_no_model_are_a_named_error(saved: tuple[Path, str], content: bytes) -> None:
    saved[0].write_bytes(content)
    with pytest.raises(ModelFileError, match="aftercare train"):
        load_model(saved[0], hashlib.sha256(content).hexdigest(), library_versions())


def test_the_manifest_names_the_code_that_made_it(saved: tuple[Path, str], tmp_path: Path) -> None:
    _, _, manifest = save_model(MODEL, tmp_path, "again", {"metrics": {}})
    assert manifest["code"] == registry.code_fingerprint()
    assert manifest["bytes"] == (tmp_path / "again.joblib").stat().st_size
    assert manifest["sha256"] == saved[1]  # the same model has the same bytes
