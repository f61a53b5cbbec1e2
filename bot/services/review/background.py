"""What stands behind one card, for whoever asks why: how sure the prediction is, what happened, what the policy says.

The card itself is `cards`; how this is laid out is the surface's business. Neither the arm nor any address is in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from bot.clock import Clock
from bot.config import Settings
from bot.decide import policy
from bot.decide.playbook import Band
from bot.services.delivery.departure import ask_policy
from bot.services.planning.policy_words import REFUSED
from bot.services.review.desk import CardView
from bot.store.database import Connection, Database
from bot.store.decisions import Forecast, forecast_behind
from bot.store.enums import PlanDecision
from bot.store.planning import refusals_of
from bot.store.shop import customer, touchpoints_of

__all__ = ["Background", "Happened", "Ruled", "background_of"]

# The latest of what happened and of what the policy ruled; more is not read.
HAPPENED, RULED = 12, 5
RULED_WITHIN = timedelta(days=60)
_SAID = {reason.value: words for reason, words in REFUSED.items()}


@dataclass(frozen=True, kw_only=True)
class Happened:
    """One touchpoint: what, when, about this order or not. `words` are the customer's own."""

    at: datetime
    kind: str
    this_order: bool
    value: float | None
    words: str


@dataclass(frozen=True, kw_only=True)
class Ruled:
    """What the policy said about contacting this customer, and when; `words` say why."""

    at: datetime
    playbook: str
    deferred: bool
    words: str
    until: datetime | None


@dataclass(frozen=True, kw_only=True)
class Background:
    """Why a card is there.

    Attributes
    ----------
    at : datetime
        When it was read.
    fragility : str
        How much the prediction hangs on small things, for people; empty where that is not known.
    clears : (str, float) or None
        The one fact that, were it typical, would clear the flag, and the probability that would be left.
    happened : sequence of Happened
        The latest, oldest first; `earlier` more were before.
    allowed : str
        What the policy says now; empty: nothing stands against it.
    """

    at: datetime
    forecast: Forecast | None
    fragility: str
    clears: tuple[str, float] | None
    happened: Sequence[Happened]
    earlier: int
    allowed: str
    until: datetime | None
    ruled: Sequence[Ruled]


def background_of(database: Database, clock: Clock, settings: Settings, view: CardView) -> Background:
    """Read what stands behind a card."""
    now, present = clock.now(), view.outreach
    with database.read() as connection:
        forecast = None if present.prediction_id is None else forecast_behind(connection, present.prediction_id)
        points = touchpoints_of(connection, present.customer_id, now)
        allowed, until = _asked(connection, settings, view, now)
        ruled = _ruled(connection, present.customer_id, now)
    return Background(
        at=now,
        forecast=forecast,
        fragility=_fragility(forecast),
        clears=None if forecast is None else _clears(forecast, settings),
        happened=[
            Happened(
                at=one.occurred_at,
                kind=one.kind,
                this_order=one.order_id is not None and one.order_id == present.order_id,
                value=one.value,
                words=one.text or "",
            )
            for one in points[-HAPPENED:]
        ],
        earlier=max(0, len(points) - HAPPENED),
        allowed=allowed,
        until=until,
        ruled=ruled,
    )


def _fragility(forecast: Forecast | None) -> str:
    found: Any = forecast.fragility if forecast is not None else None
    return str(found.get("text") or "") if isinstance(found, dict) else ""


def _clears(forecast: Forecast, settings: Settings) -> tuple[str, float] | None:
    """Return the strongest fact if its typical value would bring the probability below the band's threshold.

    As `predictors.explain.clearing` says it when scoring: reasons are kept strongest first, and an effect is what the
    probability would lose.
    """
    bands = settings.predictors.bands
    threshold = {Band.MEDIUM: bands.medium, Band.HIGH: bands.high}.get(Band(forecast.band)) if forecast.band else None
    first = next(iter(forecast.reasons or ()), None)
    if threshold is None or forecast.kind == "uplift" or first is None or first.get("effect") is None:
        return None
    left = forecast.probability - float(first["effect"])
    return (str(first["text"]), max(0.0, left)) if left < threshold else None


def _asked(connection: Connection, settings: Settings, view: CardView, now: datetime) -> tuple[str, datetime | None]:
    person = customer(connection, view.outreach.customer_id)
    if person is None:
        return "this customer is not known any more", None
    (verdict,) = ask_policy(settings, connection, [(view.outreach, person)], now)
    if isinstance(verdict, policy.Allowed):
        return "", None
    return REFUSED.get(verdict.reason, verdict.reason.value), verdict.until


def _ruled(connection: Connection, customer_id: int, now: datetime) -> list[Ruled]:
    found = refusals_of(connection, customer_id, limit=RULED + 20)
    return [
        Ruled(
            at=one.recorded_at,
            playbook=one.playbook,
            deferred=one.decision == PlanDecision.DEFER.value,
            words=_SAID.get(one.reason, one.reason),
            until=one.until,
        )
        for one in found
        # Who was drawn into the holdout is nobody's business but the experiment's: the arm is not shown.
        if one.reason != policy.Reason.HOLDOUT.value and one.recorded_at >= now - RULED_WITHIN
    ][:RULED]
