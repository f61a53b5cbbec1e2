"""Slack's payloads, read once: each becomes a typed record, or None where this app has no use for it.

Nothing here trusts that a field is there. What a record is, and how it is kept, is `payloads`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from bot.channels.slack.payloads import Click, Command, CustomerMessage, HomeOpened, OtherEvent, Person, Submission

__all__ = ["message_key", "read_action", "read_command", "read_event", "read_submission"]


def read_action(body: Mapping[str, Any]) -> Click:
    """Read a `block_actions` payload."""
    action = (body.get("actions") or [{}])[0]
    container = body.get("container") or {}
    view = body.get("view") or {}
    channel = str((body.get("channel") or {}).get("id") or container.get("channel_id") or "")
    ts = str(container.get("message_ts") or (body.get("message") or {}).get("ts") or "")
    person = _person(body)
    option = action.get("selected_option") or {}
    trigger = str(body.get("trigger_id") or "")
    fallback = ":".join((channel, ts, person.user_id, str(action.get("action_id")), str(action.get("action_ts"))))
    return Click(
        key=f"click:{trigger or fallback}",
        person=person,
        action=str(action.get("action_id") or ""),
        value=str(option.get("value") or action.get("value") or ""),
        channel=channel,
        ts=ts,
        ephemeral=bool(container.get("is_ephemeral")) or (body.get("message") or {}).get("subtype") == "ephemeral",
        view_type=str(view.get("type") or ""),
        view_id=str(view.get("id") or container.get("view_id") or ""),
        view_hash=str(view.get("hash") or ""),
        trigger_id=trigger,
        response_url=str(body.get("response_url") or ""),
    )


def read_submission(body: Mapping[str, Any]) -> Submission:
    """Read a `view_submission` payload."""
    view = body.get("view") or {}
    inputs = {}
    for block, actions in ((view.get("state") or {}).get("values") or {}).items():
        for action, state in (actions or {}).items():
            chosen = (state.get("selected_option") or {}).get("value")
            inputs[f"{block}/{action}"] = str(state.get("value") or chosen or "")
    trigger = str(body.get("trigger_id") or f"{view.get('id')}:{view.get('hash')}")
    return Submission(
        key=f"submission:{trigger}",
        person=_person(body),
        modal=str(view.get("callback_id") or ""),
        reference=str(view.get("private_metadata") or ""),
        inputs=inputs,
        stacked=bool(view.get("previous_view_id")),
    )


def read_command(body: Mapping[str, Any]) -> Command | None:
    """Read a slash command. It has no id of its own: the trigger is new at each use, and the same when it comes twice."""
    trigger, url = str(body.get("trigger_id") or ""), str(body.get("response_url") or "")
    if not trigger and not url:
        return None
    once = trigger or hashlib.sha256(url.encode()).hexdigest()  # the address itself is a key to the channel
    return Command(
        key=f"command:{once}",
        person=Person(team_id=str(body.get("team_id") or ""), user_id=str(body.get("user_id") or "")),
        words=str(body.get("text") or ""),
        channel=str(body.get("channel_id") or ""),
        response_url=url,
    )


def read_event(body: Mapping[str, Any], bot_user_id: str) -> CustomerMessage | HomeOpened | OtherEvent:
    """Read an Events API payload; only a person's new words in the app's own messages are a customer's message."""
    event = body.get("event") or {}
    person = Person(
        team_id=str(event.get("user_team") or event.get("team") or body.get("team_id") or ""),
        user_id=str(event.get("user") or ""),
    )
    kind = str(event.get("type") or "")
    by_a_person = (
        kind == "message"
        and event.get("channel_type") == "im"
        and not event.get("bot_id")
        and event.get("subtype") in (None, "file_share", "thread_broadcast")
        and person.user_id not in ("", bot_user_id, "USLACKBOT")
        and not event.get("hidden")
    )
    if kind == "app_home_opened" and event.get("tab") in (None, "home"):
        shown = str((event.get("view") or {}).get("hash") or "")
        return HomeOpened(key=f"event:{body.get('event_id')}", person=person, view_hash=shown)
    if not by_a_person:
        return OtherEvent(key=f"event:{body.get('event_id')}", type=kind, person=person)
    channel, ts = str(event.get("channel") or ""), str(event.get("ts") or "")
    return CustomerMessage(
        key=message_key(channel, ts),
        person=person,
        channel=channel,
        ts=ts,
        text=str(event.get("text") or ""),
        thread_ts=str(event.get("thread_ts") or ""),
    )


def message_key(channel: str, ts: str) -> str:
    """Name a message: the same one under another event_id is still the same."""
    return f"message:{channel}:{ts}"


def _person(body: Mapping[str, Any]) -> Person:
    user = body.get("user") or {}
    team = body.get("team") or {}
    return Person(team_id=str(user.get("team_id") or team.get("id") or ""), user_id=str(user.get("id") or ""))
