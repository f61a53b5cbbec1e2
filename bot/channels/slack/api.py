"""The Web API as this product uses it: a few calls, each checked, paced, and its errors given a meaning.

Whatever is odd about Slack's answers ends here: everybody above sees evidence or one of the three channel errors. What
is posted, and when, is decided above.
"""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import structlog
from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.web import SlackResponse
from slack_sdk.webhook import WebhookClient

from bot.channels.slack.checks import Blocks, check_message, check_view
from bot.channels.slack.refusals import SlackUnauthorized, UnknownMethod, ViewConflict, meaning, never_arrived
from bot.channels.slack.resting import Rests
from bot.config import Settings
from bot.errors import ConfigurationError, PermanentChannelError, TransientChannelError, UncertainChannelError

__all__ = ["Pace", "SlackApi", "SlackUnauthorized", "UnknownMethod", "ViewConflict"]

log = structlog.get_logger(__name__)

# https://docs.slack.dev/apis/web-api/rate-limits: about one message a second and channel.
SECONDS_BETWEEN_POSTS = 1.1
TIMEOUT_SECONDS = 10


class Pace:
    """Keeps posts to one channel apart; Slack drops bursts, a loopback peer does not need it."""

    def __init__(self, seconds: float = SECONDS_BETWEEN_POSTS) -> None:
        self._seconds = seconds
        self._next: dict[str, float] = {}
        self._lock = threading.Lock()
        self._stopped = threading.Event()

    @classmethod
    def for_address(cls, base_url: str) -> Pace:
        """Pace calls to Slack itself; a loopback address is not paced."""
        return cls(0 if urlsplit(base_url).hostname in ("127.0.0.1", "localhost", "::1") else SECONDS_BETWEEN_POSTS)

    def wait(self, channel: str) -> None:
        """Wait until this channel takes the next post."""
        if self._seconds <= 0:
            return
        with self._lock:
            now = time.monotonic()
            due = max(now, self._next.get(channel, now))
            self._next[channel] = due + self._seconds
        self._stopped.wait(due - now)

    def stop(self) -> None:
        """Wait no more: the process is ending."""
        self._stopped.set()


