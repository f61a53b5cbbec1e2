"""What agents do in Slack, done: decisions on cards and submitted modals; replies to customers are `handoff_actions`.

It takes typed records, asks whether the person may, and calls `bot.services`; the card is drawn anew from the database
afterwards. Bolt, acknowledgements and duplicates are `listeners`' business.
"""

from __future__ import annotations

from datetime import datetime

import structlog

from bot.channels.slack import modals
from bot.channels.slack.api import SlackApi
from bot.channels.slack.autonomy_cards import BoardAction
from bot.channels.slack.board_actions import BoardActions
from bot.channels.slack.channel import linkable_hosts
from bot.channels.slack.desk import SlackDesk
from bot.channels.slack.handoff_actions import HandoffActions
from bot.channels.slack.home import AgentHome
from bot.channels.slack.identity import Roster
from bot.channels.slack.payloads import ActionId, Click, ModalId, Submission, target
from bot.channels.slack.switch import SendingSwitch
from bot.channels.slack.telling import Telling
from bot.channels.slack.text import cut
from bot.channels.slack.why import why
from bot.clock import Clock, parse_instant
from bot.config import Settings
from bot.errors import AftercareError, ChannelError, InputError, Refused
from bot.services.review.background import background_of
from bot.services.review.desk import ReviewDesk
from bot.store.database import Database

__all__ = ["AgentActions"]

log = structlog.get_logger(__name__)

# Where a modal shows an error: the input block.
_FIELDS = {
    ModalId.EDIT: "draft",
    ModalId.REJECT: "reason",
    ModalId.SNOOZE: "until",
    ModalId.HANDOFF_REPLY: "reply",
    ModalId.GAP: "body",
}


