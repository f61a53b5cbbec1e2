"""Asking the channels what became of messages in doubt: a found one was sent, an absent one may go again.

What is in doubt was declared so by `bot.services.delivery.deliverer`; answers in conversations are `bot.services.delivery.answering`'s
business. Where a channel cannot tell, a bounce, a reply or a human may.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

import structlog

from bot.channels.base import Channel, Evidence, Knowledge, Message
from bot.decide.lifecycle import OutreachState
from bot.errors import ChannelError
from bot.services.delivery.departure import Departure
from bot.services.delivery.handover import as_stored
from bot.store import audit, delivery
from bot.store.claiming import Claimed
from bot.store.database import Database
from bot.store.shop import customers_by_id
from messages.errors import TemplateError

__all__ = ["SETTLES_AFTER", "Asking", "Reconciler"]

log = structlog.get_logger()
_S = OutreachState
# A message handed to a connection that broke may still be under way to the channel's own store; before this much
# time has passed, not finding it there proves nothing.
SETTLES_AFTER = timedelta(seconds=30)
# A channel that could not tell is asked again about the same message after this.
ASK_AGAIN = timedelta(minutes=10)


class Asking:
    """Asks channels, each about one message not too often, and survives what they raise."""

    def __init__(self, channels: Mapping[str, Channel]) -> None:
        self._channels = channels
        self._unknown: dict[str, datetime] = {}

    def due(self, key: str, channel: str, now: datetime) -> bool:
        """Say whether the channel is there, and was not asked about this message lately."""
        return channel in self._channels and self._unknown.get(key, now) <= now

    def find(self, channel: str, message: Message, now: datetime) -> Evidence | Knowledge | None:
        """Ask; None where no answer was to be had."""
        try:
            known = self._channels[channel].find(message)
        except ChannelError as error:
            log.info("reconcile_postponed", key=message.key, error=type(error).__name__)
            return None
        except Exception:  # a bug in a channel: the other messages are asked about all the same
            log.exception("reconcile_broke", key=message.key)
            self._unknown[message.key] = now + ASK_AGAIN
            return None
        if known == Knowledge.UNKNOWN:
            self._unknown[message.key] = now + ASK_AGAIN
        return known


class Reconciler:
    """Settles outreaches in doubt by what the channels know."""

    def __init__(self, database: Database, departure: Departure, asking: Asking) -> None:
        self._database = database
        self._departure = departure
        self._asking = asking

    def run(self, now: datetime) -> int:
        """Ask about all that has been in doubt for a while; return how many are settled."""
        with self._database.read() as connection:
            doubtful = [
                one
                for one in delivery.in_doubt(connection, _S.UNCERTAIN)
                if one.updated_at <= now - SETTLES_AFTER
                and self._asking.due(_key(one.id, one.attempts), one.channel, now)
            ]
            people = customers_by_id(connection, {one.customer_id for one in doubtful})
        settled = 0
        for one in doubtful:
            key = _key(one.id, one.attempts)
            claimed = Claimed(outreach=one, customer=people[one.customer_id], attempt=one.attempts, key=key)
            try:
                message = self._departure.outreach_message(claimed)
            except TemplateError as error:
                log.info("reconcile_postponed", key=key, error=type(error).__name__)
                continue
            known = self._asking.find(one.channel, message, now)
            if known is not None and known != Knowledge.UNKNOWN:
                settled += self._settle(claimed, known, now)
        return settled

    def _settle(self, claimed: Claimed, known: Evidence | Knowledge, now: datetime) -> bool:
        one = claimed.outreach
        with self._database.write() as connection:
            if isinstance(known, Evidence):
                done = delivery.settle(connection, one.id, one.attempts, _S.SENT, now, evidence=as_stored(known))
            else:
                done = delivery.settle(connection, one.id, one.attempts, _S.APPROVED, now, reason="it had not arrived")
            if done:
                audit.record(
                    connection,
                    at=now,
                    actor="system",
                    action="outreach.reconciled",
                    entity="outreach",
                    entity_id=str(one.id),
                )
        log.info("outreach_reconciled", outreach=one.id, found=isinstance(known, Evidence))
        return done


def _key(outreach_id: int, attempt: int) -> str:
    return f"outreach:{outreach_id}:{attempt}"
