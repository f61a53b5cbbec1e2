"""What is done about each candidate of a day: policy first, then one check-in a customer, the room, the draw.

Nothing is read or stored here; the planner does both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from bot.clock import local_date
from bot.config import Settings
from bot.decide import policy
from bot.services.planning.audience import Considered
from bot.store.enums import PlanDecision

__all__ = ["Room", "Ruler", "Ruling", "may_be_proposed", "room_left"]

# What a full day says of those who come after.
_FULL = (policy.Reason.CAPACITY.value, policy.Reason.BUDGET.value)
# However late in its window a check-in is proposed, an agent gets so long to decide.
SHORTEST_LIFE = timedelta(hours=4)


@dataclass(frozen=True, kw_only=True)
class Ruling:
    """What is done about one candidate.

    Attributes
    ----------
    until : datetime or None
        With a deferral, when it may be proposed.
    not_before : datetime or None
        With a suggestion, when it may leave.
    draws : bool
        Whether the candidate belongs to the experiment: contact was allowed, and only the draw decided.
    """

    decision: PlanDecision
    reason: str | None = None
    until: datetime | None = None
    not_before: datetime | None = None
    draws: bool = False


@dataclass(frozen=True, kw_only=True)
class Room:
    """How many more check-ins a day holds.

    Attributes
    ----------
    agents : int
        So many the agents can still look at.
    channels : mapping of str to int
        So many a channel may still send, where the shop sets a budget.
    begun : mapping of str to int
        So many first steps each playbook has proposed today, for those that limit it.
    """

    agents: int
    channels: Mapping[str, int] = field(default_factory=dict)
    begun: Mapping[str, int] = field(default_factory=dict)

    def without(self, one: Considered) -> Room:
        """Return what is left once one more is proposed."""
        left = {name: number - (name == one.channel) for name, number in self.channels.items()}
        first = {one.playbook.id: self.begun.get(one.playbook.id, 0) + 1} if one.journey is None else {}
        return Room(agents=self.agents - 1, channels=left, begun={**self.begun, **first})

    def holds(self, one: Considered) -> bool:
        """Say whether there is room for another one of this playbook."""
        most = one.playbook.most_per_day if one.journey is None else None
        return self.agents > 0 and (most is None or self.begun.get(one.playbook.id, 0) < most)

    def spent(self, channel: str | None) -> bool:
        """Say whether a channel may send no more."""
        return channel is not None and self.channels.get(channel, 1) <= 0


def room_left(settings: Settings, proposed: Mapping[str, int], begun: Mapping[str, int]) -> Room:
    """Return what a day still holds after so many were proposed, by channel, and so many first steps, by playbook."""
    budgets = settings.policy.daily_budget
    limits = {"email": budgets.email, "slack": budgets.slack}
    return Room(
        agents=max(settings.scheduler.daily_capacity - sum(proposed.values()), 0),
        channels={name: limit - proposed.get(name, 0) for name, limit in limits.items() if limit},
        begun=dict(begun),
    )


class Ruler:
    """Rules on candidates by the shop's settings."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def rule(self, candidates: Sequence[Considered], room: Room, now: datetime) -> list[tuple[Considered, Ruling]]:
        """Go through candidates by worth, of one customer's by priority first.

        Only those whom nothing but the draw keeps from a contact belong to the experiment, in either arm: who
        is refused for another reason, or comes after the day was full, is not drawn today.

        Parameters
        ----------
        room : Room
            How many check-ins the day still holds.
        """
        expires: dict[int, datetime] = {}
        found: list[tuple[Considered, Ruling]] = []
        for one in _in_turn(candidates):
            ruling = self.rule_one(one, room, expires.get(one.customer.id), now)
            if ruling.decision is PlanDecision.SUGGEST:
                room = room.without(one)
                expires[one.customer.id] = self.expires_at(one, ruling)
            found.append((one, ruling))
        return found

    def sift(
        self, candidates: Sequence[Considered], room: Room, now: datetime
    ) -> tuple[list[Considered], list[tuple[Considered, Ruling]]]:
        """Part candidates, some of many, into those that must be ruled on with all the others and those ruled on for good.

        A ruling is for good where it hangs on the customer alone, and where more of these than the day holds come
        first. Ruling on what is left of every part gives what ruling on all candidates at once would.
        """
        left: list[Considered] = []
        ruled: list[tuple[Considered, Ruling]] = []
        for one, ruling in self.rule(candidates, room, now):
            alone = not may_be_proposed(one.verdict) and ruling == self.rule_one(one, room, None, now)
            if alone or ruling.reason in _FULL:
                ruled.append((one, ruling))
            else:
                left.append(one)
        return left, ruled

    def rule_one(self, one: Considered, room: Room, proposed_until: datetime | None, now: datetime) -> Ruling:
        """Rule on one candidate; `proposed_until` is when what this plan proposed to them before ends."""
        verdict = (
            one.verdict if proposed_until is None else policy.ask(replace(one.facts, proposed_until=proposed_until))
        )
        if isinstance(verdict, policy.Refused) and not may_be_proposed(verdict):
            return _refused(verdict)
        leaves = now
        if isinstance(verdict, policy.Refused):
            leaves = verdict.until or now
            if leaves > max(one.span.closes, now + timedelta(days=1)):
                # Proposed for the day after a long holiday it would come when nobody needs it any more.
                return _refused(verdict)
        if not room.holds(one) or room.spent(one.channel):
            reason = policy.Reason.CAPACITY if not room.holds(one) else policy.Reason.BUDGET
            return Ruling(decision=PlanDecision.DEFER, reason=reason.value, until=self._tomorrow(one, now))
        held = policy.ask(replace(one.facts, holdout=one.drawn.holdout))
        if isinstance(held, policy.Refused) and not may_be_proposed(held):
            return replace(_refused(held), draws=True)
        return Ruling(decision=PlanDecision.SUGGEST, not_before=leaves, draws=True)

    def expires_at(self, one: Considered, ruling: Ruling) -> datetime:
        """Return until when a suggestion makes sense."""
        leaves = ruling.not_before or one.facts.now
        life = one.playbook.expires_after or timedelta(hours=self._settings.review.expires_hours)
        return max(min(leaves + life, one.span.closes), leaves + SHORTEST_LIFE)

    def _tomorrow(self, one: Considered, now: datetime) -> datetime:
        """Return when the next plan may propose it: the next day's round, if the policy allows it then."""
        shop = self._settings.shop.zone
        day = local_date(now, shop) + timedelta(days=1)
        following = datetime.combine(day, self._settings.scheduler.daily_at, tzinfo=shop)
        verdict = policy.ask(policy.at(one.facts, following))
        until = verdict.until if isinstance(verdict, policy.Refused) else None
        return (until or following).astimezone(now.tzinfo)


