"""A real Slack peer for tests: starts `local-slack`, plays people in it, reads what the app did there.

What was learned about the program (npm `local-slack-linux-x64` 0.1.8, one binary, no documentation in the package):

- `bin/local-slack --config FILE --port 0 --base-host 127.0.0.1` takes a free port and prints `Web UI: http://…` when it
  listens. `--base-host` goes into the Socket Mode address that it hands out.
- The configuration (YAML or JSON) has `workspace {name, domain, teamId}`, `app {appId, botUserId, botName, botToken,
  appToken, signingSecret, mode: socket|events, requestUrl}` or a list `apps`, `users [{id, name, real_name, email, tz}]`
  and `channels [{id, name, is_private, members: [user ids]}]`. Events of a channel reach only apps that are members.
- `/api/METHOD` answers Slack's Web API; an unknown method gives `unknown_method`. Neither tokens nor payloads are checked,
  message metadata are dropped, DMs get made by `conversations.open`, `chat.postEphemeral` becomes a message with
  `subtype: ephemeral` and `ephemeral_to`.
- `/_control/…` plays people: POST message, command, interact, open-home, reaction, edit-message, delete-message, reset;
  GET state, messages/CHANNEL, log (the last 1,000 records of all traffic). A POST returns when the app has acknowledged,
  or after five seconds.
- The browser's WebSocket `/ui` first sends `{"t": "init", "state": {…, "modalStack": […]}}`, then every change; sending
  `{"t": "view_submit", "user": U, "values": {BLOCK: {ACTION: {…}}}}` submits the topmost modal. One stack of modals serves
  the whole workspace, so tests open and submit one after the other. A new modal shows as `{"t": "view", "stack": […]}`,
  errors on fields as `{"t": "view_errors", "errors": {…}}`.
- App Home: `init` names what was published as `homeViews: {USER: {APP: VIEW}}`, a new one comes as `{"t": "home", "user",
  "appId", "view"}`; sending `{"t": "block_action", "user": U, "appId": A, "action": {…}}` clicks in it. Clicks in Home and in modals
  reach the app without their view and its hash (Slack sends both), and no view has a hash. Questions before a button acts
  (`confirm`) are not asked.
- `response_url` works as in Slack, as often as one likes.
- Every event goes to every open Socket Mode connection: two connections are a free test of duplicates.
"""

from __future__ import annotations

import json
import queue
import re
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml

from tests.peers import missing_peer

BINARY = Path(__file__).parent / "slack" / "node_modules" / "local-slack-linux-x64" / "bin" / "local-slack"
BOT_TOKEN = "xoxb-test-token"
APP_TOKEN = "xapp-test-token"
SIGNING_SECRET = "test-signing-secret"
TEAM = "T01CARE"
APP = "A01AFTERCARE"
BOT_USER = "U0AFTERCARE"
REVIEW_CHANNEL = "C01REVIEW"

T = TypeVar("T")


