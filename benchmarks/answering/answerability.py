"""Whether to answer at all: what was learned from a shop's sample questions beside a threshold over the same search.

HINT3's shops with intents left out: each message that is asked is asked twice, once of all articles and once of those without its own, where no
answer is right. So half of all cannot be answered. Nothing here chose anything: the model was taught by the sample questions alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from benchmarks.answering import ranking
from benchmarks.answering.texts import RememberingEncoder
from messages.answerable import Answerability, Costs, Trial, coverage_at
from messages.knowledge import KnowledgeIndex
from predictors.plots import COLOURS, drawn

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["PICTURE", "PRECISION", "Judged", "curves", "judged"]

PRECISION = 0.95
PICTURE = Path(__file__).parents[2] / "docs" / "pictures" / "answerability.svg"


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A shop's messages, each with its article and without: what model and search said, and whether the first article was right."""

    data: str
    probabilities: NDArray[np.float64]
    scores: NDArray[np.float64]
    right: NDArray[np.bool_]
    trial: Trial

    @property
    def coverages(self) -> tuple[float, float]:
        """The share that the model, and that the best threshold in hindsight, can answer at the precision."""
        return coverage_at(self.probabilities, self.right, PRECISION), coverage_at(self.scores, self.right, PRECISION)

    def at_costs(self, costs: Costs) -> tuple[float, float]:
        """Return the share that the model answers at such costs, and its precision."""
        said = self.probabilities > costs.least_probability
        return float(said.mean()), float(self.right[said].mean()) if said.any() else 1.0


def judged(folder: Path, encoder: RememberingEncoder) -> list[Judged]:
    """Ask each shop's messages."""
    return [_judged(asked, encoder) for asked in ranking.hint3(folder)]


def _judged(asked: ranking.Asked, encoder: RememberingEncoder) -> Judged:
    index = KnowledgeIndex.build(asked.articles, encoder)
    model = Answerability.fit(index)
    if model is None:
        raise SystemExit(f"{asked.data}: too little to learn from")
    ids = [f"{label}/0" for label in asked.wanted]
    found = [
        (model.probability(text, hits), hits[0].score, hits[0].article_id == wanted)
        for every in (index.search_many(asked.questions), index.search_many(asked.questions, without=ids))
        for text, wanted, hits in zip(asked.questions, ids, every, strict=True)
    ]
    return Judged(
        data=asked.data,
        probabilities=np.array([one[0] for one in found]),
        scores=np.array([one[1] for one in found]),
        right=np.array([one[2] for one in found], dtype=bool),
        trial=model.trial,
    )


def curves(shops: Sequence[Judged]) -> str:
    """Draw the precision of what is answered for each share that is answered."""

    def draw(axes: Axes) -> None:
        axes.axhline(PRECISION, color="#b8c2c0", linewidth=1)
        for colour, shop in zip(COLOURS, shops, strict=False):
            for values, name, style in ((shop.probabilities, "model", "solid"), (shop.scores, "threshold", "dashed")):
                share, precision = _line(values, shop.right)
                label = f"{shop.data.removeprefix('HINT3 ')}, {name}"
                axes.plot(share, precision, color=colour, linestyle=style, label=label, linewidth=1.5)
        axes.set_xlim(0, 0.6)
        axes.set_ylim(0.5, 1.01)
        axes.set_xlabel("answered (share of all messages, half of which have no article)")
        axes.set_ylabel("right (share of those answered)")
        axes.legend(loc="lower left")

    return drawn("Which messages to answer", draw)


def _line(values: NDArray[np.float64], right: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    order = np.argsort(-values, kind="stable")
    count = np.arange(1, len(values) + 1)
    # The first dozen jump from one message to the next.
    return count[12:] / len(values), (np.cumsum(right[order]) / count)[12:]