def may_be_proposed(verdict: policy.Verdict) -> bool:
    """Say whether it may be proposed: at night and on a day off it is proposed all the same and leaves when they have passed."""
    return isinstance(verdict, policy.Allowed) or verdict.reason in (policy.Reason.QUIET_HOURS, policy.Reason.DAY_OFF)


def _in_turn(candidates: Sequence[Considered]) -> list[Considered]:
    """Return candidates in the order in which they are ruled on: by worth, but a customer's by priority first.

    One that matters less never comes before one of the same customer's that matters more and may be proposed: it waits
    until that one's turn has come.
    """
    ranked = sorted(candidates, key=lambda one: (one.playbook.priority.rank, -one.worth, one.playbook.id))
    least: dict[int, float] = {}
    turns: list[tuple[float, int, int, Considered]] = []
    for place, one in enumerate(ranked):
        turn = min(one.worth, least.get(one.customer.id, one.worth))
        if may_be_proposed(one.verdict):
            least[one.customer.id] = turn
        turns.append((-turn, one.customer.id, place, one))
    return [one for *_, one in sorted(turns, key=lambda found: found[:3])]


def _refused(verdict: policy.Refused) -> Ruling:
    passing = verdict.reason in policy.TEMPORARY
    decision = PlanDecision.DEFER if passing else PlanDecision.REFUSE
    return Ruling(decision=decision, reason=verdict.reason.value, until=verdict.until)
