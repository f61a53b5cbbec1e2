"""The card: everything an agent is shown about one outreach, in words, whatever the surface.

The arm is not shown, and neither is any address. How a card is laid out is the surface's business.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from bot.decide.autonomy import AFTERCARE
from bot.decide.lifecycle import OutreachState
from bot.decide.playbook import Autonomy
from bot.decide.value import Gain
from bot.store.decisions import CardFacts
from bot.store.outreach import Outreach

__all__ = [
    "CardArticle",
    "CardReason",
    "CardView",
    "build_card",
    "customer_zone",
    "first_name",
    "plain_row",
    "ranking_of",
    "ranking_reasons",
    "status_line",
    "unasked_mark",
]

# A card gives up to three reasons: more are not read.
REASONS_SHOWN = 3
_ISSUE = {
    "issue": "a problem with this order within {days} days",
    "churn": "no further order within {days} days",
    "uplift": "helped by a check-in within {days} days",
}
RISK_RANKED, GAIN_RANKED = "risk-ranked", "gain-ranked"
# Kept with the outreach among its reasons, so that a card says later, too, how it was ranked then.
_RANKING = "ranking"
_RECIPIENT = {"slack": "direct message in Slack", "email": "email"}


@dataclass(frozen=True, kw_only=True)
class CardReason:
    """One plain sentence for why now, with its effect on the probability (0.12 = 12 points more)."""

    text: str
    effect: float | None


@dataclass(frozen=True, kw_only=True)
class CardArticle:
    """The article that the draft cites, in the version that it cites."""

    id: str
    version: int
    title: str


@dataclass(frozen=True, kw_only=True)
class CardView:
    """What one card says.

    Attributes
    ----------
    recipient_label : str
        By which way it reaches the customer; never an address.
    local_send_time : str
        When it would leave, in the customer's own time, for people.
    status_line : str
        What became of it so far, in one line; empty while nothing was decided.
    ranking : str
        By what its turn came: the risk, or what a check-in is expected to gain.
    level : Autonomy
        How far the bot may go by itself with it now.
    goes_at : datetime or None
        When it is approved unasked unless somebody stops it; None: never.
    """

    outreach: Outreach
    customer_key: str
    customer_first_name: str
    order_key: str | None
    reasons: Sequence[CardReason]
    predicted_issue: str
    probability: float | None
    band: str
    draft: str
    article: CardArticle | None
    channel: str
    recipient_label: str
    local_send_time: str
    expires_at: datetime
    status_line: str
    ranking: str = RISK_RANKED
    level: Autonomy = Autonomy.APPROVE
    goes_at: datetime | None = None

    @property
    def unasked_mark(self) -> str:
        """What tells a picture of it from one with another time; empty where it does not go out by itself."""
        return unasked_mark(self.goes_at)


def unasked_mark(goes_at: datetime | None) -> str:
    """Return what stands behind the version and state of a card that says when it goes out by itself."""
    return "" if goes_at is None else f":auto@{goes_at:%Y-%m-%dT%H:%M:%S}"


def build_card(
    outreach: Outreach,
    facts: CardFacts,
    shop_zone: ZoneInfo,
    level: Autonomy = Autonomy.APPROVE,
    goes_at: datetime | None = None,
) -> CardView:
    """Put an outreach and what stands around it into words."""
    article = None
    if facts.article_id is not None and facts.article_version is not None:
        article = CardArticle(
            id=facts.article_id, version=facts.article_version, title=facts.article_title or facts.article_id
        )
    kind = _ISSUE.get(facts.prediction_kind or "", "")
    zone = customer_zone(facts.customer_timezone, shop_zone)
    return CardView(
        outreach=outreach,
        customer_key=facts.customer_key,
        customer_first_name=first_name(facts.customer_name),
        order_key=facts.order_key,
        reasons=tuple(
            CardReason(text=str(reason["text"]), effect=reason.get("effect"))
            for reason in [one for one in outreach.reasons if one.get("feature") != _RANKING][:REASONS_SHOWN]
        ),
        predicted_issue=kind.format(days=facts.horizon_days),
        probability=outreach.probability,
        band=outreach.band,
        draft=outreach.draft,
        article=article,
        channel=outreach.channel,
        recipient_label=_RECIPIENT.get(outreach.channel, outreach.channel),
        local_send_time=_local(outreach.not_before, zone),
        expires_at=outreach.expires_at,
        status_line=status_line(outreach, shop_zone),
        ranking=next((str(one["text"]) for one in outreach.reasons if one.get("feature") == _RANKING), RISK_RANKED),
        level=level,
        goes_at=goes_at,
    )


def ranking_of(gain: Gain | None) -> str:
    """Say by what somebody's turn comes, in a word."""
    return RISK_RANKED if gain is None else GAIN_RANKED


