"""Model files: one joblib file with a JSON manifest beside it, opened only if its sha256 is the expected one.

Unpickling runs code, so the bytes are checked before; the expected hash comes from the database, which is not
in this folder. Which model is champion is decided there too.
"""

from __future__ import annotations

import hashlib
import io
import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import joblib
import numpy
import polars
import sklearn

from predictors.errors import ModelFileError
from predictors.model import TrainedModel

__all__ = ["library_versions", "load_model", "save_model"]


def library_versions() -> dict[str, str]:
    """Return the versions that a model file depends on."""
    return {
        "python": platform.python_version(),
        "scikit-learn": sklearn.__version__,
        "numpy": numpy.__version__,
        "polars": polars.__version__,
    }


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
    folder.mkdir(parents=True, exist_ok=True)
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
        "trained_as_of": model.trained_as_of.isoformat(),
        "rows": model.rows,
        "positives": model.positives,
        "labelled_by": model.labelled_by,
        "seed": model.seed,
        "features": list(model.features),
        "libraries": library_versions(),
        **facts,
    }
    path = folder / f"{name}.joblib"
    _write(path, content)
    _write(path.with_suffix(".json"), json.dumps(manifest, indent=2, ensure_ascii=False).encode())
    return path, sha256, manifest


def load_model(path: Path, sha256: str, libraries: Mapping[str, str] | None = None) -> TrainedModel:
    """Open a model file whose bytes have the expected hash.

    Parameters
    ----------
    libraries : mapping, optional
        The versions it was written with; another scikit-learn is refused.

    Raises
    ------
    ModelFileError
        It is missing, altered, or was written by another scikit-learn.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelFileError(
            f"the model file {path} cannot be read ({type(error).__name__}); restore it or run `aftercare train`"
        ) from error
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise ModelFileError(
            f"the model file {path} was altered: its sha256 is {found[:12]}…, the database says {sha256[:12]}…; "
            "restore it from a backup, run `aftercare models rollback`, or `aftercare train`"
        )
    written = (libraries or {}).get("scikit-learn", sklearn.__version__)
    if written != sklearn.__version__:
        raise ModelFileError(
            f"the model file {path} was written with scikit-learn {written}, this is {sklearn.__version__}; run `aftercare train`"
        )
    model = joblib.load(io.BytesIO(content))
    if not isinstance(model, TrainedModel):
        raise ModelFileError(f"{path} holds no model of Aftercare; run `aftercare train`")
    return model


def _write(path: Path, content: bytes) -> None:
    partial = path.with_name(f"{path.name}.partial")
    partial.write_bytes(content)
    partial.replace(path)
