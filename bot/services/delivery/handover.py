"""Handing one message to a channel, and what its answer means for the next step.

The only place where a channel's errors become outcomes. Recording them is `bot.services.delivery.deliverer`'s and
`bot.services.delivery.answering`'s business.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog

from bot.channels.base import Channel, ChannelShutError, DeadAddressError, Evidence, Message
from bot.decide import backoff
from bot.errors import PermanentChannelError, TransientChannelError, UncertainChannelError
from bot.settings import Delivery
from bot.store.enums import DeliveryState
from messages.errors import TemplateError

__all__ = ["Outcome", "as_stored", "hand_over", "outcome_of", "rendered"]

log = structlog.get_logger()
# No provider asks for longer in earnest, and nobody would notice why a channel is silent.
LONGEST_PAUSE_SECONDS = 86_400.0
# How often a channel that refuses us altogether is tried again: it is mended by people.
SHUT = timedelta(minutes=15)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How one attempt ended.

    Attributes
    ----------
    reason : str or None
        Why it is not sent; codes and sentences of ours, never an address or words of the message.
    retry_at : datetime or None
        With `RETRY`, when it may be tried again.
    dead_address : bool
        Nothing more may be sent to this address.
    pause : timedelta or None
        The channel asked that nothing be sent at all for so long.
    """

    state: DeliveryState
    evidence: Mapping[str, Any] | None = None
    reason: str | None = None
    retry_at: datetime | None = None
    dead_address: bool = False
    pause: timedelta | None = None


def hand_over(
    channel: Channel, render: Callable[[], Message], *, key: str, attempt: int, now: datetime, rules: Delivery
) -> Outcome:
    """Put one message together and send it; whatever happens becomes an outcome.

    Parameters
    ----------
    attempt : int
        1 for the first; decides on the wait, and on giving up.
    """
    message = rendered(render, key)
    if isinstance(message, Outcome):
        return message
    result: Evidence | Exception
    try:
        result = channel.send(message)
    except Exception as error:
        result = error
    return outcome_of(result, key=key, attempt=attempt, now=now, rules=rules)


def rendered(render: Callable[[], Message], key: str) -> Message | Outcome:
    """Put one message together; where that fails, the attempt has."""
    try:
        return render()
    except TemplateError as error:
        return Outcome(state=DeliveryState.FAILED, reason=f"the message could not be rendered: {error}")
    except Exception as error:  # a bug in the rendering: nothing has left, and the other messages shall
        log.exception("rendering_broke", key=key)
        return Outcome(state=DeliveryState.FAILED, reason=f"the rendering broke: {type(error).__name__}")


def outcome_of(result: Evidence | Exception, *, key: str, attempt: int, now: datetime, rules: Delivery) -> Outcome:
    """Return what it means that a channel returned or raised this."""
    match result:
        case Evidence():
            return Outcome(state=DeliveryState.SENT, evidence=as_stored(result))
        case DeadAddressError():
            return Outcome(state=DeliveryState.FAILED, reason=str(result), dead_address=True)
        case PermanentChannelError():
            return Outcome(state=DeliveryState.FAILED, reason=str(result))
        case ChannelShutError():  # no fault of the message, which is never given up for it
            return Outcome(state=DeliveryState.RETRY, reason=str(result), retry_at=now + SHUT, pause=SHUT)
        case TransientChannelError():
            if backoff.exhausted(attempt, rules.max_attempts):
                return Outcome(state=DeliveryState.FAILED, reason=f"given up after {attempt} attempts: {result}")
            asked = _asked(result.retry_after)
            wait = backoff.delay(key, attempt, timedelta(seconds=rules.backoff_seconds), asked)
            return Outcome(state=DeliveryState.RETRY, reason=str(result), retry_at=now + wait, pause=asked)
        case UncertainChannelError():
            return Outcome(state=DeliveryState.UNCERTAIN, reason=str(result))
        case _:  # a bug in a channel says nothing about whether the message left
            log.error("channel_broke", key=key, exc_info=result)
            return Outcome(state=DeliveryState.UNCERTAIN, reason=f"the channel broke: {type(result).__name__}")


def _asked(seconds: float | None) -> timedelta | None:
    """Return how long a channel asked us to wait, a day at most; it came over the network, and may be anything."""
    if seconds is None or not 0 <= seconds < float("inf"):  # what is no number is never between
        return None
    return timedelta(seconds=min(seconds, LONGEST_PAUSE_SECONDS))


def as_stored(evidence: Evidence) -> dict[str, Any]:
    """Return evidence as it is kept in the database."""
    return {"reference": evidence.reference, "thread": evidence.thread, "detail": dict(evidence.detail)}
