"""What the buttons beside the ordinary card's do: stop, copy and close a check-in, take or give back autonomy, deal with a pattern.

Who may click is asked by `actions` before; refusals are told there. The messages are drawn anew from the database afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from bot.channels.slack.api import SlackApi
from bot.channels.slack.autonomy_cards import BoardAction, copy_modal
from bot.channels.slack.desk import SlackDesk
from bot.channels.slack.gap_actions import GapActions
from bot.channels.slack.payloads import Click, Submission, number, target
from bot.decide.playbook import Autonomy
from bot.errors import InputError, Refused
from bot.services.knowledge.gap_desk import GapDesk
from bot.services.planning.pattern_desk import PatternDesk, Proposed
from bot.services.review.desk import ReviewDesk
from bot.services.review.earning import Earning
from bot.store.enums import PatternAnswer

__all__ = ["BoardActions", "Desks"]

log = structlog.get_logger(__name__)
_LEFT = {
    "holdout": "held out for comparison",
    "with_a_human": "in conversation with an agent",
    "open_issue": "with an open issue",
    "consent_refused": "who want no contact",
    "no_address": "without an address",
    "already_proposed": "with another check-in under way",
    "capacity": "beyond what the day holds",
}


@dataclass(frozen=True, kw_only=True)
class Desks:
    """The services behind the boards."""

    earning: Earning
    patterns: PatternDesk
    gaps: GapDesk | None = None


class BoardActions:
    """Does what was clicked."""

    def __init__(self, api: SlackApi, review: ReviewDesk, desk: SlackDesk, desks: Desks) -> None:
        self._api = api
        self._review = review
        self._desk = desk
        self._earning = desks.earning
        self._patterns = desks.patterns
        self._gaps = None if desks.gaps is None else GapActions(api, desk, desks.gaps)

    def click(self, click: Click) -> bool:
        """Do what was clicked; False: it is none of these buttons.

        Raises
        ------
        AftercareError
            Somebody was faster, or it cannot be; nothing was changed.
        """
        actor, key = click.person.actor, click.key
        match click.action:
            case BoardAction.STOP:
                self._review.hold(*target(click.value), actor, event_key=key)
                self._desk.show(target(click.value)[0])
            case BoardAction.CLOSE:
                self._review.close(*target(click.value), actor, event_key=key)
                self._desk.show(target(click.value)[0])
            case BoardAction.COPY:
                view = self._review.card(target(click.value)[0])
                self._api.open_modal(click.trigger_id, copy_modal(view), on_top=click.view_type == "modal")
            case BoardAction.ACCEPT:
                self._earning.accept(_number(click.value), actor)
                self._desk.sync()
            case BoardAction.BACK:
                self._go_back(_number(click.value), actor)
            case BoardAction.ACKNOWLEDGE | BoardAction.DISMISS:
                said = PatternAnswer.DISMISSED if click.action == BoardAction.DISMISS else PatternAnswer.ACKNOWLEDGED
                self._patterns.answer(_number(click.value), said, actor)
                self._desk.sync()
            case BoardAction.PROPOSE:
                done = self._patterns.propose(_number(click.value), actor)
                self._api.whisper(click.channel, click.person.user_id, _proposed(done))
                self._desk.sync()
            case BoardAction.APPROVE_ALL:
                self._approve_all(click)
            case _:
                return self._gaps is not None and self._gaps.click(click)
        return True

    def submit(self, submission: Submission) -> None:
        """Do what a modal of a board asks for; raises as `click` does."""
        if self._gaps is None:
            raise InputError("this is too old to be used; look at the newest message in this channel")
        self._gaps.submit(submission)

    def submitted(self) -> None:
        """Show what was submitted."""
        self._desk.sync()

    def _go_back(self, offer_id: int, actor: str) -> None:
        playbook = self._earning.playbook_of(offer_id)
        self._earning.set(playbook, Autonomy.APPROVE, actor)
        self._desk.sync()

    def _approve_all(self, click: Click) -> None:
        number, _, batch = click.value.partition(":")
        try:
            refused = self._patterns.approve_all(_number(number), batch, click.person.actor, click.key)
        finally:
            self._desk.sync()  # also where others wait by now: that is what it says then
        if refused:
            raise Refused(f"{len(refused)} could not be approved, the others were: {'; '.join(refused[:3])}")


def _number(value: str) -> int:
    found = number(value)
    if found is None:
        raise InputError("this message is too old to be used; look at the newest one in this channel")
    return found


def _proposed(done: Proposed) -> str:
    check_ins = "1 check-in is" if done.proposed == 1 else f"{done.proposed} check-ins are"
    said = f"{check_ins} proposed; the cards appear in the thread."
    if not done.left:
        return said
    left = ", ".join(
        f"{number} {_LEFT.get(reason, reason.replace('_', ' '))}" for reason, number in sorted(done.left.items())
    )
    return f"{said} Left alone: {left}."
