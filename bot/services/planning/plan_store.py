"""What a plan leaves behind: suggestions with their draws, ways through playbooks that begin and go on, refusals.

Each batch is one short transaction in which a suggestion, its draw and the way that it begins stand or fall together; a
second time nothing is stored twice. What is decided, and the words, are `bot.services.planning.planner`'s business.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TypeVar

from bot.config import Settings
from bot.decide.assignment import HOLDOUT
from bot.decide.playbook import EVENT, Band
from bot.decide.value import is_urgent
from bot.services.experiments.drawing import Drawer
from bot.services.planning.audience import Considered
from bot.services.planning.drafting import Drafted
from bot.services.planning.journeys import due_after
from bot.services.planning.plan_lines import PlanLine, line_of, refusal_of
from bot.services.planning.playbooks import Playbooks
from bot.services.planning.ruling import Ruler, Ruling
from bot.services.review.cards import ranking_reasons
from bot.store.database import Connection, Database
from bot.store.instances import (
    NewJourney,
    StoredJourney,
    begin_journey,
    end_journey,
    keep_version,
    stands,
    step_on,
)
from bot.store.outreach import NewOutreach, insert_outreach
from bot.store.planning import NewRefusal, StoredArm, article_version_ids, store_refusals

__all__ = ["SUGGESTIONS_A_TIME", "PlanStore", "batches"]

# A writing transaction of so many rows stays far under 100 ms.
SUGGESTIONS_A_TIME = 25
REFUSALS_A_TIME = 500

Item = TypeVar("Item")


class PlanStore:
    """Writes down what was decided."""

    def __init__(self, database: Database, settings: Settings, playbooks: Playbooks, ruler: Ruler) -> None:
        self._database = database
        self._settings = settings
        self._playbooks = playbooks
        self._ruler = ruler
        self._drawer = Drawer(settings)

    def suggestions(
        self, drafted: Sequence[tuple[Considered, Ruling, Drafted | None]], now: datetime, today: str
    ) -> list[PlanLine]:
        """Store suggestions, and refusals of those that could not be drafted; return a line for each."""
        cited = {words.article for _, _, words in drafted if words is not None and words.article is not None}
        lines: list[PlanLine] = []
        with self._database.write() as connection:
            articles = article_version_ids(connection, cited)
            for one, ruling, words in drafted:
                arm_id = self._assignment(connection, one, now)
                if arm_id is None:
                    continue  # drawn, or gone on, meanwhile: the next plan reads what stands
                line = line_of(one, ruling, words)
                if words is None:
                    store_refusals(connection, [refusal_of(one, ruling, today, arm_id)], now)
                    lines.append(line)
                    continue
                new = self._outreach(one, ruling, words, today, arm_id, articles)
                if (stored := insert_outreach(connection, new, now)) is not None:
                    self._go(connection, one, arm_id, stored, now)
                    lines.append(line.stored(stored))
        return lines

    def refusals(self, refused: Sequence[tuple[Considered, Ruling]], now: datetime, today: str) -> None:
        """Store who is left alone and why; who is held out begins a way, too, on which they are only observed."""
        for batch in batches(refused, REFUSALS_A_TIME):
            with self._database.write() as connection:
                rows: list[NewRefusal] = []
                for one, ruling in batch:
                    arm = self._arm(connection, one, now) if ruling.draws and one.journey is None else None
                    if arm is not None and arm.arm == HOLDOUT:
                        self._go(connection, one, arm.id, None, now)
                    rows.append(refusal_of(one, ruling, today, None if arm is None else arm.id))
                store_refusals(connection, rows, now)

    def ended(self, found: Sequence[tuple[StoredJourney, str]], now: datetime) -> None:
        """Store which ways have ended, and why."""
        for batch in batches(found, REFUSALS_A_TIME):
            with self._database.write() as connection:
                for journey, why in batch:
                    end_journey(connection, journey, why, now)

    def _assignment(self, connection: Connection, one: Considered, now: datetime) -> int | None:
        if one.journey is not None:
            return one.assignment_id if stands(connection, one.journey) else None
        arm = self._arm(connection, one, now)
        assert arm is not None  # nobody who is held out everywhere is suggested
        return arm.id if arm.arm == one.drawn.arm else None

    def _go(
        self, connection: Connection, one: Considered, assignment_id: int, outreach_id: int | None, now: datetime
    ) -> None:
        """Write down where somebody stands on their way now; a pattern is answered once, and begins none."""
        due_at = due_after(one.playbook, one.step.id, now, one.trigger_at)
        if one.journey is not None:
            assert outreach_id is not None
            step_on(connection, one.journey, one.step.id, outreach_id, due_at)
            return
        text = self._playbooks.text(one.playbook.id, one.playbook.version)
        if text is not None:
            keep_version(connection, one.playbook.id, one.playbook.version, text, now)
        begin_journey(
            connection,
            NewJourney(
                customer_id=one.customer.id,
                order_id=one.order.id if one.order is not None and one.playbook.per_order else None,
                playbook=one.playbook.id,
                playbook_version=one.playbook.version,
                assignment_id=assignment_id,
                arm=one.drawn.arm,
                trigger_at=one.trigger_at,
                step=one.step.id,
                outreach_id=outreach_id,
                due_at=due_at,
            ),
            now,
        )

    def _arm(self, connection: Connection, one: Considered, now: datetime) -> StoredArm | None:
        return self._drawer.store(
            connection, one.playbook.id, one.customer, one.drawn, now, band=one.forecast.band, channel=one.channel
        )

    def _outreach(
        self,
        one: Considered,
        ruling: Ruling,
        words: Drafted,
        today: str,
        assignment_id: int,
        articles: dict[tuple[str, int], int],
    ) -> NewOutreach:
        assert one.channel is not None  # nobody without an address is suggested
        return NewOutreach(
            dedupe_key=f"{one.customer.id}:{one.playbook.id}:{one.step.id}:{today}",
            customer_id=one.customer.id,
            order_id=one.order.id if one.order is not None else None,
            playbook=one.playbook.id,
            playbook_version=one.playbook.version,
            step=one.step.id,
            channel=one.channel,
            local_date=today,
            assignment_id=assignment_id,
            prediction_id=one.forecast.prediction_id,
            article_version_id=articles.get(words.article) if words.article is not None else None,
            template=words.template,
            locale=words.locale,
            subject=words.subject,
            draft=words.text,
            reasons=[dict(reason) for reason in (*ranking_reasons(one.forecast.gain), *one.forecast.reasons)],
            probability=None if one.forecast.kind == EVENT else one.forecast.probability,
            band=one.forecast.band,
            urgent=is_urgent(one.playbook.goal, Band(one.forecast.band)),
            not_before=ruling.not_before or one.facts.now,
            expires_at=self._ruler.expires_at(one, ruling),
            autonomy=one.playbook.autonomy,
            pattern_id=one.forecast.pattern_id,
            purpose=one.playbook.purpose,
            priority=one.playbook.priority,
        )


def batches(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    """Cut a sequence into pieces that fit into one transaction each."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
