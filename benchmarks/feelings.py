"""How well `messages.feelings` tells feelings, beside VADER's lexicon; and how its numbers were fitted.

    python -m benchmarks.feelings [fit] FOLDER

FOLDER is `additional_resources/hutto_ICWSM_2014`, unpacked from the sources of vaderSentiment 3.3.2 (`pip download --no-deps
--no-binary :all: vaderSentiment`; MIT): sentences of product reviews and posts, each rated from -4 to 4 by twenty people
(Hutto and Gilbert 2014). Half of the reviews and posts, drawn by a digest, are learned from, the others judge. `fit` writes
messages/feelings.json. The messages of tests/data/messy judge urgency, where they are labelled.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import Ridge
from sklearn.metrics import roc_auc_score

from messages.encoder import DEFAULT_SHA256, load_encoder
from messages.feelings import feeling

NUMBERS = Path(__file__).parents[1] / "messages" / "feelings.json"
MESSY = Path(__file__).parents[1] / "tests" / "data" / "messy" / "messages.jsonl"
FILES = {"product reviews": "amazonReviewSnippets_GroundTruth.txt", "posts": "tweets_GroundTruth.txt"}
# Ratings of less than one of four either way are neither good nor bad.
PLAIN = 0.25


def rated(folder: Path, name: str) -> tuple[list[str], NDArray[np.float64], NDArray[np.bool_]]:
    """Return the sentences of a file, their ratings from -1 to 1, and which of them judge."""
    rows = [line.split("\t") for line in (folder / FILES[name]).read_text(encoding="utf-8").splitlines()]
    rows = [row for row in rows if len(row) == 3]
    # Sentences of one review stay together.
    judging = [hashlib.sha256(row[0].split("_")[0].encode()).digest()[0] % 2 == 0 for row in rows]
    return [row[2] for row in rows], np.array([float(row[1]) for row in rows]) / 4, np.array(judging)


def fit(folder: Path) -> None:
    """Fit the linear model on the halves that do not judge, and write it."""
    encoder = load_encoder()
    if encoder is None:
        raise SystemExit("the shipped encoder is not installed (see requirements.txt)")
    texts: list[str] = []
    ratings: list[float] = []
    for name in FILES:
        every, given, judging = rated(folder, name)
        texts += [text for text, judges in zip(every, judging, strict=True) if not judges]
        ratings += list(given[~judging])
    model = Ridge(alpha=1.0).fit(encoder.encode(texts).astype(np.float64), ratings)
    tree = {
        "encoder_sha256": DEFAULT_SHA256,
        "fitted_on": f"{len(texts)} rated sentences of Hutto and Gilbert 2014 (MIT)",
        "intercept": round(float(model.intercept_), 6),
        "weights": [round(float(weight), 5) for weight in model.coef_],
    }
    NUMBERS.write_text(json.dumps(tree) + "\n", encoding="utf-8")


def judge(folder: Path) -> None:
    """Print correlation with the ratings, and how well plainly good and bad sentences are told apart."""
    encoder = load_encoder()
    tree = json.loads(NUMBERS.read_text(encoding="utf-8"))
    if encoder is None:
        raise SystemExit("the shipped encoder is not installed (see requirements.txt)")
    for name in FILES:
        texts, ratings, judging = rated(folder, name)
        asked = [text for text, judges in zip(texts, judging, strict=True) if judges]
        wanted = ratings[judging]
        ours = encoder.encode(asked) @ np.array(tree["weights"]) + tree["intercept"]
        found = {"messages.feelings": np.clip(ours, -1, 1)}
        if (lexicon := _vader(folder)) is not None:
            found["VADER"] = np.array([lexicon.polarity_scores(text)["compound"] for text in asked])
        plain = np.abs(wanted) >= PLAIN
        for who, scores in found.items():
            print(
                f"{name:16}{who:20}{len(asked)} sentences  r {np.corrcoef(scores, wanted)[0, 1]:.3f}"
                f"  AUC good of bad {roc_auc_score(wanted[plain] > 0, scores[plain]):.3f}"
                f"  AUC bad of all others {roc_auc_score(wanted <= -PLAIN, -scores):.3f}"
            )


def messy() -> None:
    """Print how well urgent messages and bad moods are told on messages of ours."""
    lines = [json.loads(line) for line in MESSY.read_text(encoding="utf-8").splitlines()]
    found = [feeling(line["text"]) for line in lines]
    urgent = np.array([line["urgent"] for line in lines])
    urgency = np.array([one.urgency for one in found])
    print(f"urgency, {len(lines)} messages, {urgent.sum()} urgent: AUC {roc_auc_score(urgent, urgency):.3f}", end="")
    flagged = urgency >= 0.5
    print(f", from .5 on precision {urgent[flagged].mean():.3f}, recall {flagged[urgent].mean():.3f}")
    known = [(line["mood"], one.sentiment) for line, one in zip(lines, found, strict=True) if one.sentiment is not None]
    bad, sentiment = np.array([mood < 0 for mood, _ in known]), np.array([value for _, value in known])
    print(f"sentiment, {len(known)} English messages, {bad.sum()} angry: AUC {roc_auc_score(bad, -sentiment):.3f}")


def _vader(folder: Path) -> Any:
    """Return VADER where its sources were unpacked around the folder."""
    sources = folder.parents[1] / "vaderSentiment" / "vaderSentiment.py"
    spec = importlib.util.spec_from_file_location("vader", sources) if sources.is_file() else None
    if spec is None or spec.loader is None:
        return None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.SentimentIntensityAnalyzer()


def main() -> int:
    """Fit or judge."""
    named = [word for word in sys.argv[1:] if word != "fit"]
    if len(named) != 1 or not (Path(named[0]) / FILES["posts"]).is_file():
        print("name the folder of rated sentences; see the first lines of benchmarks/feelings.py")
        return 2
    if "fit" in sys.argv[1:]:
        fit(Path(named[0]))
    judge(Path(named[0]))
    if MESSY.is_file():
        messy()
    return 0


if __name__ == "__main__":
    sys.exit(main())
