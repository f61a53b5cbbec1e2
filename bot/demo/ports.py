"""Addresses on loopback for what the demo serves: the same ones each time where they are free, so that a tab can be reloaded."""

from __future__ import annotations

import socket

__all__ = ["BOT_PORT", "LOOPBACK", "MAILBOX_PORT", "SLACK_PORT", "free_port", "hold_port", "port_of"]

LOOPBACK = "127.0.0.1"
# In no registry of well-known services, and below the range from which kernels hand out ports.
SLACK_PORT, MAILBOX_PORT, BOT_PORT = 8450, 8451, 8452


def hold_port(wanted: int) -> socket.socket:
    """Return a socket that listens on a port of loopback: the wanted one where nobody does; closing it gives the port free."""
    for port in (wanted, 0):
        listener = socket.socket()
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # one that has just ended is no hindrance
            # Another address of this machine may be taken too: local-slack listens on all of them.
            listener.bind(("" if port else LOOPBACK, port))
            listener.listen(1)
        except OSError:
            listener.close()
            continue
        return listener
    raise OSError("there is no free port on this machine")


def free_port(wanted: int) -> int:
    """Return a port of loopback that nobody listens on: the wanted one where that is so.

    Somebody may take it before it is used; whoever listens says so then.
    """
    with hold_port(wanted) as listener:
        return port_of(listener)


def port_of(listener: socket.socket) -> int:
    """Return the port on which a socket listens."""
    return int(listener.getsockname()[1])
