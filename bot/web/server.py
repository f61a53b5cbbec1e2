"""The web server in a thread of the running bot.

`uvicorn.run` would raise a SIGTERM again after its own shutdown; a `Server` in a thread leaves signals to us.
"""

from __future__ import annotations

import socket
import threading
import time

import uvicorn
from fastapi import FastAPI

from bot.errors import ConfigurationError

__all__ = ["WebServer"]

START_SECONDS = 10.0
# Requests under way get so long to end.
DRAIN_SECONDS = 3


class WebServer:
    """Serves one application from `start` to `stop`."""

    def __init__(self, app: FastAPI, host: str, port: int) -> None:
        self._host = host
        self._port = port
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=DRAIN_SECONDS,
            server_header=False,
        )
        self._server = uvicorn.Server(config)
        self._thread: threading.Thread | None = None
        self.url = ""

    def start(self) -> str:
        """Listen and serve; return the real address.

        Raises
        ------
        ConfigurationError
            The host or port cannot be listened on.
        """
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        listener = socket.socket(family)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((self._host, self._port))
        except OSError as error:
            listener.close()
            advice = f"{self._host}:{self._port} cannot be listened on ({error.strerror}); choose another, or 0"
            raise ConfigurationError([("web.port", advice)]) from error
        port = int(listener.getsockname()[1])
        host = f"[{self._host}]" if family == socket.AF_INET6 else self._host
        self.url = f"http://{host}:{port}"
        self._thread = threading.Thread(target=self._server.run, args=([listener],), name="web", daemon=True)
        self._thread.start()
        deadline = time.monotonic() + START_SECONDS
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                raise ConfigurationError([("web.port", f"the web server did not start on {self.url}; see the log")])
            time.sleep(0.005)
        return self.url

    def begin_stop(self) -> None:
        """Take no more requests; those under way may finish."""
        self._server.should_exit = True

    def stop(self) -> None:
        """Finish requests under way, then close."""
        self.begin_stop()
        if self._thread is not None:
            self._thread.join(DRAIN_SECONDS + 2)
