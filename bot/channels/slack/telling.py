"""Answers for one person alone, by whichever way is open, and one card shown to them.

Commands are answered at their `response_url`: it works in every channel, also where the app is no member, needs no
permission, and five answers within thirty minutes are more than one command wants. After a crash the address is gone (it
is never stored); then, and where Slack takes no more there, `chat.postEphemeral` says it in the channel.
"""

from __future__ import annotations

from dataclasses import replace

import structlog

from bot.channels.slack import modals
from bot.channels.slack.api import SlackApi, ViewConflict
from bot.channels.slack.cards import Rendered, context, outreach_card
from bot.channels.slack.channel import linkable_hosts
from bot.channels.slack.checks import Blocks
from bot.channels.slack.identity import Roster
from bot.channels.slack.payloads import Click, Command
from bot.clock import Clock
from bot.config import Settings
from bot.errors import AftercareError, ChannelError, PermanentChannelError
from bot.services.review.desk import CardView, ReviewDesk

__all__ = ["Telling"]

log = structlog.get_logger(__name__)


class Telling:
    """Says something to one person."""

    def __init__(self, api: SlackApi, roster: Roster, review: ReviewDesk, clock: Clock, settings: Settings) -> None:
        self._api = api
        self._roster = roster
        self._review = review
        self._clock = clock
        self._undo_seconds = settings.review.undo_seconds
        self._review_channel = settings.slack.review_channel
        self._hosts = linkable_hosts(settings)

    def tell(self, to: Click | Command, text: str, blocks: Blocks | None = None) -> None:
        """Say something; a click in a view cannot be answered so (`notice` can)."""
        url = to.response_url if isinstance(to, Command) or to.ephemeral else ""
        if url:
            try:
                self._api.respond(url, text, blocks)
            except PermanentChannelError as error:
                log.info("slack_response_url_refused", key=to.key, error=str(error))
            else:
                return
        try:
            self._api.whisper(to.channel, to.person.user_id, text, blocks)
        except PermanentChannelError:
            if to.channel == self._review_channel:
                raise
            self._api.whisper(self._review_channel, to.person.user_id, text, blocks)

    def notice(self, click: Click, title: str, text: str) -> None:
        """Say something on top of the modal that was clicked, or over Home."""
        self._api.open_modal(click.trigger_id, modals.notice(title, text), on_top=click.view_type == "modal")

    def replace(self, click: Click, text: str, blocks: Blocks | None = None) -> None:
        """Put something in the place of the message that only they see."""
        self._api.respond(click.response_url, text, blocks, replace=True)

    def card(self, to: Command, view: CardView) -> None:
        """Show a card as it stands."""
        rendered = self._drawn(view)
        self.tell(to, rendered.text, rendered.blocks)

    def open_card(self, click: Click, outreach_id: int) -> None:
        """Show a card in a modal."""
        view = self._review.card(outreach_id)
        self._api.open_modal(click.trigger_id, modals.card(view, self._drawn(view)))

    def redraw(self, click: Click, outreach_id: int) -> None:
        """Draw the card anew where it was clicked, if that is no message of the channel: those are the desk's."""
        alone = click.ephemeral and bool(click.response_url)
        if not alone and not (click.view_type == "modal" and click.view_id):
            return
        view = self._review.card(outreach_id)
        rendered = self._drawn(view)
        try:
            if alone:
                self.replace(click, rendered.text, rendered.blocks)
            else:
                self._redraw_modal(click, modals.card(view, rendered))
        except ChannelError as error:  # it is closed by now, or too old; the channel's card says it all
            log.info("slack_card_not_redrawn", key=click.key, error=str(error))

    def sentence(self, error: AftercareError) -> str:
        """Return an error as a sentence in mrkdwn, agents by name."""
        return self._roster.named(_sentence(str(error)))

    def plainly(self, error: AftercareError) -> str:
        """Return an error as plain text: fields of modals show no mentions."""
        return _sentence(self._roster.plainly(str(error)))

    def _redraw_modal(self, click: Click, modal: dict[str, object]) -> None:
        try:
            self._api.update_modal(click.view_id, modal, click.view_hash)
        except ViewConflict:  # it shows something newer than they saw, but this was read after that
            self._api.update_modal(click.view_id, modal)

    def _drawn(self, view: CardView) -> Rendered:
        drawn = outreach_card(view, self._roster, self._clock.now(), self._undo_seconds, self._hosts)
        # Commands name a check-in by its number; a card in the channel has no need of it.
        return replace(drawn, blocks=[*drawn.blocks, context(f"No. {view.outreach.id}")])


def _sentence(text: str) -> str:
    words = text.strip()
    return f"{words[:1].upper()}{words[1:]}".rstrip(".") + "."
