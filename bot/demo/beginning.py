"""What every showing begins with: the shop moves in, articles are read, models are trained, a day is planned.

Each step calls the service that the command of the same name calls, and tells what it did.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from bot.demo.narration import file_link
from bot.demo.stage import Stage
from bot.services.importing.importer import FileReport
from bot.services.planning.plan_lines import PlanLine
from bot.services.prediction.retraining import TrainingReport
from bot.services.prediction.scored import ScoredSubject
from bot.store.enums import PlanDecision

__all__ = ["begin", "import_folder", "plan_day", "prepare", "score_all", "train_again", "train_all"]

FEWEST_ARTICLES = 10


def begin(stage: Stage) -> list[PlanLine]:
    """Go from nothing to a planned day."""
    prepare(stage)
    return plan_day(stage)


def prepare(stage: Stage) -> None:
    """Go from nothing to scored orders."""
    narrator = stage.narrator
    narrator.step("Import: the shop's files come in")
    narrator.say(*stage.scenery.describe())
    import_folder(stage, stage.scenery.write_present(stage.workspace.folder / "files"))
    articles = stage.app.knowledge.articles()
    narrator.say(f"The knowledge base has {len(articles)} articles; whatever the bot answers names one of them.")
    narrator.expect(len(articles) >= FEWEST_ARTICLES, "the articles that come with Aftercare are there")
    train_all(stage)
    score_all(stage)


def import_folder(stage: Stage, folder: Path) -> list[FileReport]:
    """Import canonical files and show the counts."""
    reports = stage.app.importer.import_paths([folder], rejects=stage.workspace.folder / "rejects.csv")
    stage.narrator.table(
        f"aftercare import {file_link(folder)}",
        ("file", "rows", "new", "updated", "rejected"),
        [(Path(one.file).name, one.read, one.new, one.updated, one.rejected) for one in reports],
    )
    rejected = sum(one.rejected for one in reports)
    stage.narrator.expect(rejected == 0, "every row was taken")
    return reports


def train_all(stage: Stage) -> list[TrainingReport]:
    """Train the first champions."""
    narrator = stage.narrator
    narrator.step("Train: what went before a problem, and who does not come back")
    reports = [report for kind in ("issue", "churn") for report in stage.app.trainer.train(kind)]
    narrator.table(
        "aftercare train",
        ("model", "kind, moment", "stage", "learned from", "ROC-AUC on later data", "verdict"),
        [_training_row(report) for report in reports],
    )
    narrator.say("Nothing recorded after an order's own moment reaches its features; the last quarter of time judges.")
    narrator.expect(all(report.promoted for report in reports), "each first model became the champion of its kind")
    return reports


def score_all(stage: Stage) -> list[ScoredSubject]:
    """Score all that is recent."""
    narrator = stage.narrator
    narrator.step("Score: who is about to have a problem, or to leave")
    # Looking only: the plan predicts again and stores what it acted on.
    issues, leaving = (stage.app.scorer.score(kind, save=False) for kind in ("issue", "churn"))
    bands = Counter(one.band for one in issues)
    narrator.say(
        f"{len(issues)} recent orders: {bands['high']} at high risk, {bands['medium']} at medium, {bands['low']} at low.",
        f"{len(leaving)} customers: {sum(one.band == 'high' for one in leaving)} likely to stay away.",
    )
    if issues:
        worst = max(issues, key=lambda one: one.probability)
        narrator.say(f"The most endangered order, {worst.order_key} ({worst.probability:.0%}), because:")
        narrator.say(*(f"  • {reason.text} ({reason.effect * 100:+.0f} points)" for reason in worst.reasons[:3]))
        narrator.expect(bool(worst.reasons), "a prediction comes with its reasons")
    return issues


def plan_day(stage: Stage) -> list[PlanLine]:
    """Plan the day's check-ins."""
    narrator = stage.narrator
    narrator.step("Plan: whom to write to today, and whom not")
    lines = stage.app.planner.plan()
    counts = Counter((line.playbook, _fate(line)) for line in lines)
    fates = ["suggested", "held out", *sorted({fate for _, fate in counts} - {"suggested", "held out"})]
    narrator.table(
        f"aftercare plan, {stage.clock.now():%A %d %B %Y}",
        ("playbook", *fates),
        [
            (playbook, *(counts[playbook, fate] or "" for fate in fates))
            for playbook in sorted({playbook for playbook, _ in counts})
        ],
    )
    share = stage.app.settings.experiments.holdout_share
    narrator.say(
        f"{share:.0%} are held out by a salted draw, made before anybody sees a suggestion: without them nobody could",
        "say later whether writing helped. Who is refused or deferred is stored with the reason.",
    )
    fates_seen = {_fate(line) for line in lines}
    narrator.expect(
        {"suggested", "held out"} <= fates_seen, "there are suggestions, and customers held out to compare with"
    )
    return lines


def train_again(stage: Stage) -> list[TrainingReport]:
    """Train challengers of the issue models, and show the gate's verdict on each."""
    narrator, moment = stage.narrator, stage.scenery.retrained_moment
    narrator.say("aftercare train --kind issue" + (f" --moment {moment}" if moment else ""))
    reports = stage.app.trainer.train("issue", moment=moment)
    for report in reports:
        verdict = "the new one takes over" if report.promoted else "the old one stays"
        narrator.say(
            f"{report.kind} at the moment {report.moment}: old {report.previous}, new {report.name}",
            f"    learned from {report.rows} orders; ROC-AUC on later ones {_auc(report)}",
            f"    the gate: {report.reason}",
            f"    so {verdict}",
        )
    narrator.expect(
        all(report.previous is not None for report in reports),
        "each new model was compared with the old one before it could take over",
    )
    return reports


def _training_row(report: TrainingReport) -> tuple[str, ...]:
    return (
        report.name,
        f"{report.kind}, {report.moment}",
        report.stage,
        f"{report.rows} {'orders' if report.kind == 'issue' else 'customers'}",
        _auc(report),
        "champion" if report.promoted else "kept out",
    )


def _auc(report: TrainingReport) -> str:
    auc = (report.metrics.get("aftercare") or {}).get("auc") or {}
    if auc.get("value") is None:
        return "too few to say"
    return f"{auc['value']:.2f} [{auc['low']:.2f}, {auc['high']:.2f}]"


def _fate(line: PlanLine) -> str:
    if line.decision is PlanDecision.SUGGEST:
        return "suggested"
    if line.reason == "holdout":
        return "held out"
    return (line.reason or line.decision.value).replace("_", " ")
