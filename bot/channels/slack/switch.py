"""The global stop in Slack: what the buttons and commands do, and the word about it in the review channel.

The switch is `bot.services.delivery.stopping`'s. Who turned it, and when, is read from the audit log and posted once, so
that a crash between the two loses no word, and a stop on the command line is told as well.
"""

from __future__ import annotations

from datetime import timedelta

import structlog

from bot.channels.slack.api import SlackApi, UnknownMethod
from bot.channels.slack.cards import local_time, section
from bot.channels.slack.channel import key_of
from bot.channels.slack.identity import Roster
from bot.channels.slack.text import cut, escape, one_line
from bot.clock import Clock
from bot.config import Settings
from bot.errors import ChannelError
from bot.services.delivery.stopping import Stopping
from bot.store import slack as posts
from bot.store.database import Database
from bot.store.slack import SENDING
from bot.store.standing import Switched, switches_since

__all__ = ["SendingSwitch", "who"]

log = structlog.get_logger(__name__)

# Older news is none.
TOLD_WITHIN = timedelta(days=1)
WHY_LIMIT = 300


class SendingSwitch:
    """Stops all sending and lets it go on."""

    def __init__(
        self,
        api: SlackApi,
        database: Database,
        clock: Clock,
        settings: Settings,
        stopping: Stopping,
        roster: Roster,
    ) -> None:
        self._api = api
        self._database = database
        self._clock = clock
        self._channel = settings.slack.review_channel
        self._stopping = stopping
        self._roster = roster

    def stop(self, actor: str, why: str = "") -> bool:
        """Send nothing from now on, and say so; False: it was stopped already."""
        changed = self._stopping.stop(actor, cut(one_line(why), WHY_LIMIT))
        self._announce_now()
        return changed

    def start(self, actor: str) -> bool:
        """Let what was approved leave again, and say so; False: nothing was stopped."""
        changed = self._stopping.resume(actor)
        self._announce_now()
        return changed

    def announce(self) -> int:
        """Say in the review channel what was not said yet; return how many messages were posted."""
        now = self._clock.now()
        with self._database.read() as connection:
            found = [
                one
                for one in switches_since(connection, now - TOLD_WITHIN)
                if posts.post_of(connection, SENDING, one.id) is None
            ]
        if not found:
            return 0
        there = self._posted_before()
        for one in found:
            key, text = f"{SENDING}:{one.id}", self._words(one)
            ts = there.get(key) or self._api.post(self._channel, text, [section(text)], key=key)[1]
            with self._database.write() as connection:
                first = posts.record_post(connection, SENDING, one.id, self._channel, ts, "", now)
                kept = posts.post_of(connection, SENDING, one.id)
            if not first and kept is not None and kept.ts != ts:  # another process was faster
                self._api.delete(self._channel, ts)
        log.info("slack_switch_announced", entries=[one.id for one in found])
        return len(found)

    def _announce_now(self) -> None:
        try:
            self.announce()
        except ChannelError as error:  # the switch is turned; the next tick says so
            log.warning("slack_switch_unannounced", error=str(error))

    def _posted_before(self) -> dict[str, str]:
        """Return what an earlier process may have posted without recording it."""
        try:
            history, _ = self._api.history(self._channel, 50)
        except UnknownMethod:
            return {}
        ours = [one for one in history if one.get("user") == self._roster.bot_user_id]
        return {key: str(one["ts"]) for one in ours if (key := key_of(one))}

    def _words(self, one: Switched) -> str:
        by = who(self._roster, one.actor)
        when = local_time(one.at, self._roster)
        if not one.stopped:
            return f"▶️ *Sending goes on.* {by} lifted the stop, {when}. What was approved leaves at its time."
        why = f" Reason: “{cut(escape(one_line(one.why)), WHY_LIMIT)}”." if one.why.strip() else ""
        return (
            f"⏹ *All sending is stopped* by {by}, {when}.{why} Nothing leaves to any customer, answers included; "
            "proposals and decisions go on. `/aftercare start` lets it go on."
        )


def who(roster: Roster, actor: str) -> str:
    """Name whoever turned the switch, in mrkdwn."""
    kind, _, name = actor.partition(":")
    return f"{escape(one_line(name))} (command line)" if kind == "cli" else roster.named(actor)