def ranking_reasons(gain: Gain | None) -> list[dict[str, Any]]:
    """Return, as a reason, what a check-in is expected to gain; none where it was ranked by risk."""
    if gain is None:
        return []
    points = round(gain.probability * 100)
    said = f"{GAIN_RANKED}: a check-in is expected to make a good end {abs(points)} points {'more' if points >= 0 else 'less'} probable"
    return [{"feature": _RANKING, "text": said, "effect": None}]


def plain_row(outreach: Outreach, facts: CardFacts, deliveries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return an outreach as plain values for scripts (`outreach list --json`); here the arm is named."""
    return {
        "id": outreach.id,
        "version": outreach.version,
        "state": outreach.state.value,
        "customer_id": facts.customer_key,
        "order_id": facts.order_key,
        "playbook": outreach.playbook,
        "step": outreach.step,
        "channel": outreach.channel,
        "arm": facts.arm,
        "draft": outreach.draft,
        "not_before": outreach.not_before,
        "expires_at": outreach.expires_at,
        "refusal": outreach.refusal,
        "deliveries": [dict(one) for one in deliveries],
        "subject": outreach.subject,
        "locale": outreach.locale,
        "probability": outreach.probability,
        "band": outreach.band,
        "urgent": outreach.urgent,
        "reasons": [dict(reason) for reason in outreach.reasons],
        "article": facts.article_id,
        "article_version": facts.article_version,
        "decided_by": outreach.decided_by,
        "decided_at": outreach.decided_at,
        "snoozed_until": outreach.snoozed_until,
        "sent_at": outreach.sent_at,
        "attempts": outreach.attempts,
        "autonomy": outreach.autonomy.value,
        "pattern": outreach.pattern_id,
    }


def first_name(name: str | None) -> str:
    """Return the name to address somebody by; empty where none is known."""
    words = (name or "").split()
    return words[0] if words else ""


def customer_zone(name: str | None, shop_zone: ZoneInfo) -> ZoneInfo:
    """Return the customer's own zone; the shop's where theirs is unknown or no IANA name."""
    if not name:
        return shop_zone
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return shop_zone


def status_line(outreach: Outreach, zone: ZoneInfo) -> str:
    """Say in one line what became of an outreach: who, what, when."""
    state = OutreachState
    who = _who(outreach.decided_by)
    at = _local(outreach.decided_at, zone) if outreach.decided_at else ""
    due = _local(outreach.not_before, zone)
    match outreach.state:
        case state.SUGGESTED:
            claimed = outreach.claimed_by and outreach.claimed_until
            return f"Claimed by {outreach.claimed_by} until {_local(outreach.claimed_until, zone)}" if claimed else ""
        case state.APPROVED:
            return f"Approved by {who}, {at}; leaves {due}"
        case state.REJECTED:
            return f"Rejected by {who}, {at}"
        case state.SNOOZED:
            return f"Snoozed by {who} until {_local(outreach.snoozed_until, zone)}"
        case state.DEFERRED:
            return f"Deferred ({outreach.refusal or 'policy'}) until {due}"
        case state.SENDING:
            return f"Approved by {who}; leaving now"
        case state.SENT:
            return f"Sent {_local(outreach.sent_at, zone)}, approved by {who}"
        case state.REPLIED:
            return f"Sent {_local(outreach.sent_at, zone)}, approved by {who}; the customer replied"
        case state.FAILED:
            return f"Failed after {outreach.attempts} attempts; approved by {who}"
        case state.UNCERTAIN:
            return "Uncertain: it may or may not have arrived; look in the channel before you retry"
        case state.EXPIRED:
            return f"Expired {_local(outreach.expires_at, zone)}"
        case state.SUPPRESSED:
            return f"Not sent: {outreach.refusal or 'the customer must not be contacted'}"
        case state.CANCELLED:
            return f"Cancelled: {outreach.refusal or 'its reason went away'}"
        case state.CLOSED:
            return "Closed" if outreach.sent_at is not None or not at else f"Closed unsent by {who}, {at}"


def _who(actor: str | None) -> str:
    return "Aftercare, unasked" if actor == AFTERCARE else actor or "an agent"


def _local(instant: datetime | None, zone: ZoneInfo) -> str:
    return f"{instant.astimezone(zone):%a %d %b %H:%M} ({zone.key})" if instant else ""
