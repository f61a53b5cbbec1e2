"""What a mail system reports about a mail of ours: it came back, it is late, or its recipient called it spam.

Anybody can write a report. It counts only where it proves that it is about a mail that we really sent, by that mail's
token or Message-ID, and only for the address that this mail went to; otherwise a forged report could end contact with
any customer.
"""

from __future__ import annotations

import re
from datetime import datetime

import structlog

from bot.decide.lifecycle import OutreachState
from bot.services.conversation.conversations import HandoffReason
from bot.services.mail.effects import CHANNEL, RETURNED, Done, Effect
from bot.services.mail.inbound import InboundMail
from bot.services.mail.matching import Match, Matcher
from bot.store import audit, conversations, handoffs
from bot.store.answers import settle_answer
from bot.store.consent import address_hash, suppress
from bot.store.database import Connection
from bot.store.delivery import settle
from bot.store.enums import ConversationState, DeliveryState, HandoffState
from bot.store.letters import Letter, mark_bounced, soft_bounces_in_a_row
from bot.store.optout import end_contact
from bot.store.outreach import change_state, list_outreach, outreach
from bot.store.shop import customer

__all__ = ["Reports"]

log = structlog.get_logger(__name__)
_S = OutreachState
# So many mails in a row that came back for now end mail to an address.
SOFT_BOUNCES = 3
# So often a state is read and changed again where somebody else was faster.
TRIES = 3
# Refused for good, yet not for the address's sake (RFC 3463): full or too large (5.2.2, 5.2.3), the system, the content,
# the policy. The next mail may well arrive.
_NOT_THE_ADDRESS = re.compile(r"5\.(?:2\.[23]|[367]\.[0-9]{1,3})\Z")
_NO_FAILURE = frozenset({"delayed", "delivered", "relayed", "expanded"})
_OPEN = (_S.SUGGESTED, _S.SNOOZED, _S.DEFERRED, _S.APPROVED)


class Reports:
    """Acts on bounces and complaints, inside the caller's transaction."""

    def __init__(self, matcher: Matcher) -> None:
        self._matcher = matcher

    def bounce(self, connection: Connection, mail: InboundMail, now: datetime) -> Done:
        """Act on a report about a delivery."""
        match = self._proven(connection, mail)
        if match is None:
            return Done(effect=Effect.UNPROVEN)
        one, address = match.letter, match.letter.address
        assert address is not None
        if mail.action in _NO_FAILURE:
            return _done(one, Effect.DELAYED)
        # A report about an earlier attempt says nothing about the present one, but as much about the address.
        if mail.original_key in (None, one.key):
            _fail(connection, one, f"the mail came back: {mail.recipient_status or 'no status given'}", now)
        if mail.permanent and not _NOT_THE_ADDRESS.match(mail.recipient_status or ""):
            self._end(connection, one, address, "hard_bounce", now)
            return _done(one, Effect.DEAD_ADDRESS)
        if soft_bounces_in_a_row(connection, one, RETURNED) >= SOFT_BOUNCES:
            self._end(connection, one, address, "soft_bounces", now)
            return _done(one, Effect.RETURNED_OFTEN)
        return _done(one, Effect.RETURNED)

    def complaint(self, connection: Connection, mail: InboundMail, evidence: str, now: datetime) -> Done:
        """Act on a recipient's complaint: no mail ever again, nothing open is left."""
        match = self._proven(connection, mail)
        if match is None:
            return Done(effect=Effect.UNPROVEN)
        one, address = match.letter, match.letter.address
        assert address is not None
        self._end(connection, one, address, "complaint", now)
        person = customer(connection, one.customer_id) if one.customer_id is not None else None
        if person is not None:
            end_contact(connection, person, CHANNEL, origin="complaint", evidence=evidence, now=now)
            # Whoever calls one check-in spam is not sent the next by another way either.
            for other in list_outreach(connection, _OPEN, customer_id=person.id):
                change_state(connection, other.id, other.version, [other.state], _S.CANCELLED, now, refusal="complaint")
        return _done(one, Effect.COMPLAINED)

    def _proven(self, connection: Connection, mail: InboundMail) -> Match | None:
        """Return the mail of ours that a report is about, if it is proven and went to whom the report names."""
        match = self._matcher.match(connection, mail)
        if match is None or match.letter.address is None:
            return None
        # A report that names nobody is about whoever we wrote to; one about somebody else is about a mail that was passed on.
        return match if mail.recipient is None or match.letter.went_to(mail.recipient) else None

    @staticmethod
    def _end(connection: Connection, one: Letter, address: str, reason: str, now: datetime) -> None:
        if not suppress(connection, CHANNEL, address, reason, now):
            return
        if one.customer_id is not None:
            audit.record(
                connection,
                at=now,
                actor="system",
                action="address.suppressed",
                entity="customer",
                entity_id=one.customer_id,
                detail={"channel": CHANNEL, "reason": reason, "about": one.subject},
            )


def _done(one: Letter, effect: Effect) -> Done:
    return Done(
        effect=effect,
        customer_id=one.customer_id,
        outreach_id=one.outreach_id,
        about=one.subject,
        address_hash=address_hash(CHANNEL, one.address or ""),
    )


def _fail(connection: Connection, one: Letter, reason: str, now: datetime) -> None:
    """Write down that a mail did not arrive; a report also proves that one in doubt had been taken."""
    if one.state is None:
        _fail_answer(connection, one, reason, now)
        return
    assert one.outreach_id is not None
    for _ in range(TRIES):  # the sending process may be writing down its own end at this moment
        present = outreach(connection, one.outreach_id)
        if present.state in (_S.SENDING, _S.UNCERTAIN):
            moved = settle(connection, present.id, one.attempts, _S.FAILED, now, reason=reason)
        elif present.state is _S.SENT:
            moved = change_state(connection, present.id, present.version, [_S.SENT], _S.FAILED, now, refusal=reason)
        else:
            return
        if moved:
            mark_bounced(connection, one, reason)
            audit.record(
                connection,
                at=now,
                actor="system",
                action="outreach.failed",
                entity="outreach",
                entity_id=present.id,
                detail={"by": "bounce"},
            )
            return


def _fail_answer(connection: Connection, one: Letter, reason: str, now: datetime) -> None:
    """Give a conversation to a human whose last words never arrived."""
    settle_answer(connection, one.key, DeliveryState.FAILED, now, error=reason)
    mark_bounced(connection, one, reason)
    assert one.conversation_id is not None
    conversations.conversation(connection, one.conversation_id, lock=True)
    active = handoffs.active_handoff(connection, one.conversation_id)
    if active is not None:
        handoffs.move_handoff(connection, active.id, HandoffState.CLOSED, closed_at=now)
    handoffs.open_handoff(connection, one.conversation_id, HandoffReason.NOT_DELIVERED.value, True, now)
    conversations.change_conversation(connection, one.conversation_id, now, state=ConversationState.HUMAN.value)