class AgentActions:
    """Clicks and submissions of agents."""

    def __init__(
        self,
        *,
        api: SlackApi,
        database: Database,
        clock: Clock,
        settings: Settings,
        review: ReviewDesk,
        desk: SlackDesk,
        roster: Roster,
        home: AgentHome,
        switch: SendingSwitch,
        telling: Telling,
        handoffs: HandoffActions,
        boards: BoardActions | None = None,
    ) -> None:
        self._api = api
        self._database = database
        self._clock = clock
        self._settings = settings
        self._review = review
        self._desk = desk
        self._roster = roster
        self._home = home
        self._switch = switch
        self._telling = telling
        self._handoffs = handoffs
        self._boards = boards
        self._hosts = linkable_hosts(settings)

    # --- Clicks ----------------------------------------------------------------------------------------------

    def click(self, click: Click) -> None:
        """Do what was clicked; a refusal is told to the clicker alone."""
        try:
            self._roster.check(click.person)
            self._clicked(click)
        except ChannelError:
            raise
        except AftercareError as error:
            log.info("slack_click_refused", actor=click.person.actor, action=click.action, error=type(error).__name__)
            self._refuse(click, self._telling.sentence(error))

    def _clicked(self, click: Click) -> None:
        actor = click.person.actor
        match click.action.partition(":")[0]:
            case ActionId.APPROVE:
                self._decided(click, self._review.approve(*target(click.value), actor, event_key=click.key).id)
            case ActionId.UNDO:
                self._decided(click, self._review.undo(*target(click.value), actor, event_key=click.key).id)
            case ActionId.RETRY:
                self._decided(click, self._review.retry(*target(click.value), actor, event_key=click.key).id)
            case ActionId.EDIT | ActionId.SNOOZE:
                self._open(click, click.action, click.value)
            case ActionId.MORE:
                what, _, value = click.value.partition(":")
                if what == "claim":
                    self._decided(click, self._review.claim(*target(value), actor, event_key=click.key).id)
                elif what in ("reject", "why"):
                    self._open(click, what, value)
                else:
                    raise InputError("this card is too old to be used; look at the newest one in this channel")
            case ActionId.HANDOFF_REPLY:
                self._handoffs.open_reply(click)
            case ActionId.HANDOFF_GIVE_BACK:
                self._handoffs.give_back(click)
            case ActionId.HANDOFF_ARTICLE:
                self._handoffs.name_article(click)
            case ActionId.SENDING_STOP | ActionId.SENDING_START:
                self._turn(click, stop=click.action == ActionId.SENDING_STOP)
            case action if action.startswith("home_"):
                if (decided := self._home.click(click)) is not None:
                    self._desk.show(decided)
            case _ if self._boards is None or not self._boards.click(click):
                log.info("slack_unknown_action", action=click.action)
            case BoardAction.STOP | BoardAction.CLOSE:
                self._show_where_clicked(click, target(click.value)[0])

    def _decided(self, click: Click, outreach_id: int) -> None:
        self._show_where_clicked(click, outreach_id)
        self._desk.show(outreach_id)

    def _show_where_clicked(self, click: Click, outreach_id: int) -> None:
        """Draw a card anew where it was clicked, if that is not the review channel."""
        self._telling.redraw(click, outreach_id)
        if click.in_view:
            self._home.told(click, outreach_id)

    def _turn(self, click: Click, *, stop: bool) -> None:
        """Stop all sending, or let it go on."""
        actor = click.person.actor
        changed = self._switch.stop(actor) if stop else self._switch.start(actor)
        if click.in_view:
            self._home.show(click.person, seen=click.view_hash)
            return
        said = "Nothing leaves from now on." if stop else "Sending goes on."
        self._telling.replace(click, said if changed else f"Somebody was faster. {said}")

    def _refuse(self, click: Click, words: str) -> None:
        """Tell the clicker why nothing was done, and show how things stand."""
        if not click.in_view:
            self._telling.tell(click, words)
            self._redraw(click)
            return
        if click.view_type == "modal":
            try:
                self._telling.notice(click, "Nothing was changed", words)
            except ChannelError as error:  # too late for a modal; Home says it as well
                log.info("slack_notice_unshown", key=click.key, error=str(error))
        self._home.show(click.person, notice=f"⚠️ {words}", seen="" if click.view_type == "modal" else click.view_hash)

    def _open(self, click: Click, what: str, value: str) -> None:
        outreach_id, version = target(value)
        view = self._review.card(outreach_id)
        if what != "why" and view.outreach.version != version:
            told = view.status_line or "it was changed meanwhile"
            raise Refused(f"{told}. Nothing was changed; the card shows how it stands now")
        match what:
            case ActionId.EDIT:
                modal = modals.edit(view)
            case ActionId.SNOOZE:
                modal = modals.snooze(view, self._clock.now(), self._roster.zone(click.person))
            case "reject":
                modal = modals.reject(view, self._settings.review.reject_reasons)
            case _:
                behind = background_of(self._database, self._clock, self._settings, view)
                modal = why(view, behind, self._roster.zone(click.person), self._hosts)
        self._api.open_modal(click.trigger_id, modal, on_top=click.view_type == "modal")

    def _redraw(self, click: Click) -> None:
        """Draw the card that was clicked as it stands now; a loser sees the winner on it."""
        value = click.value.partition(":")[2] if click.action == ActionId.MORE else click.value
        try:
            if click.action.startswith("outreach_"):
                self._telling.redraw(click, target(value)[0])
                self._desk.show(target(value)[0])
        except AftercareError as error:
            log.info("slack_redraw_failed", action=click.action, error=type(error).__name__)

    # --- Submissions -----------------------------------------------------------------------------------------

    def submit(self, submission: Submission) -> dict[str, str]:
        """Decide what a modal asks for; return errors by block, empty when it was done.

        It must be quick: Slack waits three seconds for the answer. Drawing and sending is `after_submit`.
        """
        field = next((block for modal, block in _FIELDS.items() if modal == submission.modal), None)
        if field is None:
            return {}
        try:
            self._roster.check(submission.person)
            self._submitted(submission)
        except AftercareError as error:
            log.info("slack_submission_refused", actor=submission.person.actor, modal=submission.modal)
            return {field: cut(self._telling.plainly(error), 2000)}
        return {}

    def _submitted(self, submission: Submission) -> None:
        person, inputs = submission.person, submission.inputs
        key = submission.key
        match submission.modal:
            case ModalId.EDIT:
                draft = inputs.get("draft/text", "")
                self._review.edit(*target(submission.reference), person.actor, draft, event_key=key)
            case ModalId.REJECT:
                reason = inputs.get("reason/select", "")
                self._review.reject(*target(submission.reference), person.actor, reason, event_key=key)
            case ModalId.SNOOZE:
                until = _chosen_time(inputs.get("until/select", ""))
                self._review.snooze(*target(submission.reference), person.actor, until, event_key=key)
            case ModalId.HANDOFF_REPLY:
                self._handoffs.store(submission)
            case ModalId.GAP if self._boards is not None:
                self._boards.submit(submission)

    def submit_again(self, submission: Submission) -> dict[str, str]:
        """Decide what a crash may have left undecided; decisions know their key, a reply is looked for."""
        if submission.modal == ModalId.HANDOFF_REPLY and self._handoffs.stored(submission):
            return {}
        return self.submit(submission)

    def after_submit(self, submission: Submission) -> None:
        """Show or send what a submitted modal decided."""
        if submission.modal == ModalId.HANDOFF_REPLY:
            self._handoffs.send(submission)
        elif submission.modal in (ModalId.EDIT, ModalId.REJECT, ModalId.SNOOZE):
            self._desk.show(target(submission.reference)[0])
            self._home.refresh(submission.person)
        elif submission.modal == ModalId.BULK:
            self._approve_together(submission)
        elif submission.modal == ModalId.GAP and self._boards is not None:
            self._boards.submitted()

    def _approve_together(self, submission: Submission) -> None:
        try:
            self._home.approve_together(submission)
        except Refused as error:
            self._home.show(submission.person, notice=f"⚠️ {self._telling.sentence(error)}")
        self._desk.sync()  # a few cards now, the others with the next ticks: Slack takes about one a second


def _chosen_time(value: str) -> datetime:
    try:
        return parse_instant(value)
    except ValueError:
        raise InputError("choose a time from the list") from None
