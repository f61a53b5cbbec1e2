"""Addresses on loopback for what the demo serves: the same ones each time where they are free, so that a tab can be reloaded."""

from __future__ import annotations

import socket

__all__ = ["BOT_PORT", "LOOPBACK", "MAILBOX_PORT", "SLACK_PORT", "free_port"]

LOOPBACK = "127.0.0.1"
# In no registry of well-known services, and below the range from which kernels hand out ports.
SLACK_PORT, MAILBOX_PORT, BOT_PORT = 8450, 8451, 8452


def free_port(wanted: int) -> int:
    """Return a port of loopback that nobody listens on: the wanted one where that is so.

    Somebody may take it before it is used; whoever listens says so then.
    """
    for port in (wanted, 0):
        with socket.socket() as listener:
            try:
                listener.setsockopt(
                    socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
                )  # one that has just ended is no hindrance
                # Another address of this machine may be taken too: local-slack listens on all of them.
                listener.bind(("" if port else LOOPBACK, port))
                listener.listen(1)
            except OSError:
                continue
            return int(listener.getsockname()[1])
    raise OSError("there is no free port on this machine")
