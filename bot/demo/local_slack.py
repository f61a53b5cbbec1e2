"""Starts local-slack, a Slack-speaking server on loopback, and plays its people: agents click, customers write.

The binary comes from npm (`tests/peers/slack`); `AFTERCARE_LOCAL_SLACK` names it. The product itself is pointed at
it by `SLACK_API_BASE_URL` like at any Slack. What a person sees is read back from the server, never from our tables.
"""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar
from urllib.parse import urlsplit

import yaml

from bot.demo.ui_socket import UiSocket
from bot.errors import ChannelError

BOT_TOKEN = "xoxb-local-demo"  # noqa: S105 - local-slack takes any
APP_TOKEN = "xapp-local-demo"  # noqa: S105
TEAM = "T0DEMO"
BOT_USER = "U0AFTERCARE"
REVIEW_CHANNEL = "C0REVIEW"

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Person:
    """Somebody in the workspace."""

    id: str
    name: str
    email: str = ""
    timezone: str = "Europe/Berlin"


AGENTS = (Person(id="U0ADA", name="Ada (support)"), Person(id="U0LIN", name="Lin (support)"))


def until(probe: Callable[[], T | None], what: str, seconds: float = 20.0) -> T:
    """Poll until something is there.

    Raises
    ------
    ChannelError
        It did not come in time; the message says what was awaited.
    """
    deadline = time.monotonic() + seconds
    while True:
        found = probe()
        if found:
            return found
        if time.monotonic() > deadline:
            raise ChannelError(f"after {seconds:g} seconds there is still no {what}")
        threading.Event().wait(0.03)


