"""Slack's Retry-After, kept: a method that Slack asked to leave alone is not called before the time it named.

The limits are per method (https://docs.slack.dev/apis/web-api/rate-limits/); keeping one's own pace is `api.Pace`'s business.
"""

from __future__ import annotations

import threading
import time

from bot.errors import ChannelError, TransientChannelError

__all__ = ["Rests"]

LONGEST_SECONDS = 3600.0


class Rests:
    """Until when which method rests, in this process; safe to share between threads."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}
        self._lock = threading.Lock()

    def respect(self, method: str) -> None:
        """Return where the method may be called.

        Raises
        ------
        TransientChannelError
            It rests; `retry_after` says for how many more seconds.
        """
        with self._lock:
            left = self._until.get(method, 0.0) - time.monotonic()
        if left > 0:
            raise TransientChannelError(f"Slack asked to wait ({method})", retry_after=left)

    def note(self, method: str, error: ChannelError) -> None:
        """Let the method rest for as long as Slack's refusal says, at most an hour."""
        seconds = error.retry_after if isinstance(error, TransientChannelError) else None
        if seconds is None or not seconds > 0:
            return
        until = time.monotonic() + min(seconds, LONGEST_SECONDS)
        with self._lock:
            self._until[method] = max(until, self._until.get(method, 0.0))
