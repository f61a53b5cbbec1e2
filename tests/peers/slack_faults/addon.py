"""mitmproxy add-on: Slack as it is on a bad day, and as strict about payloads as the real one.

It stands before local-slack, which refuses nothing. Rules are set over HTTP on the proxy's own port:

- `POST /_faults/rules` with a list of rules replaces those in force; `POST /_faults/reset` forgets all; `GET /_faults/seen` tells what was called, and how many
  envelopes the app acknowledged and how many were delivered again.
- A rule is `{"method": "chat.postMessage", "do": …, "times": 1, "after": 0, "seconds": 1}`; `method` may be `*`.
  `limit`: 429 with Retry-After, Slack hears nothing. `fail`: 500, Slack hears nothing. `fail_after`: Slack does the work,
  the caller reads a 500. `late`: Slack does the work, the answer comes after `seconds`. `slow`: Slack hears of it after
  `seconds`. `cut`: the connection ends before Slack hears. `lost`: Slack does the work, the connection ends.
- A rule with `"envelope": "interactive"` (or `events_api`, `slash_commands`, `*`) and `"do": "again"` delivers a Socket
  Mode envelope once more `times` times, with `retry_attempt` 1, 2, …; `"do": "swallow"` delivers it not at all.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any
from urllib.parse import parse_qs

from mitmproxy import ctx, http
from payloads import problems_of


class Faults:
    """Keeps the rules, and a record of every call of the Web API."""

    def __init__(self) -> None:
        self.rules: list[dict[str, Any]] = []
        self.seen: list[dict[str, Any]] = []
        self.acknowledged = self.repeated = 0
        self.repeats: set[asyncio.Task[None]] = set()

    # --- Calls of the Web API --------------------------------------------------------------------------------

    async def request(self, flow: http.HTTPFlow) -> None:
        if flow.request.path.startswith("/_faults/"):
            flow.response = self._control(flow.request)
            return
        method = self._method(flow)
        if method is None:
            return
        body = arguments(flow.request)
        record = {"method": method, "body": body, "problems": problems_of(method, body), "did": None}
        self.seen.append(record)
        rule = self._take("method", method)
        if rule is None:
            return
        record["did"] = rule["do"]
        flow.metadata["rule"] = rule
        match rule["do"]:
            case "limit":
                retry = {"retry-after": str(rule.get("seconds", 1)), "content-type": "application/json"}
                flow.response = http.Response.make(429, b'{"ok": false, "error": "ratelimited"}', retry)
            case "fail":
                flow.response = broken()
            case "slow":
                await asyncio.sleep(rule["seconds"])
            case "cut":
                flow.kill()

    async def response(self, flow: http.HTTPFlow) -> None:
        self._through_here(flow)
        rule = flow.metadata.get("rule") or {}
        match rule.get("do"):
            case "fail_after":
                flow.response = broken()
            case "late":
                await asyncio.sleep(rule["seconds"])
            case "lost":
                flow.kill()

    # --- Envelopes of Socket Mode ------------------------------------------------------------------------------

    def websocket_message(self, flow: http.HTTPFlow) -> None:
        assert flow.websocket is not None
        message = flow.websocket.messages[-1]
        if message.injected or not message.is_text:
            return
        with contextlib.suppress(ValueError):
            envelope = json.loads(message.text)
            if not isinstance(envelope, dict) or "envelope_id" not in envelope:
                return
            if message.from_client:
                self.acknowledged += 1
            else:
                self._envelope(flow, message, envelope)

    def _envelope(self, flow: http.HTTPFlow, message: Any, envelope: dict[str, Any]) -> None:
        rule = self._take("envelope", str(envelope.get("type")), at_once=True)
        if rule is None:
            return
        if rule["do"] == "swallow":
            message.drop()
            return
        for attempt in range(1, int(rule.get("times", 1)) + 1):
            again = {**envelope, "retry_attempt": attempt, "retry_reason": "timeout"}
            task = asyncio.get_running_loop().create_task(
                self._repeat(flow, again, attempt * rule.get("seconds", 0.05))
            )
            self.repeats.add(task)
            task.add_done_callback(self.repeats.discard)

    async def _repeat(self, flow: http.HTTPFlow, envelope: dict[str, Any], seconds: float) -> None:
        await asyncio.sleep(seconds)
        ctx.master.commands.call("inject.websocket", flow, True, json.dumps(envelope).encode(), True)
        self.repeated += 1

    # --- How ---------------------------------------------------------------------------------------------------

    def _control(self, request: http.Request) -> http.Response:
        if request.path == "/_faults/rules" and request.method == "POST":
            self.rules = json.loads(request.get_text() or "[]")
            return answer({"ok": True})
        if request.path == "/_faults/reset" and request.method == "POST":
            self.rules, self.seen, self.acknowledged, self.repeated = [], [], 0, 0
            return answer({"ok": True})
        if request.path == "/_faults/seen":
            return answer({"seen": self.seen, "acknowledged": self.acknowledged, "repeated": self.repeated})
        return http.Response.make(404, b"no such control")

    def _method(self, flow: http.HTTPFlow) -> str | None:
        path = flow.request.path.partition("?")[0]
        return path.removeprefix("/api/") if path.startswith("/api/") else None

    def _take(self, what: str, name: str, *, at_once: bool = False) -> dict[str, Any] | None:
        """Return the rule that holds for this one, and count it down; `at_once` uses all its times in one go."""
        for rule in self.rules:
            if rule.get(what) not in (name, "*"):
                continue
            if rule.get("after", 0) > 0:
                rule["after"] -= 1
                return None
            times = rule.get("times", 1)
            if rule.get("spent", 0) >= (1 if at_once else times):
                continue
            rule["spent"] = rule.get("spent", 0) + 1
            return rule
        return None

    def _through_here(self, flow: http.HTTPFlow) -> None:
        """Let Socket Mode connect to this proxy, too."""
        if self._method(flow) == "apps.connections.open" and flow.response is not None:
            found = flow.response.json()
            if found.get("url"):
                _, _, path = found["url"].removeprefix("ws://").partition("/")
                found["url"] = f"ws://127.0.0.1:{ctx.options.listen_port}/{path}"
                flow.response.text = json.dumps(found)


def arguments(request: http.Request) -> dict[str, Any]:
    """Return what a method was called with, sent as JSON, as a form or in the address."""
    found: dict[str, Any] = dict(request.query)
    text = request.get_text() or ""
    if "json" in request.headers.get("content-type", ""):
        return found | (json.loads(text) if text else {})
    return found | {name: values[-1] for name, values in parse_qs(text).items()}


def answer(body: dict[str, Any]) -> http.Response:
    return http.Response.make(200, json.dumps(body), {"content-type": "application/json"})


def broken() -> http.Response:
    return http.Response.make(500, b'{"ok": false, "error": "internal_error"}', {"content-type": "application/json"})


addons = [Faults()]
