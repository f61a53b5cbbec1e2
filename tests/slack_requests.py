"""What Slack would post to the product over HTTP, signed as Slack signs it; for tests and benchmarks that play Slack."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from tests.peers.local_slack import REVIEW_CHANNEL, SIGNING_SECRET, TEAM, find_element

FORM = "application/x-www-form-urlencoded"


def signed(body: bytes, *, age: float = 0, secret: str = SIGNING_SECRET, content_type: str = FORM) -> dict[str, str]:
    """Sign as Slack does: https://docs.slack.dev/authentication/verifying-requests-from-slack/."""
    timestamp = str(int(time.time() - age))
    digest = hmac.new(secret.encode(), b"v0:" + timestamp.encode() + b":" + body, hashlib.sha256).hexdigest()
    return {
        "Content-Type": content_type,
        "X-Slack-Request-Timestamp": timestamp,
        "X-Slack-Signature": f"v0={digest}",
    }


def clicked(card: Mapping[str, Any], action_id: str, user: str, trigger: str, team: str = TEAM) -> bytes:
    """The request of a click on a button of a message."""
    block_id, element = find_element(dict(card), action_id)
    return _form(
        {
            "type": "block_actions",
            "team": {"id": team, "domain": "care-team"},
            "user": {"id": user, "team_id": team},
            "channel": {"id": REVIEW_CHANNEL},
            "container": {"type": "message", "channel_id": REVIEW_CHANNEL, "message_ts": card["ts"]},
            "message": {"ts": card["ts"]},
            "trigger_id": trigger,
            "actions": [
                {
                    "type": "button",
                    "action_id": action_id,
                    "block_id": block_id,
                    "value": element["value"],
                    "action_ts": "1.1",
                }
            ],
        }
    )


def submitted(modal: str, reference: str, user: str, trigger: str, **inputs: dict[str, Any]) -> bytes:
    """The request of a submitted modal; inputs by block: `reason={"select": {…}}`."""
    view = {
        "id": f"V{trigger}",
        "type": "modal",
        "callback_id": modal,
        "private_metadata": reference,
        "state": {"values": inputs},
        "hash": "1.x",
    }
    person = {"id": user, "team_id": TEAM}
    return _form({"type": "view_submission", "team": {"id": TEAM}, "user": person, "view": view, "trigger_id": trigger})


def _form(payload: dict[str, Any]) -> bytes:
    return urlencode({"payload": json.dumps(payload)}).encode()
