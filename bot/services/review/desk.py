"""The review desk: what an agent may do with a proposed check-in, and that exactly one decision wins.

Every action names the version that the agent saw. The compare-and-set, the stored decision and the audit
entry are one short transaction. Showing cards belongs to the surfaces (Slack, command line, web), sending to
`bot.services.delivery.deliverer`, what each decision does to a check-in to `bot.services.review.moves`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Any

from bot.clock import Clock, as_utc
from bot.config import Settings
from bot.decide.autonomy import least
from bot.decide.lifecycle import OutreachState
from bot.decide.playbook import Autonomy
from bot.errors import InputError
from bot.services.review.autonomy import Levels
from bot.services.review.cards import CardView, build_card, plain_row, unasked_mark
from bot.services.review.moves import (
    ClaimedByOther,
    DecidedByOther,
    DraftOnly,
    Wish,
    move,
    respect_claim,
    respect_level,
)
from bot.store import audit
from bot.store.autonomy import on_screen, waiting_unasked
from bot.store.database import Connection, Database
from bot.store.decisions import card_facts, decisions_of, deliveries_of, record_decision
from bot.store.delivery import settle
from bot.store.enums import DecisionKind
from bot.store.outreach import Outreach, change_state, list_outreach, outreach, revise

__all__ = ["CardView", "ClaimedByOther", "DecidedByOther", "DraftOnly", "ReviewDesk"]

_S = OutreachState
# The longest text that every channel takes whole (a Slack section block holds 3,000 characters).
DRAFT_LIMIT = 2900

# Says no, by raising, to a decision that nobody asked for; called within the transaction that decides.
Permit = Callable[[Connection, Outreach, datetime], None]


class ReviewDesk:
    """Where agents decide about proposed check-ins.

    Parameters
    ----------
    levels : Levels, optional
        Knows how far playbooks may go by themselves; without it nothing goes out unasked, and a draft is still never sent.
    """

    def __init__(self, database: Database, clock: Clock, settings: Settings, levels: Levels | None = None) -> None:
        self._database = database
        self._clock = clock
        self._settings = settings
        self._levels = levels

    # --- Looking -----------------------------------------------------------------------------------

    def queue(self, limit: int = 50, offset: int = 0) -> list[Outreach]:
        """Return what waits for an agent, most pressing first."""
        with self._database.read() as connection:
            return list_outreach(connection, {_S.SUGGESTED}, limit=limit, offset=offset)

    def card(self, outreach_id: int) -> CardView:
        """Return all that an agent is shown about one outreach."""
        with self._database.read() as connection:
            return self._cards(connection, [outreach(connection, outreach_id)])[0]

    def cards(self, outreaches: Sequence[Outreach]) -> list[CardView]:
        """Return the cards of several outreaches, in their order, with a fixed number of queries."""
        with self._database.read() as connection:
            return self._cards(connection, outreaches)

    def retimed(self) -> list[int]:
        """Return check-ins whose card in Slack says another time at which they go out by themselves, or none, or one."""
        if self._levels is None or not self._levels.may_be_automatic:
            return []
        now = self._clock.now()
        found: list[int] = []
        with self._database.read() as connection:
            for page in waiting_unasked(connection, self._levels.of_playbooks(connection), now):
                going = self._levels.going(connection, page, now, surely=False)
                cards = on_screen(connection, [one.id for one in page])
                found += [
                    one.id
                    for one in page
                    if one.id in cards
                    and cards[one.id][1] != f"{one.version}:{one.state}{unasked_mark(going.get(one.id))}"
                ]
        return found

    def listing(
        self, states: Collection[OutreachState] | None, limit: int = 100, offset: int = 0
    ) -> list[dict[str, Any]]:
        """Return outreaches as plain values for scripts, ids being the shop's own."""
        with self._database.read() as connection:
            found = list_outreach(connection, states, limit=limit, offset=offset)
            return self._rows(connection, found)

    def detail(self, outreach_id: int) -> dict[str, Any]:
        """Return one outreach as plain values for scripts."""
        with self._database.read() as connection:
            return self._rows(connection, [outreach(connection, outreach_id)])[0]

    # --- Deciding ----------------------------------------------------------------------------------

    def approve(self, outreach_id: int, version: int, actor: str, event_key: str | None = None) -> Outreach:
        """Say yes: it goes out at its planned time, but not before the undo window is over.

        Raises
        ------
        AlreadyDecided
            Somebody was faster; names them.
        Refused
            Claimed by another agent, or too late.
        """
        return self._decide(DecisionKind.APPROVE, outreach_id, version, actor, event_key)

    def edit(self, outreach_id: int, version: int, actor: str, draft: str, event_key: str | None = None) -> Outreach:
        """Send this text instead: store the new words and approve them; raises as `approve` does."""
        words = draft.strip()
        if not words:
            raise InputError("the message is empty; write what the customer shall read, or reject the check-in")
        if len(words) > DRAFT_LIMIT:
            raise InputError(f"the message has {len(words)} characters; shorten it to {DRAFT_LIMIT}")
        return self._decide(DecisionKind.EDIT, outreach_id, version, actor, event_key, draft=words)

    def reject(self, outreach_id: int, version: int, actor: str, reason: str, event_key: str | None = None) -> Outreach:
        """Say no, for one of `review.reject_reasons`; the reason is a label for learning."""
        known = self._settings.review.reject_reasons
        if reason not in known:
            raise InputError(f"{reason!r} is no reason to reject; choose one of {', '.join(known)}")
        return self._decide(DecisionKind.REJECT, outreach_id, version, actor, event_key, reason=reason)

    def snooze(
        self, outreach_id: int, version: int, actor: str, until: datetime, event_key: str | None = None
    ) -> Outreach:
        """Put it aside until an instant in the future, before it expires."""
        return self._decide(DecisionKind.SNOOZE, outreach_id, version, actor, event_key, until=as_utc(until))

    def claim(self, outreach_id: int, version: int, actor: str, event_key: str | None = None) -> Outreach:
        """Lease it for `review.claim_minutes`: until then only this agent may decide."""
        return self._decide(DecisionKind.CLAIM, outreach_id, version, actor, event_key)

    def undo(self, outreach_id: int, version: int, actor: str, event_key: str | None = None) -> Outreach:
        """Take a decision back: an approval until it may leave, a rejection or snooze within the undo window.

        An edited text stays in the draft, so that nobody's words are lost; the rendered one is in
        `original_draft`.
        """
        return self._decide(DecisionKind.UNDO, outreach_id, version, actor, event_key)

    def retry(self, outreach_id: int, version: int, actor: str, event_key: str | None = None) -> Outreach:
        """Send a failed one again, or an uncertain one that a human found not to have arrived."""
        return self._decide(DecisionKind.RETRY, outreach_id, version, actor, event_key)

    def settle(
        self, outreach_id: int, version: int, actor: str, *, arrived: bool, event_key: str | None = None
    ) -> Outreach:
        """Say what became of an uncertain one: it arrived, or it did not and is not to be sent again."""
        return self._decide(
            DecisionKind.SETTLE, outreach_id, version, actor, event_key, reason="arrived" if arrived else "lost"
        )

    def hold(self, outreach_id: int, version: int, actor: str, event_key: str | None = None) -> Outreach:
        """Stop it from going out unasked: from now on it waits for an agent, like any other."""
        return self._decide(DecisionKind.HOLD, outreach_id, version, actor, event_key)

    def close(self, outreach_id: int, version: int, actor: str, event_key: str | None = None) -> Outreach:
        """Put a draft that is never sent away: an agent used it, or needs it no more."""
        return self._decide(DecisionKind.CLOSE, outreach_id, version, actor, event_key)

    def approve_unasked(self, outreach_id: int, version: int, actor: str, permit: Permit) -> Outreach:
        """Approve as the machine's own decision, if `permit` lets it; agents may undo it like any other approval."""
        return self._decide(DecisionKind.APPROVE, outreach_id, version, actor, None, permit=permit)

    # --- How ---------------------------------------------------------------------------------------

    def _decide(
        self,
        kind: DecisionKind,
        outreach_id: int,
        version: int,
        actor: str,
        event_key: str | None,
        *,
        reason: str | None = None,
        draft: str | None = None,
        until: datetime | None = None,
        permit: Permit | None = None,
    ) -> Outreach:
        wish = Wish(
            id=outreach_id,
            version=version,
            actor=actor,
            kind=kind,
            event_key=event_key,
            reason=reason,
            draft=draft,
            until=until,
        )
        now = self._clock.now()
        with self._database.write() as connection:
            present = outreach(connection, wish.id)
            if wish.event_key and self._seen(connection, wish):
                return present  # the same click, delivered twice
            if present.version != wish.version:
                raise self._too_late(connection, present)
            sources, to, columns = move(wish, present, self._settings.review, now)
            if present.state not in sources:
                raise self._too_late(connection, present)
            respect_level(wish, present, self._level(connection, present))
            respect_claim(wish, present, now)
            if permit is not None:
                permit(connection, present, now)
            if wish.kind == DecisionKind.SETTLE and to is not None:
                said = {"said_by": wish.actor} if to == _S.SENT else None
                won = settle(connection, wish.id, present.attempts, to, now, evidence=said, reason=wish.reason)
            elif to is None:
                won = revise(connection, wish.id, wish.version, sources, now, **columns)
            else:
                won = change_state(connection, wish.id, wish.version, [present.state], to, now, **columns)
            if not won:  # on PostgreSQL another transaction committed after our reading
                return self._lost(connection, wish)
            changed = wish.draft is not None
            record_decision(
                connection,
                outreach_id=wish.id,
                outreach_version=wish.version,
                kind=wish.kind,
                actor=wish.actor,
                now=now,
                reason=wish.reason,
                draft_before=present.draft if changed else None,
                draft_after=wish.draft,
                until=columns.get("claimed_until") if wish.kind == DecisionKind.CLAIM else wish.until,
                event_key=wish.event_key,
            )
            after = outreach(connection, wish.id)
            audit.record(
                connection,
                at=now,
                actor=wish.actor,
                action=f"outreach.{wish.kind}",
                entity="outreach",
                entity_id=str(wish.id),
                detail={"version": wish.version, "from": present.state, "to": after.state, "reason": wish.reason},
            )
            return after

    def _level(self, connection: Connection, present: Outreach) -> Autonomy:
        if self._levels is None:
            return least(present.autonomy, Autonomy.APPROVE)
        return self._levels.of(present, self._levels.of_playbooks(connection))

    def _seen(self, connection: Connection, wish: Wish) -> bool:
        return any(decision.event_key == wish.event_key for decision in decisions_of(connection, wish.id))

    def _lost(self, connection: Connection, wish: Wish) -> Outreach:
        present = outreach(connection, wish.id)
        if wish.event_key and self._seen(connection, wish):
            return present
        raise self._too_late(connection, present)

    def _too_late(self, connection: Connection, present: Outreach) -> DecidedByOther:
        taken = decisions_of(connection, present.id)
        last = taken[-1] if taken and taken[-1].outreach_version == present.version - 1 else None
        if last is None and present.decided_by is not None:  # the machine moved it on after a decision
            last = next((one for one in reversed(taken) if one.actor == present.decided_by), None)
        return DecidedByOther(present, last.actor if last else None, last.kind if last else None)

    def _rows(self, connection: Connection, outreaches: Sequence[Outreach]) -> list[dict[str, Any]]:
        ids = [one.id for one in outreaches]
        facts, attempts = card_facts(connection, ids), deliveries_of(connection, ids)
        return [plain_row(one, facts[one.id], attempts.get(one.id, ())) for one in outreaches]

    def _cards(self, connection: Connection, outreaches: Sequence[Outreach]) -> list[CardView]:
        facts = card_facts(connection, [one.id for one in outreaches])
        zone = self._settings.shop.zone
        if self._levels is None:
            return [build_card(one, facts[one.id], zone, least(one.autonomy, Autonomy.APPROVE)) for one in outreaches]
        levels = self._levels.of_playbooks(connection)
        going = self._levels.going(connection, outreaches, self._clock.now(), surely=False)
        return [
            build_card(one, facts[one.id], zone, self._levels.of(one, levels), going.get(one.id)) for one in outreaches
        ]