class LocalSlack:
    """A running workspace with one review channel."""

    def __init__(self, process: subprocess.Popen[str] | None, base_url: str) -> None:
        self._process = process
        self.base_url = base_url

    @classmethod
    def at(cls, base_url: str) -> LocalSlack:
        """Return one that somebody else started, and will end."""
        return cls(None, base_url)

    @classmethod
    def start(
        cls, binary: Path, folder: Path, people: Sequence[Person], agents: Sequence[Person] = AGENTS, *, port: int = 0
    ) -> LocalSlack:
        """Start the server.

        Parameters
        ----------
        port : int
            0: any free one.

        Raises
        ------
        ChannelError
            The binary is missing, is for another machine, or does not say that it listens.
        """
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / "local-slack.yaml"
        file.write_text(yaml.safe_dump(_workspace(people, agents), allow_unicode=True), encoding="utf-8")
        command = [str(binary), "--config", str(file), "--port", str(port), "--base-host", "127.0.0.1"]
        try:
            process = subprocess.Popen(  # noqa: S603 - the binary that our own Makefile installed
                [*command, "--files-dir", str(folder / "files")],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                encoding="utf-8",
                start_new_session=True,  # Ctrl-C is for the demo, which then ends the server itself
            )
        except OSError as error:
            raise ChannelError(f"local-slack cannot be started from {binary} ({error})") from error
        printed: list[str] = []
        assert process.stdout is not None
        for line in process.stdout:
            printed.append(line)
            if found := re.search(r"Web UI:\s+(http://\S+)", line):
                threading.Thread(target=_drain, args=(process.stdout,), daemon=True).start()
                return cls(process, found.group(1).rstrip("/"))
        process.stdout.close()
        process.wait(5)
        raise ChannelError(f"local-slack did not start: {' '.join(printed).strip() or 'it said nothing'}")

    @property
    def api_url(self) -> str:
        """What `SLACK_API_BASE_URL` must be."""
        return f"{self.base_url}/api/"

    def stop(self) -> None:
        """End the server, if it was started here."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(5)
        if self._process.stdout:
            self._process.stdout.close()

    # --- Playing people --------------------------------------------------------------------------------

    def say(self, user: str, text: str) -> None:
        """Write to the bot as a customer, in the direct messages."""
        self._control("message", {"channel": user, "user": user, "text": text})

    def click(self, user: str, message: dict[str, Any], action_id: str, option: str | None = None) -> None:
        """Click a button that the message shows, or choose the entry of its overflow menu that begins with `option`."""
        block_id, element = find_element(message, action_id)
        action = {"type": element["type"], "action_id": action_id, "block_id": block_id}
        if option is not None:
            action["selected_option"] = next(o for o in element["options"] if o["value"].startswith(option))
        else:
            action |= {"value": element.get("value"), "text": element.get("text")}
        where = {"channel": message["channel"], "messageTs": message["ts"], "user": user}
        self._control("interact", where | {"action": action})

    def click_and_submit(
        self,
        user: str,
        message: dict[str, Any],
        action_id: str,
        callback_id: str,
        inputs: dict[str, dict[str, Any]],
        option: str | None = None,
    ) -> dict[str, Any]:
        """Open a modal by a click, submit it, and return the modal as it was shown.

        Parameters
        ----------
        inputs : dict
            By block, then action: `{"draft": {"text": {"type": "plain_text_input", "value": …}}}`.
        """
        with UiSocket(self.base_url) as page:
            page.receive()  # the state at the start
            self.click(user, message, action_id, option)
            modal = _awaited(page, lambda frame: _top_modal(frame, callback_id))
            page.send({"t": "view_submit", "user": user, "values": inputs})
            errors = _awaited(page, _answer_to_modal)
        if errors:
            raise ChannelError(f"the modal {callback_id} was not accepted: {errors}")
        return modal

    # --- Reading what people see -------------------------------------------------------------------------

    def messages(self, channel: str = REVIEW_CHANNEL) -> list[dict[str, Any]]:
        """Return all messages of a channel, oldest first."""
        return list(self._get(f"messages/{channel}")["messages"])

    def customers(self) -> list[str]:
        """Return the user ids of everybody but the app and the agents."""
        agents = {agent.id for agent in AGENTS}
        return [user["id"] for user in self._get("state")["users"] if not user["is_bot"] and user["id"] not in agents]

    def direct_messages(self, user: str) -> list[dict[str, Any]]:
        """Return what the bot and one person wrote to each other."""
        channels = self._get("state")["channels"]
        own = [c["id"] for c in channels if c.get("is_im") and user in c["members"]]
        return [message for channel in own for message in self.messages(channel)]

    def _get(self, path: str) -> dict[str, Any]:
        return self._call("GET", path)

    def _control(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        return self._call("POST", path, json.dumps(body).encode())

    def _call(self, method: str, path: str, body: bytes | None = None) -> dict[str, Any]:
        # Straight to loopback: urllib would ask a proxy that the environment names.
        connection = http.client.HTTPConnection(urlsplit(self.base_url).netloc, timeout=15)
        try:
            connection.request(method, f"/_control/{path}", body, {"content-type": "application/json"})
            answer = connection.getresponse()
            text = answer.read()
            if answer.status != 200:
                raise ChannelError(f"local-slack refused {method} {path}: {answer.status} {text[:200]!r}")
            return dict(json.loads(text))
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise ChannelError(f"local-slack does not answer at {self.base_url} ({error})") from error
        finally:
            connection.close()


def find_element(message: dict[str, Any], action_id: str) -> tuple[str, dict[str, Any]]:
    """Return (block_id, element) of something that can be clicked.

    Raises
    ------
    ChannelError
        The message does not show it.
    """
    for block in message.get("blocks") or []:
        for element in [*block.get("elements", []), block.get("accessory") or {}]:
            if element.get("action_id") == action_id:
                return str(block.get("block_id", "")), element
    raise ChannelError(f"the message shows no {action_id}: {shown_text(message)[:200]}")


def shown_text(message: dict[str, Any]) -> str:
    """Return what a message shows, a block a line."""
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
    return as_read("\n".join(texts) or str(message.get("text", "")))


def as_read(text: str) -> str:
    """Return a text as Slack's page shows it: people by name, `&amp;` as what it stands for."""
    for agent in AGENTS:
        text = text.replace(f"<@{agent.id}>", f"@{agent.name}")
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def _workspace(people: Sequence[Person], agents: Sequence[Person]) -> dict[str, Any]:
    everybody = [*agents, *people]
    return {
        "workspace": {"name": "Aftercare demo", "domain": "aftercare-demo", "teamId": TEAM},
        "app": {
            "appId": "A0AFTERCARE",
            "botUserId": BOT_USER,
            "botName": "Aftercare",
            "botToken": BOT_TOKEN,
            "appToken": APP_TOKEN,
            "mode": "socket",
        },
        "users": [
            {"id": p.id, "name": p.name, "real_name": p.name, "tz": p.timezone}
            | ({"email": p.email} if p.email else {})
            for p in everybody
        ],
        "channels": [
            {
                "id": REVIEW_CHANNEL,
                "name": "aftercare-review",
                "is_private": True,
                "members": [BOT_USER, *(agent.id for agent in agents)],
            }
        ],
    }


def _awaited(page: UiSocket, wanted: Callable[[dict[str, Any]], T | None]) -> T:
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        found = wanted(page.receive())
        if found is not None:
            return found
    raise ChannelError("local-slack's page did not show what was awaited")


def _top_modal(frame: dict[str, Any], callback_id: str) -> dict[str, Any] | None:
    stack = frame.get("stack") or []
    return stack[-1] if frame.get("t") == "view" and stack and stack[-1].get("callback_id") == callback_id else None


def _answer_to_modal(frame: dict[str, Any]) -> dict[str, str] | None:
    if frame.get("t") == "view_errors":
        return dict(frame.get("errors") or {})
    return {} if frame.get("t") == "view" and not frame.get("stack") else None


def _drain(stream: IO[str]) -> None:
    try:
        for _ in stream:
            pass
    except ValueError:  # closed while the server ends
        return
