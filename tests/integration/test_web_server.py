"""The web server in a thread: a free port, a taken port, and an end that lets requests finish."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import httpx
import pytest
from fastapi import FastAPI

from bot.errors import ConfigurationError
from bot.web.server import WebServer


@pytest.fixture
def release() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def app(release: threading.Event, inside: threading.Event) -> FastAPI:
    made = FastAPI()

    @made.get("/slow")
    def slow() -> str:
        inside.set()
        release.wait(10)
        return "done"

    @made.get("/quick")
    def quick() -> str:
        return "done"

    return made


def test_port_zero_is_a_free_port_and_a_taken_one_is_a_configuration_error(release: threading.Event) -> None:
    server = WebServer(app(release, threading.Event()), "127.0.0.1", 0)
    url = server.start()
    try:
        assert httpx.get(f"{url}/quick").json() == "done"
        port = int(url.rpartition(":")[2])
        with pytest.raises(ConfigurationError, match=r"web\.port"):
            WebServer(app(release, threading.Event()), "127.0.0.1", port).start()
    finally:
        server.stop()
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/quick")


def test_a_request_under_way_is_finished_before_the_end(release: threading.Event) -> None:
    inside = threading.Event()
    server = WebServer(app(release, inside), "127.0.0.1", 0)
    url = server.start()
    answers: list[str] = []
    asking = threading.Thread(target=lambda: answers.append(httpx.get(f"{url}/slow", timeout=20).json()))
    asking.start()
    assert inside.wait(10)
    threading.Timer(0.2, release.set).start()
    server.stop()
    asking.join(10)
    assert answers == ["done"]
