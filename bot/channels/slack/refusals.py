"""What Slack's refusals mean: what may be done next, as one of our own errors.

Slack's codes: https://docs.slack.dev/reference/methods/chat.postMessage/#errors. Whoever calls is `api`.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.error import URLError

import structlog

from bot.channels.base import ChannelShutError, DeadAddressError
from bot.errors import ChannelError, PermanentChannelError, TransientChannelError, UncertainChannelError

__all__ = ["SlackUnauthorized", "UnknownMethod", "ViewConflict", "meaning", "never_arrived"]

log = structlog.get_logger(__name__)

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


class SlackUnauthorized(ChannelShutError):
    """Slack refuses our token; run `aftercare doctor slack`."""


class UnknownMethod(ChannelError):
    """This workspace lacks an API method; what needs it is left out."""


class ViewConflict(PermanentChannelError):
    """The view is not the one that was seen any more; draw it anew and show that."""


def never_arrived(error: Exception) -> bool:
    """Say whether the connection failed before anything could be sent."""
    reason = error.reason if isinstance(error, URLError) else error
    return isinstance(reason, ConnectionRefusedError | socket.gaierror | ssl.SSLCertVerificationError)


def meaning(method: str, response: Any, writes: bool) -> ChannelError:
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
    if code == "hash_conflict":
        return ViewConflict(f"the view has changed meanwhile ({method})")
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
