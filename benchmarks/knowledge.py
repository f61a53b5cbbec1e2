"""Search, intents and `ask` on real texts, beside named peers in the same run.

    python -m benchmarks.knowledge [search|intents|ask|messy|answerability]...        (default: all)

The texts are those of AFTERCARE_DATA/text, else of ../shared/data/text. Each peer's difference to ours is given with its 95 % paired
bootstrap interval; below zero it is behind. `ask` runs as a process of its own on one core; its times hold for a
machine that does nothing else, so the processor's time stands beside the clock's. `answerability` draws docs/pictures/answerability.svg. Progress goes to stderr. The exit
status is 1 where a goal is missed, 2 where the texts are absent.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.answering import answerability, messy, ranking, recognition
from benchmarks.answering.ranking import Ranked
from benchmarks.answering.recognition import Recognised
from benchmarks.answering.texts import RememberingEncoder, text_folder
from messages.answerable import Costs

RECALL = 0.95
BANKING, BANKING_OF_FEW = 0.94, 0.85
IN_SCOPE, AUROC = 0.953, 0.978
P50_MS, P99_MS, BUILD_FACTOR = 10.0, 30.0, 2.0
RIGHT_FACTOR = 1.5


class Goals:
    """Says whether each goal is held, and remembers whether all were."""

    def __init__(self) -> None:
        self.held = True

    def at_least(self, what: str, value: float, goal: float) -> None:
        """Hold that a value reaches a goal."""
        self._say(what, value >= goal, f"{value:.4f}, goal at least {goal}")

    def at_most(self, what: str, value: float, goal: float) -> None:
        """Hold that a value stays below a goal."""
        self._say(what, value <= goal, f"{value:.2f}, goal at most {goal}")

    def _say(self, what: str, held: bool, figures: str) -> None:
        self.held &= held
        print(f"  {'held  ' if held else 'MISSED'}  {what}: {figures}", flush=True)


def search(folder: Path, encoder: RememberingEncoder, goals: Goals) -> None:
    """Measure which article comes first."""
    print(f"\n{'search':24}{'ranking':36}recall@1  to ours [95 %]")
    every = [ranking.stackfaq(folder), *ranking.hint3(folder), ranking.ecommerce_faq(folder)]
    found = [ranking.ranked(asked, encoder) for asked in every]
    for rows in found:
        for row in rows:
            print(f"{row.data:24}{row.name:36}{row.recall_at_1:.4f}    {_gap(row)}")
    goals.at_least("StackFAQ recall@1", found[0][0].recall_at_1, RECALL)


def intents(folder: Path, encoder: RememberingEncoder, goals: Goals) -> None:
    """Measure which intent is recognised, and what is known to be none."""
    print(f"\n{'intents':24}{'recogniser':24}accuracy  AUROC   to ours [95 %]")
    shops = list(recognition.hint3(folder, encoder))
    for rows in shops:
        _print(rows)
    few = recognition.banking_of_few(folder, encoder)
    _print(few)
    full = recognition.banking(folder, encoder)
    _print(full)
    clinc = recognition.clinc(folder, encoder)
    _print(clinc)
    for rows in shops:
        for row in rows[1:]:
            goals.at_least(f"{row.data}, ahead of {row.name}", rows[0].accuracy - row.accuracy, 0.0)
    goals.at_least(few[0].data, few[0].accuracy, BANKING_OF_FEW)
    goals.at_least(full[0].data, full[0].accuracy, BANKING)
    goals.at_least("CLINC accuracy in scope", clinc[0].accuracy, IN_SCOPE)
    goals.at_least("CLINC AUROC of scope", clinc[0].auroc or 0.0, AUROC)


def ask(goals: Goals) -> None:
    """Measure `ask` at 10,000 articles on one core."""
    core = str(min(os.sched_getaffinity(0)))
    # One thread a library: more of them on one core only wait for each other.
    single = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    done = subprocess.run(
        ["taskset", "-c", core, sys.executable, "-m", "benchmarks.answering.asking"],
        env={**os.environ, **single},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout.splitlines()[-1])
    print("\nask at 10,000 articles, one core")
    print(f"  by the clock p50 {found['p50_ms']:.1f} ms, p99 {found['p99_ms']:.1f} ms")
    print(f"  processor p50 {found['processor_p50_ms']:.1f} ms, {found['one_pass_ms']:.1f} ms of it the encoder's")
    print(
        f"  index built in {found['build_s']:.1f} s of the processor, {found['encoding_s']:.1f} s of it the encoder's"
    )
    print(f"  memory: {found['index_mb']:.0f} MB more by the index, {found['peak_mb']:.0f} MB at its peak")
    goals.at_most("ask p50, ms", found["p50_ms"], P50_MS)
    goals.at_most("ask p99, ms", found["p99_ms"], P99_MS)
    goals.at_most("build over the encoder's own time", found["build_s"] / found["encoding_s"], BUILD_FACTOR)


def long_messages(encoder: RememberingEncoder, goals: Goals) -> None:
    """Measure what becomes of long, messy messages."""
    print(f"\n{'long, messy messages':26}{'decided by':36}right  wrong")
    found = messy.handled(encoder)
    for row in found:
        print(
            f"{row.part + f', {row.messages}, {row.answerable} answerable':26}{row.name:36}{row.right:5}{row.wrong:7}"
        )
    for part in ("test", "all"):
        ours, chosen, best = (row for row in found if row.part == part)
        goals.at_most(f"{part}: share answered wrongly", ours.wrong / ours.messages, messy.PRICE)
        for rival in (chosen, best):
            goals.at_least(f"{part}: right beside a {rival.name}", ours.right / max(rival.right, 1), RIGHT_FACTOR)


def answerable(folder: Path, encoder: RememberingEncoder, goals: Goals) -> None:
    """Measure how many messages are answered at a precision, with intents left out."""
    precision = answerability.PRECISION
    ways = {"at the shipped costs": Costs(), "at half of them": Costs(wrong_answer=Costs().wrong_answer / 2)}
    print(f"\n{'answerability':24}messages  share answered at precision {precision}: model  threshold")
    shops = answerability.judged(folder, encoder)
    for shop in shops:
        (ours, fixed), trial = shop.coverages, shop.trial
        print(f"{shop.data:24}{len(shop.right):8}{ours:42.3f}{fixed:11.3f}")
        for name, costs in ways.items():
            share, right = shop.at_costs(costs)
            print(f"  {name}: {share:.3f} answered, precision {right:.3f}")
        print(
            f"  own trial of {trial.asked}: {trial.right} right, {trial.wrong} wrong, cost {trial.cost:.0f};"
            f" the threshold {trial.threshold_right}, {trial.threshold_wrong}, cost {trial.threshold_cost:.0f};"
            f" at its precision {trial.matched} right: {'the model' if trial.won else 'the threshold'} decides"
        )
    answerability.PICTURE.write_text(answerability.curves(shops) + "\n", encoding="utf-8")
    for shop in shops:
        ours, fixed = shop.coverages
        goals.at_least(f"{shop.data}, coverage ahead of a threshold", ours - fixed, 0.0)
        goals.at_least(f"{shop.data}, precision at the shipped costs", shop.at_costs(Costs())[1], precision)


def _print(rows: Sequence[Recognised]) -> None:
    for row in rows:
        auroc = f"{row.auroc:.4f}" if row.auroc is not None else "     -"
        print(f"{row.data:24}{row.name:24}{row.accuracy:.4f}    {auroc}  {_gap(row)}", flush=True)


def _gap(row: Ranked | Recognised) -> str:
    return "ours" if row.ahead is None else "{:+.4f} [{:+.4f}, {:+.4f}]".format(*row.ahead)


def main() -> int:
    """Measure what was asked for."""
    asked = set(sys.argv[1:]) or {"search", "intents", "ask", "messy", "answerability"}
    folder = text_folder()
    if not folder.is_dir():
        print(f"{folder} is absent")
        return 2
    goals = Goals()
    encoder = RememberingEncoder()
    if "ask" in asked:
        ask(goals)
    if "messy" in asked:
        long_messages(encoder, goals)
    if "answerability" in asked:
        answerable(folder, encoder, goals)
    if "search" in asked:
        search(folder, encoder, goals)
    if "intents" in asked:
        intents(folder, encoder, goals)
    return 0 if goals.held else 1


if __name__ == "__main__":
    sys.exit(main())
