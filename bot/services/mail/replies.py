"""What a person's mail does: to which conversation it belongs, who vouches for its sender, and who answers it.

A sender is believed to be the customer only where the mail carries our signed token and comes from the very address that
we wrote to: then order data may be spoken of. What comes from another address was passed on, and goes to a human. What
the words deserve is `bot.services.conversation.conversations`'s business.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum

from bot.config import Settings
from bot.decide.lifecycle import OutreachState
from bot.decide.playbook_reading import CHANNELS
from bot.services.conversation.conversations import ConversationDecision, Inbound, record_inbound
from bot.services.conversation.dialogue import Reason
from bot.services.mail.effects import CHANNEL, Done, Effect, ToAnswer
from bot.services.mail.inbound import InboundMail, MailKind
from bot.services.mail.matching import Match, Matcher, Proof
from bot.services.review.wording import Wording
from bot.store import audit, handoffs
from bot.store import conversations as store
from bot.store.answers import settle_answer
from bot.store.consent import suppress
from bot.store.conversations import Conversation
from bot.store.database import Connection
from bot.store.delivery import settle
from bot.store.enums import Author, ConversationState, DeliveryState
from bot.store.letters import automatic_answers, conversation_in, customers_at, reference_of
from bot.store.mails import MAX_OCTETS, StoredMail
from bot.store.optout import end_contact
from bot.store.outreach import change_state, outreach
from bot.store.shop import add_touchpoint, customer
from messages.answers import KnownIntent, speaks_of_danger
from messages.contact_reach import ends_every_channel
from messages.contact_wish import says_more_than_a_request

__all__ = ["MailReason", "Replies"]

_S = OutreachState
# So many answers the bot writes by itself to one address within a day; then a human takes over. Two machines that
# hide what they are would otherwise write to each other for ever.
AUTOMATIC_A_DAY = 10
DAY = timedelta(days=1)
# A sender's clock is believed so far.
CLOCK_SKEW = timedelta(days=5)


class MailReason(StrEnum):
    """Why a human is asked, where it is the way of a mail and not its words; shown in the review channel."""

    OTHER_ADDRESS = "written_from_another_address"  # with our token: the mail was passed on
    TOO_MANY = "too_many_automatic_answers_in_a_day"  # perhaps another machine
    TOO_LARGE = "more_than_a_megabyte"  # only its beginning was read; the whole is in the mailbox


class Replies:
    """Acts on replies and opt-outs, inside the caller's transaction."""

    def __init__(self, settings: Settings, matcher: Matcher, wording: Wording) -> None:
        self._settings = settings
        self._matcher = matcher
        self._wording = wording

    def take_in(self, connection: Connection, stored: StoredMail, mail: InboundMail, now: datetime) -> Done | ToAnswer:
        """Find a mail's conversation and say what comes next; everything here may be done again after a crash."""
        match = self._matcher.match(connection, mail)
        if match is not None and match.letter.address is None:
            match = None  # the customer was erased
        from_there = match is not None and match.letter.went_to(mail.sender)
        if match is not None and not from_there and match.letter.customer_id is None:
            match = None  # in a conversation with somebody unknown, answers would now go to somebody else
        senders = customers_at(connection, mail.sender) if mail.sender else []
        if mail.opt_out:
            return self._opt_out(connection, stored, mail, match, senders, now)
        if mail.kind is not MailKind.REPLY:
            return Done(effect=Effect.SILENT, about=match.letter.subject if match is not None else None)
        if match is None and (not senders or mail.sender is None):
            return Done(effect=Effect.STRANGER)
        if match is not None and from_there:
            self._prove(connection, match, now)
        thread = self._conversation(connection, stored, mail, match, now)
        inbound = self._inbound(connection, stored, mail, match, thread, self._vouched_for(match, mail, senders))
        customer_id = match.letter.customer_id if match is not None else senders[0]
        done = Done(
            effect=Effect.ANSWERED,
            customer_id=customer_id,
            outreach_id=match.letter.outreach_id if match is not None else None,
            about=match.letter.subject if match is not None else None,
        )
        if store.inbound_of(connection, CHANNEL, inbound.external_id) is not None:
            return ToAnswer(inbound=inbound, done=done)  # a crash came between; what was recorded is decided
        if match is not None and not from_there:
            self._hand_over(connection, thread, inbound, MailReason.OTHER_ADDRESS, now)
        elif stored.octets > MAX_OCTETS:
            if match is not None:
                _mark_replied(connection, match, now)
            self._hand_over(connection, thread, inbound, MailReason.TOO_LARGE, now)
        elif automatic_answers(connection, inbound.sender, now - DAY) >= AUTOMATIC_A_DAY:
            self._hand_over(connection, thread, inbound, MailReason.TOO_MANY, now)
        else:
            if match is not None and inbound.customer_id is None:
                _mark_replied(connection, match, now)  # of a customer who is vouched for, the dialogue does it
            return ToAnswer(inbound=inbound, done=done)
        return Done(effect=Effect.HANDED_OVER, customer_id=customer_id, outreach_id=done.outreach_id, about=done.about)

    def _opt_out(
        self,
        connection: Connection,
        stored: StoredMail,
        mail: InboundMail,
        match: Match | None,
        senders: list[int],
        now: datetime,
    ) -> Done:
        """End contact with whoever asks: by our token, or by From alone, since silence by mistake is the lesser harm."""
        meant = [match.letter.customer_id] if match is not None and match.letter.customer_id is not None else []
        people = [person for one in dict.fromkeys((*meant, *senders)) if (person := customer(connection, one))]
        if not people:
            if mail.sender is None:
                return Done(effect=Effect.STRANGER)  # nobody to leave alone
            # Nobody whom we know: the address is left alone from now on, and not written to either.
            new = suppress(connection, CHANNEL, mail.sender, "opt_out", now)
            return Done(effect=Effect.OPTED_OUT if new else Effect.ALREADY_OUT)
        origin = "email_reply" if mail.text.strip() or mail.kind is not MailKind.REPLY else "email_mailto"
        evidence = f"{CHANNEL}:{stored.key}"
        # A button and a bare word are about mails; who wants no more messages means each way.
        channels = CHANNELS if ends_every_channel(mail.text[:4_000]) else (CHANNEL,)
        ended = [
            end_contact(connection, one, channel, origin=origin, evidence=evidence, now=now)
            for one in people
            for channel in channels
        ]
        from_there = match is not None and match.letter.went_to(mail.sender)
        done = Done(
            effect=Effect.OPTED_OUT if any(ended) else Effect.ALREADY_OUT,
            customer_id=people[0].id,
            outreach_id=match.letter.outreach_id if match is not None else None,
            about=match.letter.subject if match is not None else None,
        )
        if mail.kind is not MailKind.REPLY:
            return done  # a machine asked on somebody's behalf: it is not answered
        if match is not None and from_there:
            self._prove(connection, match, now)
            _mark_replied(connection, match, now)
        thread = self._conversation(connection, stored, mail, match, now)
        inbound = self._inbound(connection, stored, mail, match, thread, self._vouched_for(match, mail, senders))
        utterance_id = _add(connection, thread, inbound, ConversationDecision.OPT_OUT, KnownIntent.OPT_OUT, now)
        if utterance_id is None:
            return done
        add_touchpoint(
            connection,
            source="aftercare",
            external_id=f"reply:{utterance_id}",
            customer_id=people[0].id,
            order_id=None,
            kind="reply",
            occurred_at=inbound.occurred_at,
            recorded_at=now,
            channel=CHANNEL,
        )
        human = thread.state is ConversationState.HUMAN
        if any(ended) and not human:
            self._confirm(connection, thread, utterance_id, mail, people[0].locale, now)
        danger = speaks_of_danger(inbound.text)
        if not human and (danger or says_more_than_a_request(inbound.text)):
            reason = Reason.SAFETY if danger else Reason.MORE
            handoffs.open_handoff(connection, thread.id, reason.value, danger, now)
            store.change_conversation(connection, thread.id, now, state=ConversationState.HUMAN.value)
        return done

    def _confirm(
        self,
        connection: Connection,
        thread: Conversation,
        utterance_id: int,
        mail: InboundMail,
        locale: str | None,
        now: datetime,
    ) -> None:
        spoken = mail.language or locale
        said = ["opt_out_confirmed"]
        if store.last_of_bot(connection, thread.id) is None:
            said.append("bot_disclosure")
        words = [self._wording.say(one, question=mail.text, locale=spoken, channel=CHANNEL) for one in said]
        store.add_outbound(
            connection,
            thread.id,
            external_id=f"bot:{utterance_id}",
            author=Author.BOT,
            author_id=None,
            text="\n\n".join(words),
            now=now,
            intent=KnownIntent.OPT_OUT.value,
            decision=ConversationDecision.OPT_OUT.value,
            confidence=1.0,
        )

    @staticmethod
    def _prove(connection: Connection, match: Match, now: datetime) -> None:
        """Let a reply prove that a mail in doubt had left."""
        one = match.letter
        evidence = {"by": "reply", "reference": match.message_id, "thread": one.thread or match.message_id}
        if one.state is None:
            settle_answer(connection, one.key, DeliveryState.SENT, now, evidence=evidence)
        elif one.outreach_id is not None and settle(
            connection, one.outreach_id, one.attempts, _S.SENT, now, evidence=evidence
        ):
            audit.record(
                connection,
                at=now,
                actor="system",
                action="outreach.reconciled",
                entity="outreach",
                entity_id=one.outreach_id,
                detail={"by": "reply"},
            )

    @staticmethod
    def _conversation(
        connection: Connection, stored: StoredMail, mail: InboundMail, match: Match | None, now: datetime
    ) -> Conversation:
        """Return the conversation, named by its first Message-ID, so that mail programs keep it together."""
        if match is None:
            known = conversation_in(connection, mail.references, mail.sender or "")
            name = known or _name(connection, stored, mail)
            return store.open_conversation(connection, CHANNEL, name, None, now)
        one = match.letter
        thread = store.open_conversation(connection, CHANNEL, one.thread or match.message_id, one.customer_id, now)
        if thread.outreach_id is None and one.outreach_id is not None:
            store.change_conversation(connection, thread.id, now, outreach_id=one.outreach_id)
        return thread

    @staticmethod
    def _vouched_for(match: Match | None, mail: InboundMail, senders: list[int]) -> int | None:
        """Return the customer who certainly wrote: our token came back, from the very address that we wrote to."""
        if match is None or match.proof is not Proof.TOKEN or not match.letter.went_to(mail.sender):
            return None
        # Who answers our mail to an address reads that address's mail: its one customer, though the thread was begun
        # by somebody who only claimed to be.
        return match.letter.customer_id or (senders[0] if len(senders) == 1 else None)

    def _inbound(
        self,
        connection: Connection,
        stored: StoredMail,
        mail: InboundMail,
        match: Match | None,
        thread: Conversation,
        vouched: int | None,
    ) -> Inbound:
        soon = stored.received_at - CLOCK_SKEW
        claimed = mail.sent_at if mail.sent_at is not None and soon <= mail.sent_at <= stored.received_at else None
        return Inbound(
            source=CHANNEL,
            external_id=_name(connection, stored, mail),
            channel=CHANNEL,
            thread=thread.thread,
            customer_id=vouched,
            sender=mail.sender or "",
            # A mail of its own may say everything in its subject; a reply's subject is ours.
            text=mail.text if mail.text.strip() or match is not None else mail.subject,
            occurred_at=claimed or stored.received_at,
            reference=stored.key,
            in_reply_to=match.letter.reference or match.message_id if match is not None else mail.in_reply_to,
            locale=mail.language,
        )

    @staticmethod
    def _hand_over(
        connection: Connection, thread: Conversation, inbound: Inbound, reason: MailReason, now: datetime
    ) -> None:
        """Give a conversation to a human without a word to whoever wrote."""
        human = thread.state is ConversationState.HUMAN
        decision = ConversationDecision.SILENT if human else ConversationDecision.HANDOFF
        if _add(connection, thread, inbound, decision, KnownIntent.QUESTION, now) is not None and not human:
            handoffs.open_handoff(connection, thread.id, reason.value, False, now)
            store.change_conversation(connection, thread.id, now, state=ConversationState.HUMAN.value)


def _name(connection: Connection, stored: StoredMail, mail: InboundMail) -> str:
    """Return the mail's Message-ID; where it has none, or another mail has taken it, a name of its own."""
    own = mail.message_id or f"mail:{stored.key}"
    return own if reference_of(connection, own) in (None, stored.key) else f"{own} {stored.key[:16]}"


def _add(
    connection: Connection,
    thread: Conversation,
    inbound: Inbound,
    decision: ConversationDecision,
    intent: KnownIntent,
    now: datetime,
) -> int | None:
    utterance_id = record_inbound(connection, thread.id, inbound, now)
    if utterance_id is not None:
        store.decide_inbound(connection, utterance_id, intent=intent.value, decision=decision.value, confidence=None)
    return utterance_id


def _mark_replied(connection: Connection, match: Match, now: datetime) -> None:
    if match.letter.outreach_id is not None:
        present = outreach(connection, match.letter.outreach_id)
        if present.state is _S.SENT:
            change_state(connection, present.id, present.version, [_S.SENT], _S.REPLIED, now)
