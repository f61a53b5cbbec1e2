"""`ask` at 10,000 articles, warm, on one core: how long, how much memory, and what the index costs to build.

    python -m benchmarks.answering.asking        (one line of JSON; `benchmarks.knowledge` runs it as a process of its own)

The articles are made of real texts with one seed: a message of Banking77 as the title, one of CLINC as the sample question, two
sentences of StackFAQ's answers as the body. StackFAQ's rephrasings are asked through `KnowledgeDesk.ask`, each once.
"""

from __future__ import annotations

import json
import random
import re
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from benchmarks.answering.texts import labelled, parsed, text_folder
from bot.clock import ManualClock
from bot.config import Settings
from bot.services.knowledge.desk import KnowledgeDesk
from bot.store import migrations
from bot.store.database import Database, open_database
from bot.store.knowledge import NewVersion, save_version
from messages.encoder import TextEncoder, Vectors

__all__ = ["ARTICLES", "AskFigures"]

ARTICLES, ASKED, SEED = 10_000, 300, 0
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class AskFigures:
    """What was measured: milliseconds by the clock and of the processor, seconds, megabytes.

    Attributes
    ----------
    one_pass_ms : float
        The encoder's own part of one question, median of the processor.
    """

    p50_ms: float
    p99_ms: float
    processor_p50_ms: float
    one_pass_ms: float
    build_s: float
    encoding_s: float
    index_mb: float
    peak_mb: float


class TimedEncoder:
    """An encoder that knows how long it worked."""

    def __init__(self, encoder: TextEncoder) -> None:
        self._encoder = encoder
        self.name = encoder.name
        self.seconds = 0.0

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Return the encoder's own vectors."""
        began = time.process_time()
        try:
            return self._encoder.encode(texts)
        finally:
            self.seconds += time.process_time() - began


def _fill(database: Database, folder: Path) -> None:
    titles, _ = labelled(folder / "banking77_train.csv")
    questions = [text for text, _ in parsed(folder / "clinc150_train_val.json")["train"]]
    threads = parsed(folder / "stackfaq_dev.json")
    sentences = [
        part.strip()
        for thread in threads
        for answer in thread["answers"]
        for part in re.split(r"(?<=[.!?])\s+", answer)
        if 20 < len(part) < 300
    ]
    drawn = random.Random(SEED)
    with database.write() as connection:
        for number, title in enumerate(titles[:ARTICLES]):
            new = NewVersion(
                external_id=f"article-{number}",
                title=title,
                body=" ".join(drawn.sample(sentences, 2)),
                questions=[drawn.choice(questions)],
                tags=(),
                locale="en",
                products=(),
                valid_from=None,
                valid_until=None,
                owner=None,
                review_by=None,
                sha256=str(number),
            )
            save_version(connection, new, NOW)


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 1e6


def measure(folder: Path) -> AskFigures:
    """Fill a database, build the index, ask."""
    with tempfile.TemporaryDirectory() as scratch:
        database = open_database(f"sqlite:///{scratch}/shop.db")
        migrations.upgrade(database)
        _fill(database, folder)
        desk = KnowledgeDesk(database, ManualClock(NOW), Settings.model_validate({}))
        if desk.encoder is None:
            raise SystemExit("the shipped encoder is not installed (see requirements.txt)")
        timed = TimedEncoder(desk.encoder)
        # The desk's own cached part is replaced before its first use, so that encoding is told from the rest.
        desk.__dict__["encoder"] = timed
        desk.classifier.predict(["warm"])
        timed.seconds, before, began = 0.0, _resident_mb(), time.process_time()
        print(f"embedding {ARTICLES} articles", file=sys.stderr, flush=True)
        desk.index()
        build, encoding, index_mb = time.process_time() - began, timed.seconds, _resident_mb() - before
        questions = [text for thread in parsed(folder / "stackfaq_dev.json") for text in thread["rephrasings"]]
        random.Random(SEED).shuffle(questions)
        for text in questions[:20]:
            desk.ask(text)
        clock, processor, encoder = [], [], []
        for text in questions[20 : 20 + ASKED]:
            timed.seconds, began, began_processor = 0.0, time.perf_counter(), time.process_time()
            desk.ask(text)
            clock.append(time.perf_counter() - began)
            processor.append(time.process_time() - began_processor)
            encoder.append(timed.seconds)
        database.close()
    return AskFigures(
        p50_ms=float(np.quantile(clock, 0.5)) * 1e3,
        p99_ms=float(np.quantile(clock, 0.99)) * 1e3,
        processor_p50_ms=float(np.quantile(processor, 0.5)) * 1e3,
        one_pass_ms=float(np.quantile(encoder, 0.5)) * 1e3,
        build_s=build,
        encoding_s=encoding,
        index_mb=index_mb,
        peak_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
    )


if __name__ == "__main__":
    print(json.dumps(asdict(measure(text_folder()))))
