"""A loopback server that speaks as much of Slack's Web API as a test tells it: for what local-slack lacks, and for errors."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

from pydantic import SecretStr

from bot.settings import Secrets, Settings, Slack


class ScriptedSlack:
    """A loopback server that answers each method as told: (status, body, headers), or a function of the handler."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        self.calls: list[tuple[str, str]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                method = self.path.rpartition("/")[2]
                body = self.rfile.read(int(self.headers.get("content-length") or 0)).decode()
                outer.calls.append((method, body))
                answer = outer.answers.get(method, (200, {"ok": True}, {}))
                if callable(answer):
                    answer(self)
                    return
                outer.reply(self, answer)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/api/"

    @staticmethod
    def reply(handler: BaseHTTPRequestHandler, answer: tuple[int, dict[str, Any], dict[str, str]]) -> None:
        """Send one answer; for functions of the handler."""
        status, content, headers = answer
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("content-type", "application/json")
        handler.end_headers()
        handler.wfile.write(json.dumps(content).encode())

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def count(self, method: str) -> int:
        """How often a method was called."""
        return [name for name, _ in self.calls].count(method)

    def bodies(self, method: str) -> list[dict[str, Any]]:
        """What each call of a method carried."""
        bodies = [body for name, body in self.calls if name == method]
        return [json.loads(body) if body.startswith("{") else flat(body) for body in bodies]


def flat(form: str) -> dict[str, Any]:
    return {name: values[0] for name, values in parse_qs(form).items()}


@contextmanager
def scripted_slack() -> Iterator[ScriptedSlack]:
    """Start one; a workspace with one channel and one person."""
    server = ScriptedSlack()
    try:
        yield server
    finally:
        server.stop()


def settings_for(url: str, **slack: Any) -> Settings:
    secrets = Secrets(slack_bot_token=SecretStr("xoxb-1"), slack_app_token=SecretStr("xapp-1"), slack_api_base_url=url)
    values = {"mode": "socket", "review_channel": "C1", "agents": ("U1",)}
    return Settings(slack=Slack(**{**values, **slack})).model_copy(update={"secrets": secrets})


def error(code: str, status: int = 200, **headers: str) -> tuple[int, dict[str, Any], dict[str, str]]:
    return status, {"ok": False, "error": code}, headers


def healthy(scripted: ScriptedSlack, scopes: str) -> None:
    me = {"ok": True, "team_id": "T1", "user_id": "U0BOT"}
    scripted.answers["auth.test"] = (200, me, {"x-oauth-scopes": scopes})
    scripted.answers["conversations.info"] = (200, {"ok": True, "channel": {"id": "C1", "is_member": True}}, {})
    scripted.answers["users.info"] = (200, {"ok": True, "user": {"id": "U1", "tz": "Europe/Berlin"}}, {})
    scripted.answers["conversations.history"] = (200, {"ok": True, "messages": []}, {})
    scripted.answers["apps.connections.open"] = (200, {"ok": True, "url": "ws://127.0.0.1:1/"}, {})