def until(probe: Callable[[], T | None], what: str, seconds: float = 10.0) -> T:
    """Poll a condition on a real server until it holds; fail naming what never came."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = probe()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"within {seconds:g} s there was no {what}")


@dataclass(frozen=True, kw_only=True)
class Person:
    """Somebody in the workspace."""

    id: str
    name: str
    real_name: str
    email: str = ""
    tz: str = "Europe/Berlin"


@dataclass(kw_only=True)
class LocalSlack:
    """A running workspace."""

    base_url: str
    process: subprocess.Popen[str]
    people: Sequence[Person] = field(default_factory=tuple)

    @property
    def api_url(self) -> str:
        """What `SLACK_API_BASE_URL` must be."""
        return f"{self.base_url}/api/"

    @property
    def pid(self) -> int:
        return self.process.pid

    def stop(self) -> None:
        """End the server by its process id."""
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(5)
        if self.process.stdout:
            self.process.stdout.close()

    # --- Playing people --------------------------------------------------------------------------------

    def say(self, user: str, text: str, channel: str | None = None, thread_ts: str | None = None) -> dict[str, Any]:
        """Write as a person, in a channel or, where none is named, to the app."""
        body = {"channel": channel or self.dm(user), "user": user, "text": text}
        return self._control("message", body | ({"thread_ts": thread_ts} if thread_ts else {}))["message"]

    def edit_message(self, user: str, channel: str, ts: str, text: str) -> None:
        self._control("edit-message", {"channel": channel, "ts": ts, "user": user, "text": text})

    def delete_message(self, user: str, channel: str, ts: str) -> None:
        self._control("delete-message", {"channel": channel, "ts": ts, "user": user})

    def command(self, user: str, command: str, text: str = "", channel: str = REVIEW_CHANNEL) -> None:
        self._control("command", {"channel": channel, "user": user, "command": command, "text": text})

    def open_home(self, user: str) -> None:
        self._control("open-home", {"user": user})

    def click(
        self, user: str, message: dict[str, Any], action_id: str, option: str | None = None, value: str | None = None
    ) -> None:
        """Click a button of a message, or choose the option of its overflow menu whose value begins with `option`.

        The element must be there, as a person could not click it otherwise; `value` sends another value than it shows.
        """
        block_id, element = find_element(message, action_id)
        action: dict[str, Any] = {"type": element["type"], "action_id": action_id, "block_id": block_id}
        if option is not None:
            action["selected_option"] = next(o for o in element["options"] if o["value"].startswith(option))
        else:
            action |= {"value": element["value"] if value is None else value, "text": element.get("text")}
        self.interact(user, message, action)

    def interact(self, user: str, message: dict[str, Any], action: dict[str, Any]) -> None:
        """Send a click exactly as given, also one that the message no longer offers."""
        self._control(
            "interact", {"channel": message["channel"], "messageTs": message["ts"], "user": user, "action": action}
        )

    # --- Reading what is there ---------------------------------------------------------------------------

    def messages(self, channel: str = REVIEW_CHANNEL) -> list[dict[str, Any]]:
        return list(self._get(f"messages/{channel}")["messages"])

    def dm(self, user: str) -> str:
        """Return the channel of a person's direct messages with the app."""
        opened = self._post(f"{self.api_url}conversations.open", {"users": user}, token=BOT_TOKEN)
        return str(opened["channel"]["id"])

    def log(self, kind: str | None = None, summary: str | None = None) -> list[dict[str, Any]]:
        """Return the traffic between Slack and the app, oldest first."""
        entries = self._get("log")["log"]
        return [
            e for e in entries if (kind is None or e["kind"] == kind) and (summary is None or e["summary"] == summary)
        ]

    def calls(self, method: str) -> list[dict[str, Any]]:
        """Return the arguments of every Web API call of one method."""
        return [entry.get("detail") or {} for entry in self.log("web_api", method)]

    def browser(self) -> Browser:
        """Open the page's WebSocket, to see and submit modals."""
        return Browser(self.base_url)

    def _get(self, path: str) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.base_url}/_control/{path}", timeout=10) as answer:
            return dict(json.load(answer))

    def _control(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        return self._post(f"{self.base_url}/_control/{path}", body)

    def _post(self, url: str, body: dict[str, Any], token: str = "") -> dict[str, Any]:
        headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {token}"} if token else {})
        request = urllib.request.Request(url, json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=15) as answer:
            return dict(json.load(answer))


class Browser:
    """The page of local-slack as a program: it sees modals and submits them."""

    def __init__(self, base_url: str) -> None:
        import websocket  # only the tests have it

        self._socket = websocket.create_connection(base_url.replace("http://", "ws://") + "/ui", timeout=15)
        self._frames: queue.Queue[dict[str, Any]] = queue.Queue()
        self.stack: list[dict[str, Any]] = []
        self.homes: dict[str, dict[str, Any]] = {}
        self.errors: dict[str, str] = {}
        self._closed = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while not self._closed.is_set():
            try:
                text = self._socket.recv()
            except Exception:
                return
            if not text:
                return
            frame = json.loads(text)
            if frame["t"] == "init":
                self.stack = frame["state"]["modalStack"]
                self.homes = {user: next(iter(views.values())) for user, views in frame["state"]["homeViews"].items()}
            elif frame["t"] == "view":
                self.stack = frame["stack"]
            elif frame["t"] == "home":
                self.homes = self.homes | {frame["user"]: frame["view"]}
            elif frame["t"] == "view_errors":
                self.errors = frame["errors"]

    def modal(self, callback_id: str) -> dict[str, Any]:
        """Wait for a modal and return it."""

        def shown() -> dict[str, Any] | None:
            return self.stack[-1] if self.stack and self.stack[-1].get("callback_id") == callback_id else None

        return until(shown, f"modal {callback_id}")

    def home(self, user: str, shows: str = "") -> dict[str, Any]:
        """Wait until somebody's Home shows some words, and return it."""

        def shown() -> dict[str, Any] | None:
            view = self.homes.get(user)
            return view if view is not None and shows in shown_text(view) else None

        return until(shown, f"Home of {user} that shows {shows!r}")

    def press(self, user: str, view: dict[str, Any], action_id: str, option: str | None = None) -> None:
        """Click a button of a view, or choose the option with a value."""
        block_id, element = find_element(view, action_id)
        action: dict[str, Any] = {"type": element["type"], "action_id": action_id, "block_id": block_id}
        if option is not None:
            action["selected_option"] = next(o for o in element["options"] if o["value"] == option)
        else:
            action |= {"value": element["value"], "text": element.get("text")}
        self._socket.send(json.dumps({"t": "block_action", "user": user, "appId": APP, "action": action}))

    def submit(self, user: str, **inputs: dict[str, Any]) -> None:
        """Submit the topmost modal; inputs by block: `draft={"text": {"value": …}}`."""
        self.errors = {}
        self._socket.send(json.dumps({"t": "view_submit", "user": user, "values": inputs}))

    def settled(self) -> dict[str, str]:
        """Wait until the submitted modal closed (no errors) or showed errors on its fields; return them."""
        until(lambda: bool(self.errors) or not self.stack, "answer to the modal")
        return self.errors

    def close(self) -> None:
        self._closed.set()
        self._socket.close()
        self._reader.join(5)

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def find_element(message: dict[str, Any], action_id: str) -> tuple[str, dict[str, Any]]:
    """Return (block_id, element) of an interactive element; a missing one is a failed test."""
    for block in message.get("blocks") or []:
        for element in [*block.get("elements", []), block.get("accessory") or {}]:
            if element.get("action_id") == action_id:
                return str(block.get("block_id", "")), element
    raise AssertionError(f"the message {message.get('ts')} shows no element {action_id}")


def shown_text(message: dict[str, Any]) -> str:
    """Return every text that a message shows, one block a line."""
    texts: list[str] = []

    def walk(node: Any) -> None:
        if isinstance(node, dict):
            if node.get("type") in ("mrkdwn", "plain_text") and isinstance(node.get("text"), str):
                texts.append(node["text"])
            for value in node.values():
                walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)

    walk(message.get("blocks") or [])
    return "\n".join(texts)


