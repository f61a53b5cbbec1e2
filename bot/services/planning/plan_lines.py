"""What a plan says about one customer: to people, to scripts, and to the table of refusals.

How it comes to that is `bot.services.planning.planner`'s business.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from bot.decide.playbook import EVENT
from bot.services.planning.audience import Considered
from bot.services.planning.drafting import Drafted
from bot.services.planning.ruling import Ruling
from bot.services.review.cards import ranking_of
from bot.store.enums import PlanDecision
from bot.store.planning import NewRefusal

__all__ = ["PlanLine", "line_of", "refusal_of"]


@dataclass(frozen=True, kw_only=True)
class PlanLine:
    """One line of a plan; ids are the shop's own."""

    customer_id: str
    order_id: str | None
    playbook: str
    step: str
    arm: str
    decision: PlanDecision
    reason: str | None
    until: datetime | None
    channel: str | None
    not_before: datetime | None
    probability: float | None
    band: str
    ranking: str
    gain: float | None
    outreach_id: int | None = None
    article: str | None = None
    draft: str | None = None
    trigger_at: datetime | None = None

    def line(self) -> dict[str, Any]:
        """Return the line as plain JSON values."""
        return {
            "customer_id": self.customer_id,
            "order_id": self.order_id,
            "playbook": self.playbook,
            "step": self.step,
            "arm": self.arm,
            "decision": self.decision.value,
            "reason": self.reason,
            "until": self.until,
            "channel": self.channel,
            "not_before": self.not_before,
            "probability": self.probability,
            "band": self.band,
            "ranking": self.ranking,
            "gain": self.gain,
            "outreach_id": self.outreach_id,
            "article": self.article,
            "draft": self.draft,
        }

    def stored(self, outreach_id: int) -> PlanLine:
        """Return the line with the id under which the suggestion stands."""
        return replace(self, outreach_id=outreach_id)


def line_of(one: Considered, ruling: Ruling, drafted: Drafted | None = None) -> PlanLine:
    """Put a candidate and its ruling into a line."""
    return PlanLine(
        customer_id=one.customer.external_id,
        order_id=one.order.external_id if one.order is not None else None,
        playbook=one.playbook.id,
        step=one.step.id,
        arm=one.drawn.arm,
        decision=ruling.decision,
        reason=ruling.reason,
        until=ruling.until,
        channel=one.channel,
        not_before=ruling.not_before,
        probability=None if one.forecast.kind == EVENT else round(one.forecast.probability, 4),
        band=one.forecast.band,
        ranking=ranking_of(one.forecast.gain),
        gain=None if one.forecast.gain is None else round(one.forecast.gain.probability, 4),
        article=drafted.article[0] if drafted is not None and drafted.article is not None else None,
        draft=drafted.text if drafted is not None else None,
        trigger_at=one.trigger_at,
    )


def refusal_of(one: Considered, ruling: Ruling, today: str, assignment_id: int | None = None) -> NewRefusal:
    """Put a candidate who is not contacted into a row."""
    return NewRefusal(
        customer_id=one.customer.id,
        order_id=one.order.id if one.order is not None else None,
        playbook=one.playbook.id,
        step=one.step.id,
        assignment_id=assignment_id if assignment_id is not None else one.assignment_id,
        decision=ruling.decision.value,
        reason=ruling.reason or "",
        until=ruling.until,
        local_date=today,
        dedupe_key=f"{one.customer.id}:{one.playbook.id}:{one.step.id}:{today}",
    )
