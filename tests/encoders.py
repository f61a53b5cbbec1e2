"""The real encoder with a memory, so that many tests over the same articles embed them once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from messages.encoder import Vectors, load_encoder


class RememberingEncoder:
    """Embeds every text once per process."""

    def __init__(self) -> None:
        encoder = load_encoder()
        assert encoder is not None, "the encoder's packages are not installed"
        self._encoder = encoder
        self._known: dict[str, Vectors] = {}
        self.name = encoder.name

    def encode(self, texts: Sequence[str]) -> Vectors:
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        self._known.update(zip(new, self._encoder.encode(new), strict=True))
        return np.stack([self._known[text] for text in texts]) if texts else self._encoder.encode([])