class SlackApi:
    """The calls that the product makes.

    Every call may raise `PermanentChannelError`, `TransientChannelError` (with `retry_after`) or, where Slack may have
    done the work, `UncertainChannelError`.
    """

    def __init__(self, client: WebClient, pace: Pace) -> None:
        # A retry handler for broken connections would post twice; waiting out a 429 is the caller's decision.
        client.retry_handlers = []
        self.client = client
        self.pace = pace
        self._rests = Rests()
        self._shut = threading.Event()

    @classmethod
    def from_settings(cls, settings: Settings) -> SlackApi:
        """Build it on the bot token."""
        token = settings.secrets.slack_bot_token
        if token is None:
            raise ConfigurationError([("SLACK_BOT_TOKEN", "set it (xoxb-…) or SLACK_BOT_TOKEN_FILE")])
        base_url = settings.secrets.slack_api_base_url
        base_url = base_url if base_url.endswith("/") else f"{base_url}/"
        client = WebClient(token=token.get_secret_value(), base_url=base_url, timeout=TIMEOUT_SECONDS)
        return cls(client, Pace.for_address(base_url))

    def shut(self) -> None:
        """Call Slack no more: the app was uninstalled, or its token revoked."""
        self._shut.set()

    # --- Messages ------------------------------------------------------------------------------------------

    def post(
        self,
        channel: str,
        text: str,
        blocks: Blocks,
        *,
        key: str | None = None,
        thread_ts: str | None = None,
    ) -> tuple[str, str]:
        """Post a message; return (channel, ts).

        Parameters
        ----------
        key : str, optional
            Our own name of the message: the first block's id, and in the metadata as well, so that it can be found.
        """
        body: dict[str, Any] = {"channel": channel, "text": text, "unfurl_links": False, "unfurl_media": False}
        body["blocks"] = [dict(block) for block in blocks]
        if key is not None:
            body["blocks"][0]["block_id"] = key
            body["metadata"] = {"event_type": "aftercare_message", "event_payload": {"key": key}}
        if thread_ts is not None:
            body["thread_ts"] = thread_ts
        check_message(text, body["blocks"])
        self.pace.wait(channel)
        answer = self._call("chat.postMessage", body, writes=True)
        return str(answer["channel"]), str(answer["ts"])

    def update(self, channel: str, ts: str, text: str, blocks: Blocks) -> None:
        """Show a message anew; doing so twice does no harm."""
        check_message(text, blocks)
        self._call("chat.update", {"channel": channel, "ts": ts, "text": text, "blocks": [dict(b) for b in blocks]})

    def delete(self, channel: str, ts: str) -> None:
        """Take back one of our own messages."""
        self._call("chat.delete", {"channel": channel, "ts": ts})

    def whisper(self, channel: str, user: str, text: str, blocks: Blocks | None = None) -> None:
        """Say something that only one person sees, in a channel that both are in."""
        check_message(text, blocks)
        body: dict[str, Any] = {"channel": channel, "user": user, "text": text}
        self._call("chat.postEphemeral", body | ({"blocks": [dict(b) for b in blocks]} if blocks else {}))

    def respond(self, url: str, text: str, blocks: Blocks | None = None, *, replace: bool = False) -> None:
        """Answer a command or a click so that only they see it, wherever they are.

        Slack takes five answers at such an address, within thirty minutes.

        Parameters
        ----------
        replace : bool
            Draw the message that was clicked anew.
        """
        check_message(text, blocks)
        if not self._answers_at(url):
            raise PermanentChannelError("this is no address of Slack's to answer at")
        body = {"text": text, "response_type": "ephemeral", "replace_original": replace}
        body |= {"blocks": [dict(b) for b in blocks]} if blocks else {}
        try:
            # Its own client: the address is the permission, and our token has no business there.
            answer = WebhookClient(url, timeout=TIMEOUT_SECONDS, retry_handlers=[]).send_dict(body)
        except (OSError, http.client.HTTPException, SlackClientError) as error:
            raise TransientChannelError(f"Slack was not reached (response_url: {type(error).__name__})") from error
        if answer.status_code != 200:
            log.warning("slack_refused", method="response_url", status=answer.status_code)
            raise PermanentChannelError(f"Slack takes no more answers to this (HTTP {answer.status_code})")

    def _answers_at(self, url: str) -> bool:
        parts, api = urlsplit(url), urlsplit(self.client.base_url)
        host = parts.hostname or ""
        slacks = parts.scheme == "https" and (host.endswith((".slack.com", ".slack-gov.com")))
        return slacks or (parts.scheme, parts.netloc) == (api.scheme, api.netloc)

    def history(self, channel: str, limit: int = 200) -> tuple[list[Mapping[str, Any]], bool]:
        """Return the newest messages of a channel, and whether these are all.

        Metadata are with them where the workspace keeps them.
        """
        body = {"channel": channel, "limit": limit, "include_all_metadata": True}
        answer = self._call("conversations.history", body, form=True)
        return list(answer.get("messages") or []), not answer.get("has_more")

    def replies(self, channel: str, ts: str, limit: int = 1000) -> list[Mapping[str, Any]]:
        """Return the messages of a thread, its first one among them."""
        body = {"channel": channel, "ts": ts, "limit": limit, "include_all_metadata": True}
        return list(self._call("conversations.replies", body, form=True).get("messages") or [])

    # --- People, channels, modals ----------------------------------------------------------------------------

    def open_direct(self, user: str) -> str:
        """Return the channel of the direct messages with a person."""
        return str(self._call("conversations.open", {"users": user})["channel"]["id"])

    def open_modal(self, trigger_id: str, view: Mapping[str, Any], *, on_top: bool = False) -> None:
        """Show a modal, on top of the one that was clicked if asked; the trigger lives three seconds."""
        check_view(view)
        body = {"trigger_id": trigger_id, "view": dict(view)}
        if on_top:
            self._call("views.push", body)
        else:
            self._call("views.open", body)

    def update_modal(self, view_id: str, view: Mapping[str, Any], seen: str = "") -> None:
        """Show a modal anew; raises ViewConflict where it is not the one that was `seen` any more."""
        check_view(view)
        body: dict[str, Any] = {"view_id": view_id, "view": dict(view)}
        self._call("views.update", body | ({"hash": seen} if seen else {}))

    def publish_home(self, user: str, view: Mapping[str, Any], seen: str = "") -> str:
        """Show somebody their Home; return its hash. Raises ViewConflict as `update_modal` does."""
        check_view(view)
        body: dict[str, Any] = {"user_id": user, "view": dict(view)}
        answer = self._call("views.publish", body | ({"hash": seen} if seen else {}))
        return str((answer.get("view") or {}).get("hash") or "")

    def whoami(self) -> SlackResponse:
        """Return `auth.test`: our team, user and bot id; its headers list the scopes."""
        return self._call("auth.test", {})

    def user(self, user: str) -> Mapping[str, Any]:
        """Return what Slack knows of a person."""
        return dict(self._call("users.info", {"user": user}, form=True)["user"])

    def group_members(self, group: str) -> frozenset[str]:
        """Return who is in a user group."""
        return frozenset(self._call("usergroups.users.list", {"usergroup": group}, form=True)["users"])

    def channel(self, channel: str) -> Mapping[str, Any]:
        """Return what Slack knows of a channel."""
        return dict(self._call("conversations.info", {"channel": channel}, form=True)["channel"])

    # --- How -------------------------------------------------------------------------------------------------

    def _call(self, method: str, body: dict[str, Any], *, writes: bool = False, form: bool = False) -> SlackResponse:
        """Call a method; reading methods of Slack take forms, not JSON."""
        if self._shut.is_set():
            raise SlackUnauthorized(
                f"the app was uninstalled or its token revoked ({method}); run `aftercare doctor slack`"
            )
        self._rests.respect(method)
        try:
            if form:
                return self.client.api_call(method, params=body)
            return self.client.api_call(method, json=body)
        except SlackApiError as error:
            refusal = meaning(method, error.response, writes)
            self._rests.note(method, refusal)
            raise refusal from error
        except (OSError, http.client.HTTPException, SlackClientError) as error:
            if not writes or never_arrived(error):
                raise TransientChannelError(f"Slack was not reached ({method}: {type(error).__name__})") from error
            raise UncertainChannelError(
                f"Slack did not answer ({method}: {type(error).__name__}); it may have taken the message"
            ) from error
