"""When a delivery that failed for now is tried again: exponential, with jitter that is the same at every asking."""

from __future__ import annotations

import hashlib
from datetime import timedelta

# An outage of hours is met by a try every few hours, not by one after days.
LONGEST = timedelta(hours=4)


def delay(key: str, attempt: int, base: timedelta, retry_after: timedelta | None = None) -> timedelta:
    """Return how long to wait after an attempt that failed for now.

    Parameters
    ----------
    key : str
        The delivery key; it seeds the jitter, so that many messages that failed together do not return together.
    attempt : int
        1 for the first attempt; the wait doubles with each.
    retry_after : timedelta, optional
        What the channel asked for; never undercut.

    Returns
    -------
    timedelta
        Between 0.75 and 1.25 of `base · 2^(attempt-1)`, at most `LONGEST` times 1.25.
    """
    share = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") / 2**64
    doubled: timedelta = min(base * (1 << min(attempt - 1, 20)), LONGEST)
    waited = doubled * (0.75 + 0.5 * share)
    return waited if retry_after is None else max(waited, retry_after)


def exhausted(attempt: int, max_attempts: int) -> bool:
    """Say whether this was the last attempt; a replay of the dead letter gets as many again."""
    return attempt % max_attempts == 0
