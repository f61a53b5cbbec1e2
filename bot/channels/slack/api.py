"""The Web API as this product uses it: a few calls, each checked, paced, and its errors given a meaning.

Whatever is odd about Slack's answers ends here: everybody above sees evidence or one of the three channel errors. What
is posted, and when, is decided above.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from typing import Any
from urllib.error import URLError
from urllib.parse import urlsplit

import structlog
from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.web import SlackResponse

from bot.channels.base import DeadAddressError
from bot.channels.slack.checks import Blocks, check_message, check_view
from bot.channels.slack.resting import Rests
from bot.config import Settings
from bot.errors import (
    ChannelError,
    ConfigurationError,
    PermanentChannelError,
    TransientChannelError,
    UncertainChannelError,
)

__all__ = ["Pace", "SlackApi", "SlackUnauthorized", "UnknownMethod"]

log = structlog.get_logger(__name__)

# https://docs.slack.dev/apis/web-api/rate-limits: about one message a second and channel.
SECONDS_BETWEEN_POSTS = 1.1
TIMEOUT_SECONDS = 10
# Slack's own errors by what may be done next (https://docs.slack.dev/reference/methods/chat.postMessage/#errors).
# The token is at fault, not the recipient: nothing was delivered, and nothing will be until somebody mends it.
_UNAUTHORIZED = frozenset(
    {
        "account_inactive", "ekm_access_denied", "enterprise_is_restricted", "invalid_auth", "missing_scope",
        "no_permission", "not_allowed_token_type", "not_authed", "org_login_required", "team_access_not_granted",
        "token_expired", "token_revoked", "two_factor_setup_required", "access_denied",
    }
)  # fmt: skip
# The person is gone from the workspace.
_DEAD = frozenset({"user_disabled", "user_not_found", "users_not_found"})
_TRANSIENT = frozenset(
    {"ratelimited", "rate_limited", "message_limit_exceeded", "team_added_to_org", "request_timeout", "accesslimited"}
)
# Slack says of these that some of the work may have been done.
_UNCERTAIN = frozenset({"fatal_error", "internal_error", "service_unavailable"})


class SlackUnauthorized(TransientChannelError):
    """Slack refuses our token; run `aftercare doctor slack`."""


class UnknownMethod(ChannelError):
    """This workspace lacks an API method; what needs it is left out."""


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

    def whisper(self, channel: str, user: str, text: str) -> None:
        """Say something that only one person sees."""
        check_message(text, None)
        self._call("chat.postEphemeral", {"channel": channel, "user": user, "text": text})

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

    def open_modal(self, trigger_id: str, view: Mapping[str, Any]) -> None:
        """Show a modal; the trigger lives three seconds."""
        check_view(view)
        self._call("views.open", {"trigger_id": trigger_id, "view": dict(view)})

    def whoami(self) -> SlackResponse:
        """Return `auth.test`: our team, user and bot id; its headers list the scopes."""
        return self._call("auth.test", {})

    def user(self, user: str) -> Mapping[str, Any]:
        """Return what Slack knows of a person."""
        return dict(self._call("users.info", {"user": user}, form=True)["user"])

    def channel(self, channel: str) -> Mapping[str, Any]:
        """Return what Slack knows of a channel."""
        return dict(self._call("conversations.info", {"channel": channel}, form=True)["channel"])

    # --- How -------------------------------------------------------------------------------------------------

    def _call(self, method: str, body: dict[str, Any], *, writes: bool = False, form: bool = False) -> SlackResponse:
        """Call a method; reading methods of Slack take forms, not JSON."""
        self._rests.respect(method)
        try:
            if form:
                return self.client.api_call(method, params=body)
            return self.client.api_call(method, json=body)
        except SlackApiError as error:
            meaning = _meaning(method, error.response, writes)
            self._rests.note(method, meaning)
            raise meaning from error
        except (OSError, http.client.HTTPException, SlackClientError) as error:
            if not writes or _never_arrived(error):
                raise TransientChannelError(f"Slack was not reached ({method}: {type(error).__name__})") from error
            raise UncertainChannelError(
                f"Slack did not answer ({method}: {type(error).__name__}); it may have taken the message"
            ) from error


def _never_arrived(error: Exception) -> bool:
    """Say whether the connection failed before anything could be sent."""
    reason = error.reason if isinstance(error, URLError) else error
    return isinstance(reason, ConnectionRefusedError | socket.gaierror | ssl.SSLCertVerificationError)


def _meaning(method: str, response: Any, writes: bool) -> ChannelError:
    """Turn Slack's refusal into what may be done next."""
    status = int(getattr(response, "status_code", 200) or 200)
    data = response.data if isinstance(getattr(response, "data", None), dict) else {}
    code = str(data.get("error") or f"HTTP {status}")
    log.warning("slack_refused", method=method, error=code, status=status)
    if status == 429 or code in _TRANSIENT:
        return TransientChannelError(f"Slack asks to wait ({method})", retry_after=_retry_after(response))
    if code in _UNAUTHORIZED:
        needed = f"; missing: {data['needed']}" if data.get("needed") else ""
        return SlackUnauthorized(f"Slack refuses our token: {code} ({method}){needed}; run `aftercare doctor slack`")
    if code == "unknown_method":
        return UnknownMethod(f"this workspace lacks {method}")
    if status >= 500 or code in _UNCERTAIN:
        if writes:
            return UncertainChannelError(f"Slack failed in the middle ({method}: {code}); it may have done the work")
        return TransientChannelError(f"Slack fails at the moment ({method}: {code})")
    if code in _DEAD:
        return DeadAddressError(f"this person is not in the workspace any more ({method}: {code})")
    return PermanentChannelError(f"Slack refuses for good ({method}: {code})")


def _retry_after(response: Any) -> float | None:
    headers: Mapping[str, Any] = getattr(response, "headers", None) or {}
    for name, value in headers.items():
        if name.lower() == "retry-after":
            try:
                return float(value[0] if isinstance(value, list) else value)
            except (TypeError, ValueError):
                return None
    return None
