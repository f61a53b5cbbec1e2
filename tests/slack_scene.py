"""The product beside a scripted Slack, spoken to by signed requests as over HTTP."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from typing import Any
from urllib.parse import urlencode

import sqlalchemy as sa
from pydantic import SecretStr

from bot.channels.slack.api import SlackApi
from bot.channels.slack.connection import SlackConnection
from bot.channels.slack.doctor import needed_scopes
from bot.clock import ManualClock
from bot.services.delivery.stopping import Stopping
from bot.services.planning.playbooks import load_playbooks
from bot.services.review.desk import ReviewDesk
from bot.store.database import Database
from bot.store.outreach import Outreach, outreach
from bot.store.tables import metadata
from tests.scripted_slack import ScriptedSlack, healthy, settings_for
from tests.slack_world import ScriptedConversations

SECRET = "signing-secret"
OK: dict[str, Any] = {"ok": True, "channel": "C1", "ts": "1.2"}


class Scene:
    """The product beside a scripted Slack; everything begun is finished when the scene is left."""

    def __init__(self, slack: ScriptedSlack, database: Database, clock: ManualClock) -> None:
        self.slack, self.database, self.clock = slack, database, clock
        healthy(slack, ",".join(needed_scopes()))
        slack.answers["chat.postMessage"] = (200, OK, {})
        slack.answers["views.publish"] = (200, {"ok": True, "view": {"hash": "h1"}}, {})
        slack.answers["usergroups.users.list"] = (200, {"ok": True, "users": ["U2"]}, {})
        settings = settings_for(slack.url, mode="http", agents=("U1", "S1"))
        secrets = settings.secrets.model_copy(update={"slack_signing_secret": SecretStr(SECRET)})
        settings = settings.model_copy(update={"secrets": secrets})
        self.review = ReviewDesk(database, clock, settings)
        self.connection = SlackConnection(
            api=SlackApi.from_settings(settings),
            database=database,
            clock=clock,
            settings=settings,
            review=self.review,
            conversations=ScriptedConversations(database, clock),  # type: ignore[arg-type]
            send_utterance=lambda _: None,
            stopping=Stopping(database, clock),
            playbooks=lambda: load_playbooks(settings),
        )

    def send(self, body: bytes, content_type: str = "application/x-www-form-urlencoded") -> tuple[int, str]:
        timestamp = str(int(time.time()))
        digest = hmac.new(SECRET.encode(), f"v0:{timestamp}:".encode() + body, hashlib.sha256).hexdigest()
        headers = {
            "Content-Type": content_type,
            "X-Slack-Request-Timestamp": timestamp,
            "X-Slack-Signature": f"v0={digest}",
        }
        status, _, text = self.connection.handle(body, headers)
        return status, text

    def command(self, text: str, trigger: str = "t.1", team: str = "T1", **fields: str) -> None:
        values = {
            "command": "/aftercare", "text": text, "team_id": team, "user_id": "U1", "channel_id": "C1",
            "trigger_id": trigger, "response_url": f"{self.slack.url}response", **fields,
        }  # fmt: skip
        assert self.send(urlencode(values).encode())[0] == 200

    def opened(self, event_id: str = "Ev1", view_hash: str = "", user: str = "U1", team: str = "T1") -> None:
        event = {"type": "app_home_opened", "tab": "home", "user": user, "view": {"hash": view_hash}}
        body = {"type": "event_callback", "team_id": team, "event_id": event_id, "event": event}
        assert self.send(json.dumps(body).encode(), "application/json")[0] == 200

    def click(
        self, action: str, value: str, trigger: str = "t.9", user: str = "U1", team: str = "T1", **view: str
    ) -> None:
        payload = {
            "type": "block_actions", "team": {"id": team}, "user": {"id": user, "team_id": team}, "trigger_id": trigger,
            "container": {"type": "view", "view_id": view.get("id")}, "view": view,
            "actions": [{"action_id": action, "value": value}],
        }  # fmt: skip
        assert self.send(urlencode({"payload": json.dumps(payload)}).encode())[0] == 200

    def click_seen_alone(self, action: str, value: str) -> None:
        payload = {
            "type": "block_actions", "team": {"id": "T1"}, "user": {"id": "U1", "team_id": "T1"}, "trigger_id": "t.8",
            "container": {"type": "message", "channel_id": "C1", "message_ts": "1.1", "is_ephemeral": True},
            "response_url": f"{self.slack.url}response", "actions": [{"action_id": action, "value": value}],
        }  # fmt: skip
        assert self.send(urlencode({"payload": json.dumps(payload)}).encode())[0] == 200

    def submit(
        self, modal: str, reference: str, trigger: str = "t.5", user: str = "U1", **view: Any
    ) -> tuple[int, str]:
        payload = {
            "type": "view_submission", "team": {"id": "T1"}, "user": {"id": user, "team_id": "T1"}, "trigger_id": trigger,
            "view": {"type": "modal", "callback_id": modal, "private_metadata": reference, **view},
        }  # fmt: skip
        return self.send(urlencode({"payload": json.dumps(payload)}).encode())

    def finish(self) -> None:
        """Wait until everything that came in was worked on."""
        self.connection.stop()

    def present(self, outreach_id: int) -> Outreach:
        with self.database.read() as connection:
            return outreach(connection, outreach_id)

    def event_states(self) -> set[str]:
        rows = metadata.tables["events"]
        with self.database.read() as connection:
            return set(connection.execute(sa.select(rows.c.state)).scalars())
