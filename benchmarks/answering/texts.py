"""The real texts that answering is measured on, and an encoder that embeds each of them once.

Reading only; what is asked of whom is in the modules beside it.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from messages.encoder import Vectors, load_encoder

__all__ = ["SHOPS", "RememberingEncoder", "labelled", "parsed", "text_folder", "within"]

SHOPS = ("curekart", "powerplay11", "sofmattress")
RESAMPLES, SEED = 2_000, 0


class RememberingEncoder:
    """The shipped encoder with a memory, because folds and rivals ask for the same texts again and again."""

    def __init__(self) -> None:
        encoder = load_encoder()
        if encoder is None:
            raise SystemExit("the shipped encoder is not installed (see requirements.txt)")
        self._encoder = encoder
        self._known: dict[str, Vectors] = {}
        self.name = encoder.name

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Return one unit vector a text."""
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        self._known.update(zip(new, self._encoder.encode(new), strict=True))
        return np.stack([self._known[text] for text in texts]) if texts else self._encoder.encode([])


def text_folder() -> Path:
    """Return the folder of real texts: AFTERCARE_DATA/text, else ../shared/data/text."""
    named = os.environ.get("AFTERCARE_DATA")
    return (Path(named) if named else Path(__file__).parents[3] / "shared" / "data") / "text"


def labelled(file: Path) -> tuple[list[str], list[str]]:
    """Read the texts and the labels of a CSV file with a line of names."""
    with file.open(newline="", encoding="utf-8") as lines:
        rows = list(csv.reader(lines))[1:]
    return [row[0] for row in rows], [row[1] for row in rows]


def parsed(file: Path) -> Any:
    """Read a JSON file."""
    return json.loads(file.read_text(encoding="utf-8"))


def within(differences: NDArray[np.float64]) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of the mean of paired differences."""
    rng = np.random.default_rng(SEED)
    draws = [differences[rng.integers(0, len(differences), len(differences))].mean() for _ in range(RESAMPLES)]
    low, high = np.quantile(draws, (0.025, 0.975))
    return float(low), float(high)