def start_local_slack(
    folder: Path,
    people: Sequence[Person],
    members: Sequence[str] | None = None,
    team: str = TEAM,
    request_url: str | None = None,
) -> LocalSlack:
    """Start a workspace with one private review channel; the caller stops it.

    Parameters
    ----------
    folder : Path
        Where the configuration, the log and uploaded files go.
    people : sequence of Person
        Everybody in the workspace besides the app.
    members : sequence of str, optional
        Who is in the review channel besides the app; everybody where it is left out.
    request_url : str, optional
        Where the app takes signed HTTP requests; Socket Mode where it is left out.
    """
    if not BINARY.is_file():
        missing_peer("local-slack is not installed: run `npm ci` in tests/peers/slack")
    config = {
        "workspace": {"name": "Care Team", "domain": "care-team", "teamId": team},
        "app": {
            "appId": APP,
            "botUserId": BOT_USER,
            "botName": "Aftercare",
            "botToken": BOT_TOKEN,
            "appToken": APP_TOKEN,
            "signingSecret": SIGNING_SECRET,
            **({"mode": "events", "requestUrl": request_url} if request_url else {"mode": "socket"}),
        },
        "users": [
            {"id": p.id, "name": p.name, "real_name": p.real_name, "tz": p.tz} | ({"email": p.email} if p.email else {})
            for p in people
        ],
        "channels": [
            {
                "id": REVIEW_CHANNEL,
                "name": "aftercare-review",
                "is_private": True,
                "members": [BOT_USER, *(members if members is not None else [p.id for p in people])],
            }
        ],
    }
    (folder / "files").mkdir(parents=True, exist_ok=True)
    file = folder / "local-slack.yaml"
    file.write_text(yaml.safe_dump(config), encoding="utf-8")
    process = subprocess.Popen(
        [
            str(BINARY),
            "--config",
            str(file),
            "--port",
            "0",
            "--base-host",
            "127.0.0.1",
            "--files-dir",
            str(folder / "files"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
    )
    assert process.stdout is not None
    printed: list[str] = []
    for line in process.stdout:
        printed.append(line)
        if found := re.search(r"Web UI:\s+(http://\S+)", line):
            threading.Thread(target=_drain, args=(process.stdout,), daemon=True).start()
            return LocalSlack(base_url=found.group(1).rstrip("/"), process=process, people=tuple(people))
    process.wait(5)
    raise AssertionError(f"local-slack did not start: {''.join(printed)}")


def _drain(stream: Any) -> None:
    try:
        for _ in stream:
            pass
    except ValueError:  # closed while the server ends
        return
