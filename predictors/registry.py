"""Model files: one joblib file with a JSON manifest beside it, opened only if its sha256 is the expected one.

Unpickling runs code, so the bytes are checked before; the expected hash comes from the database, which is not
in this folder. Which model is champion is decided there too. The bytes that are checked are the bytes that are
opened: the file is read once.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import stat
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import joblib
import numpy
import polars
import sklearn

from predictors.errors import ModelFileError
from predictors.model import TrainedModel

__all__ = ["MAX_BYTES", "code_fingerprint", "library_versions", "load_model", "save_model", "write_beside"]

# The largest model that training makes has a few megabytes; a file of more is none of ours, whatever its hash.
MAX_BYTES = 512 * 1024 * 1024


def library_versions() -> dict[str, str]:
    """Return the versions that a model file depends on."""
    return {
        "python": platform.python_version(),
        "scikit-learn": sklearn.__version__,
        "numpy": numpy.__version__,
        "polars": polars.__version__,
    }


@cache
def code_fingerprint() -> str:
    """Return a hash over the source of `predictors`: whether a model was trained by this very code."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def save_model(
    model: TrainedModel, folder: Path, name: str, facts: Mapping[str, Any]
) -> tuple[Path, str, dict[str, Any]]:
    """Write the model file and its manifest.

    Parameters
    ----------
    name : str
        The file is `NAME.joblib`, the manifest `NAME.json`.
    facts : mapping
        JSON values that the manifest carries besides what the model itself says (metrics, data span …).

    Returns
    -------
    path, sha256, manifest
    """
    buffer = io.BytesIO()
    joblib.dump(model, buffer, compress=3)
    content = buffer.getvalue()
    sha256 = hashlib.sha256(content).hexdigest()
    manifest: dict[str, Any] = {
        "name": name,
        "kind": model.kind,
        "moment": model.moment,
        "horizon_days": model.horizon_days,
        "stage": model.stage.value,
        "sha256": sha256,
        "bytes": len(content),
        "trained_as_of": model.trained_as_of.isoformat(),
        "rows": model.rows,
        "positives": model.positives,
        "labelled_by": model.labelled_by,
        "seed": model.seed,
        "features": list(model.features),
        "libraries": library_versions(),
        "code": code_fingerprint(),
        **facts,
    }
    path = write_beside(folder, f"{name}.joblib", content)
    write_beside(folder, f"{name}.json", json.dumps(manifest, indent=2, ensure_ascii=False).encode())
    return path, sha256, manifest


def write_beside(folder: Path, file: str, content: bytes) -> Path:
    """Write a file so that it is there whole or not at all, also after a power cut."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / file
    partial = folder / f"{file}.partial"
    with partial.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    partial.replace(path)
    return path


def load_model(path: Path, sha256: str, libraries: Mapping[str, str] | None) -> TrainedModel:
    """Open a model file whose bytes have the expected hash.

    Parameters
    ----------
    libraries : mapping or None
        The versions it was written with, from its manifest; another scikit-learn is refused, and so is a model that
        does not say.

    Raises
    ------
    ModelFileError
        It is missing, no plain file, too large, altered, was written by another scikit-learn, or holds no model.
    """
    content = _content(path)
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise ModelFileError(
            f"the model file {path} was altered or cut off: its sha256 is {found[:12]}…, the database says "
            f"{sha256[:12]}…; restore it from a backup, run `aftercare models rollback`, or `aftercare train`"
        )
    written = (libraries or {}).get("scikit-learn")
    if written != sklearn.__version__:
        raise ModelFileError(
            f"the model file {path} was written with scikit-learn {written or 'of an unknown version'}, this is "
            f"{sklearn.__version__}; run `aftercare train`"
        )
    try:
        model = joblib.load(io.BytesIO(content))
    except Exception as error:  # whatever a class that moved or changed since raises on unpickling
        raise ModelFileError(
            f"the model file {path} was written by another version of Aftercare ({type(error).__name__}); "
            "run `aftercare train`"
        ) from error
    if not isinstance(model, TrainedModel):
        raise ModelFileError(f"{path} holds no model of Aftercare; run `aftercare train`")
    return model


def _content(path: Path) -> bytes:
    """Read a plain file of a bearable size; a symbolic link may point anywhere, and is not followed."""
    try:
        # Without O_NONBLOCK, opening a pipe would wait for somebody to write into it.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        what = "is a symbolic link" if path.is_symlink() else f"cannot be read ({type(error).__name__})"
        raise ModelFileError(
            f"the model file {path} {what}; restore it from a backup, run `aftercare models rollback`, "
            "or `aftercare train`"
        ) from error
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_BYTES:
        os.close(descriptor)
        raise ModelFileError(
            f"{path} is no plain file of at most {MAX_BYTES >> 20} MiB, and is not opened; "
            "restore it from a backup, or run `aftercare train`"
        )
    with os.fdopen(descriptor, "rb") as stream:
        return stream.read(MAX_BYTES + 1)
