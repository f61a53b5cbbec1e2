"""What works on Slack's events, put together: every part with what it needs, for one workspace.

Connecting and ending is `connection`'s business.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bot.channels.slack.actions import AgentActions
from bot.channels.slack.api import SlackApi
from bot.channels.slack.board_actions import BoardActions, Desks
from bot.channels.slack.boards import Board
from bot.channels.slack.channel import linkable_hosts
from bot.channels.slack.commands import AgentCommands
from bot.channels.slack.customers import CustomerMessages
from bot.channels.slack.desk import SlackDesk
from bot.channels.slack.gap_board import GapBoard
from bot.channels.slack.handoff_actions import HandoffActions
from bot.channels.slack.home import AgentHome
from bot.channels.slack.identity import Roster
from bot.channels.slack.listeners import Intake
from bot.channels.slack.notice_board import NoticeBoard
from bot.channels.slack.offers import OfferBoard
from bot.channels.slack.pattern_board import PatternBoard
from bot.channels.slack.switch import SendingSwitch
from bot.channels.slack.telling import Telling
from bot.clock import Clock
from bot.config import Settings
from bot.services.conversation.conversations import Conversations
from bot.services.delivery.stopping import Stopping
from bot.services.planning.playbooks import Playbooks
from bot.services.review.desk import ReviewDesk
from bot.services.review.queue import ReviewQueue
from bot.services.review.standing import Standing
from bot.store.database import Database

__all__ = ["Ground", "assemble", "build_boards"]


@dataclass(frozen=True, kw_only=True)
class Ground:
    """What the Slack side stands on.

    Attributes
    ----------
    send_utterance : callable
        Sends a stored answer; takes its id.
    playbooks : callable
        Returns the playbooks that are in force.
    desks : Desks, optional
        What is behind offers and patterns; without it there are none.
    """

    api: SlackApi
    database: Database
    clock: Clock
    settings: Settings
    review: ReviewDesk
    conversations: Conversations
    send_utterance: Callable[[int], object]
    stopping: Stopping
    playbooks: Callable[[], Playbooks]
    desks: Desks | None = None


def build_boards(ground: Ground, roster: Roster) -> list[Board]:
    """Build what stands in the review channel beside cards and hand-overs."""
    if ground.desks is None:
        return []
    boards: list[Board] = [
        OfferBoard(ground.desks.earning, ground.clock, roster),
        PatternBoard(ground.desks.patterns, roster),
        NoticeBoard(ground.database, ground.clock),
    ]
    return boards if ground.desks.gaps is None else [*boards, GapBoard(ground.desks.gaps, roster)]


def assemble(
    ground: Ground, roster: Roster, desk: SlackDesk, on_revoked: Callable[[], None]
) -> tuple[Intake, SendingSwitch]:
    """Build what takes events in, and what says in the review channel that sending was stopped."""
    telling = Telling(ground.api, roster, ground.review, ground.clock, ground.settings)
    queue = ReviewQueue(ground.database, ground.clock, ground.review, ground.playbooks)
    standing = Standing(ground.database, ground.clock)
    switch = SendingSwitch(ground.api, ground.database, ground.clock, ground.settings, ground.stopping, roster)
    home = AgentHome(
        api=ground.api,
        database=ground.database,
        clock=ground.clock,
        settings=ground.settings,
        roster=roster,
        review=ground.review,
        queue=queue,
        standing=standing,
        telling=telling,
    )
    commands = AgentCommands(
        clock=ground.clock,
        roster=roster,
        review=ground.review,
        queue=queue,
        standing=standing,
        switch=switch,
        telling=telling,
        desk=desk,
    )
    actions = AgentActions(
        api=ground.api,
        database=ground.database,
        clock=ground.clock,
        settings=ground.settings,
        review=ground.review,
        desk=desk,
        roster=roster,
        home=home,
        switch=switch,
        telling=telling,
        handoffs=HandoffActions(ground.api, ground.database, ground.conversations, ground.send_utterance, desk),
        boards=None if ground.desks is None else BoardActions(ground.api, ground.review, desk, ground.desks),
    )
    customers = CustomerMessages(
        api=ground.api,
        database=ground.database,
        clock=ground.clock,
        conversations=ground.conversations,
        send_utterance=ground.send_utterance,
        desk=desk,
        roster=roster,
        review_channel=ground.settings.slack.review_channel,
        hosts=linkable_hosts(ground.settings),
    )
    intake = Intake(
        api=ground.api,
        database=ground.database,
        clock=ground.clock,
        roster=roster,
        actions=actions,
        commands=commands,
        home=home,
        customers=customers,
        telling=telling,
        on_revoked=on_revoked,
    )
    return intake, switch
