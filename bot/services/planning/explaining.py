"""Why one customer is or is not contacted: the whole chain, playbook by playbook. Writes nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from bot.decide.policy import Reason
from bot.errors import NotFound
from bot.services.planning.audience import Considered, Unmatched
from bot.services.planning.forecasting import Forecasts
from bot.services.planning.policy_words import REFUSED, rules_in_words
from bot.services.planning.ruling import Room, Ruler, Ruling
from bot.services.planning.sifting import Sifter
from bot.services.review.cards import ranking_of
from bot.store.database import Connection
from bot.store.enums import PlanDecision
from bot.store.shop import customer_by_key

__all__ = ["explain_customer"]


def explain_customer(
    connection: Connection,
    sifter: Sifter,
    ruler: Ruler,
    forecasts: Forecasts,
    customer_key: str,
    *,
    room: Room,
    now: datetime,
    today: str,
) -> list[dict[str, Any]]:
    """Say what each playbook makes of each prediction of a customer, and what each rule of the policy says about it.

    Raises
    ------
    NotFound
        There is no such customer.
    """
    customer = customer_by_key(connection, customer_key)
    if customer is None:
        raise NotFound(f"there is no customer {customer_key!r}; use the shop's own customer id")
    chain: list[dict[str, Any]] = []
    for playbook, found in sifter.explain(connection, forecasts, customer.id, now=now, today=today):
        if not found:
            chain.append({"customer_id": customer_key, "playbook": playbook, "audience": "no prediction"})
        chain.extend(_link(ruler, customer_key, one, room, now) for one in found)
    return chain


def _link(ruler: Ruler, customer_key: str, found: Considered | Unmatched, room: Room, now: datetime) -> dict[str, Any]:
    start = {
        "customer_id": customer_key,
        "playbook": found.playbook.id,
        "kind": found.forecast.kind,
        "moment": found.forecast.moment,
        "probability": round(found.forecast.probability, 4),
        "band": found.forecast.band,
    }
    if isinstance(found, Unmatched):
        return {**start, "audience": found.why}
    facts = found.facts
    ruling = (
        Ruling(decision=PlanDecision.SUGGEST, reason="proposed today already")
        if found.done
        else ruler.rule_one(found, room, None, now)
    )
    drawn = replace(facts, holdout=found.drawn.holdout)
    return {
        **start,
        "audience": "match",
        "order_id": found.order.external_id if found.order is not None else None,
        "step": found.step.id,
        "channel": found.channel,
        "zone": str(facts.zone),
        "contacts": [contact.isoformat() for contact in facts.contacts],
        "consent": facts.consent,
        "cool_down_until": facts.cool_down_until,
        "proposed_until": facts.proposed_until,
        "ranking": ranking_of(found.forecast.gain),
        "gain": None if found.forecast.gain is None else round(found.forecast.gain.probability, 4),
        "worth": round(found.worth, 4),
        "arm": found.drawn.arm,
        "decision": ruling.decision.value,
        "reason": ruling.reason,
        "until": ruling.until,
        "not_before": ruling.not_before,
        "purpose": facts.purpose.value,
        "priority": facts.priority.value,
        "why": _why(ruling),
        "rules": rules_in_words(drawn),
    }


def _why(ruling: Ruling) -> str:
    if ruling.reason is None:
        return "may be proposed"
    return REFUSED[Reason(ruling.reason)] if ruling.reason in tuple(Reason) else ruling.reason
