"""Labels at the horizon: what became of everybody who was drawn, contacted or held out, and of what was sent.

Each draw is labelled once, when its horizon has passed, by what is recorded by then; the label carries arm,
propensity and whether anything was sent. Reading the effect out of them is `bot.services.insight`'s business.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import structlog

from bot.clock import Clock
from bot.config import Settings
from bot.decide.playbook import Goal
from bot.services.experiments.drawing import EVERYWHERE
from bot.services.planning.playbooks import Playbooks
from bot.store import outcomes
from bot.store.database import Database
from bot.store.outcomes import DueAssignment, Happened, NewOutcome, SentOutreach
from predictors.labels import BAD_RATING, TROUBLE_KINDS
from predictors.moments import RATING_KINDS

__all__ = ["CHURN", "CSAT", "ISSUE", "REPLY", "Labeller", "outcome_of"]

log = structlog.get_logger(__name__)
ISSUE, CHURN, REPLY, CSAT = "issue", "churn", "reply", "csat"
# Who has not answered within two weeks does not answer.
REPLY_DAYS = 14
PAGE = 500


class Labeller:
    """Writes down outcomes."""

    def __init__(self, database: Database, clock: Clock, settings: Settings, playbooks: Playbooks) -> None:
        self._database = database
        self._clock = clock
        self._settings = settings
        # Whoever is held out from all playbooks, and those who are not, are judged by both.
        self._by_kind = {
            kind: [EVERYWHERE, *(one.id for one in playbooks.known if outcome_of(one.goal) == kind)]
            for kind in (ISSUE, CHURN)
        }

    def label(self) -> int:
        """Label what is due; return how many outcomes are new. Doing it again adds nothing."""
        now = self._clock.now()
        counts = {
            ISSUE: self._label_draws(ISSUE, self._settings.predictors.issue.horizon_days, now),
            CHURN: self._label_draws(CHURN, self._settings.predictors.churn.horizon_days, now),
            REPLY: self._label_sent(REPLY, now),
            CSAT: self._label_sent(CSAT, now),
        }
        log.info("labelled", **counts)
        return sum(counts.values())

    def _label_draws(self, kind: str, horizon_days: int, now: datetime) -> int:
        horizon = timedelta(days=horizon_days)
        labelled, after = 0, 0
        while True:
            with self._database.read() as connection:
                due = outcomes.due_assignments(connection, self._by_kind[kind], kind, now - horizon, after, PAGE)
                if not due:
                    return labelled
                after = due[-1].id
                since = min(one.drawn_at for one in due)
                ids = {one.customer_id for one in due}
                sent = outcomes.sent_to(
                    connection, {one.customer_id for one in due if one.playbook == EVERYWHERE}, since
                )
                due = [_with_any_contact(one, sent) for one in due]
                if kind == ISSUE:
                    rated_only = self._rated_only(outcomes.records_kinds(connection, TROUBLE_KINDS, now))
                    kinds = (*TROUBLE_KINDS, *RATING_KINDS)
                    events = outcomes.happened_to(connection, ids, kinds, since, now)
                    found = [
                        _outcome(one, kind, value, horizon_days)
                        for one in due
                        if (value := issue_label(one, events.get(one.customer_id, ()), horizon, rated_only)) is not None
                    ]
                else:
                    placed = outcomes.orders_placed(connection, ids, since, now)
                    found = [
                        _outcome(one, kind, churn_label(one, placed.get(one.customer_id, ()), horizon), horizon_days)
                        for one in due
                    ]
            labelled += self._store(found, now)

    def _label_sent(self, kind: str, now: datetime) -> int:
        horizon = timedelta(days=REPLY_DAYS)
        labelled, after = 0, 0
        while True:
            with self._database.read() as connection:
                sent = outcomes.sent_without(connection, kind, now - horizon, after, PAGE)
                if not sent:
                    return labelled
                after = sent[-1].id
                since = min(one.sent_at for one in sent)
                events = outcomes.happened_to(connection, {one.customer_id for one in sent}, [kind], since, now)
            found: list[NewOutcome] = []
            for one in sent:
                within = [
                    event
                    for event in events.get(one.customer_id, ())
                    if one.sent_at < event.occurred_at <= one.sent_at + horizon
                ]
                if kind == REPLY:
                    found.append(_answer(one, kind, float(bool(within))))
                elif within and within[-1].value is not None:  # no rating is no outcome
                    found.append(_answer(one, kind, within[-1].value))
            labelled += self._store(found, now)

    def _store(self, found: Sequence[NewOutcome], now: datetime) -> int:
        if not found:
            return 0
        with self._database.write() as connection:
            return outcomes.store_outcomes(connection, found, now)

    def _rated_only(self, records_trouble: bool) -> bool:
        """Say whether silence is no answer: a shop without tickets or returns shows trouble in ratings only."""
        mode = self._settings.predictors.issue.labelled_by
        return mode == "rated" or (mode == "auto" and not records_trouble)


def outcome_of(goal: Goal) -> str:
    """Return the kind of outcome by which a goal is read."""
    return CHURN if goal is Goal.KEEP_CUSTOMER else ISSUE


def issue_label(draw: DueAssignment, events: Iterable[Happened], horizon: timedelta, rated_only: bool) -> float | None:
    """Return 1 for a problem within the horizon after the draw, 0 for none, None for not observed.

    What names another order of the customer's does not count.
    """
    within = [
        event
        for event in events
        if draw.drawn_at < event.occurred_at <= draw.drawn_at + horizon
        and (draw.order_id is None or event.order_id in (None, draw.order_id))
    ]
    if any(event.kind in TROUBLE_KINDS or (event.value is not None and event.value <= BAD_RATING) for event in within):
        return 1.0
    rated = any(event.kind in RATING_KINDS and event.value is not None for event in within)
    return None if rated_only and not rated else 0.0


def churn_label(draw: DueAssignment, placed: Iterable[datetime], horizon: timedelta) -> float:
    """Return 1 where the customer did not order again within the horizon after the draw, else 0."""
    return float(not any(draw.drawn_at < instant <= draw.drawn_at + horizon for instant in placed))


def _with_any_contact(draw: DueAssignment, sent: Mapping[int, Sequence[datetime]]) -> DueAssignment:
    """Let whoever was drawn for all playbooks together be contacted by any."""
    if draw.playbook != EVERYWHERE:
        return draw
    return replace(draw, sent_at=next((at for at in sent.get(draw.customer_id, ()) if at >= draw.drawn_at), None))


def _outcome(draw: DueAssignment, kind: str, value: float, horizon_days: int) -> NewOutcome:
    ends = draw.drawn_at + timedelta(days=horizon_days)
    return NewOutcome(
        kind=kind,
        subject=f"assignment:{draw.id}",
        customer_id=draw.customer_id,
        order_id=draw.order_id,
        outreach_id=draw.outreach_id,
        assignment_id=draw.id,
        prediction_id=draw.prediction_id,
        playbook=draw.playbook,
        arm=draw.arm,
        propensity=draw.propensity,
        treated=draw.sent_at is not None and draw.sent_at <= ends,
        anchor_at=draw.drawn_at,
        horizon_days=horizon_days,
        value=value,
        observed_at=ends,
    )


def _answer(sent: SentOutreach, kind: str, value: float) -> NewOutcome:
    return NewOutcome(
        kind=kind,
        subject=f"outreach:{sent.id}",
        customer_id=sent.customer_id,
        order_id=sent.order_id,
        outreach_id=sent.id,
        assignment_id=sent.assignment_id,
        prediction_id=sent.prediction_id,
        playbook=sent.playbook,
        arm=sent.arm,
        propensity=sent.propensity,
        treated=True,
        anchor_at=sent.sent_at,
        horizon_days=REPLY_DAYS,
        value=value,
        observed_at=sent.sent_at + timedelta(days=REPLY_DAYS),
    )
