"""Slack as a way to one customer: a direct message that carries our key, and the question what became of it.

Cards for agents are posted by `desk`; which customer is meant, and whether they may be written to, is decided before.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any
from urllib.parse import urlsplit

import structlog

from bot.channels.base import Evidence, Knowledge, Message
from bot.channels.slack.api import SlackApi
from bot.channels.slack.checks import MESSAGE_BLOCKS
from bot.channels.slack.customer_messages import customer_message, fallback
from bot.config import Settings
from bot.errors import ChannelError, PermanentChannelError

__all__ = ["SlackChannel", "key_of", "linkable_hosts"]

log = structlog.get_logger(__name__)

# How far back `find` looks; a message of unknown fate is minutes old, and a customer's channel is quiet.
HISTORY = 200


class SlackChannel:
    """Direct messages to customers."""

    name = "slack"

    def __init__(self, api: SlackApi, settings: Settings, connected: Callable[[], bool] | None = None) -> None:
        self._api = api
        self._hosts = linkable_hosts(settings)
        self._connected = connected

    def send(self, message: Message) -> Evidence:
        """Post a direct message whose first block_id and metadata are the message's key."""
        # The key of an answer is `utterance:ID:ATTEMPT`.
        reference = message.key.split(":")[1] if message.choices else ""
        blocks = customer_message(message.text, self._hosts, message.choices, reference)
        if not blocks:
            raise PermanentChannelError("the message is empty")
        if len(blocks) > MESSAGE_BLOCKS:
            raise PermanentChannelError("the message is too long for Slack; shorten it")
        channel = message.thread or self._api.open_direct(message.address)
        channel, ts = self._api.post(channel, fallback(message.text), blocks, key=message.key)
        log.info("slack_message_sent", key=message.key, channel=channel)
        return Evidence(reference=ts, thread=channel, detail={"channel": channel, "ts": ts})

    def find(self, message: Message) -> Evidence | Knowledge:
        """Look for the key in the customer's channel."""
        try:
            channel = message.thread or self._api.open_direct(message.address)
            history, complete = self._api.history(channel, HISTORY)
        except ChannelError:
            return Knowledge.UNKNOWN
        for posted in history:
            if key_of(posted) == message.key:
                ts = str(posted["ts"])
                return Evidence(reference=ts, thread=channel, detail={"channel": channel, "ts": ts, "found": True})
        return Knowledge.ABSENT if complete else Knowledge.UNKNOWN

    def connected(self) -> bool:
        """Say whether Slack can be used now."""
        return True if self._connected is None else self._connected()

    def close(self) -> None:
        """Nothing to give back: every call has its own connection."""


def key_of(posted: Mapping[str, Any]) -> str | None:
    """Return our key of a posted message: from its metadata, else from its first block."""
    metadata = posted.get("metadata") or {}
    if metadata.get("event_type") == "aftercare_message":
        return str((metadata.get("event_payload") or {}).get("key") or "") or None
    blocks = posted.get("blocks") or [{}]
    return str(blocks[0].get("block_id") or "") or None


def linkable_hosts(settings: Settings) -> Collection[str]:
    """Return whose addresses may be links in messages: the shop's and our own."""
    hosts = {urlsplit(url).hostname for url in (settings.shop.url, settings.web.base_url) if url}
    return frozenset(host for host in hosts if host and host not in ("127.0.0.1", "localhost"))
