"""What Slack tells us, parsed once into typed records: clicks, submitted modals, customers' messages.

A record knows its key (for duplicates) and can be stored and read back (for what a crash left behind). Who may do what,
and doing it, is `listeners`' and `actions`' business. Values on buttons are ids only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from bot.errors import InputError

__all__ = [
    "ActionId",
    "Click",
    "CustomerMessage",
    "ModalId",
    "OtherEvent",
    "Person",
    "Received",
    "Submission",
    "message_key",
    "read_action",
    "read_event",
    "read_submission",
    "restore",
    "target",
]


class ActionId(StrEnum):
    """The buttons and menus on cards."""

    APPROVE = "outreach_approve"
    EDIT = "outreach_edit"
    SNOOZE = "outreach_snooze"
    UNDO = "outreach_undo"
    RETRY = "outreach_retry"
    MORE = "outreach_more"
    HANDOFF_REPLY = "handoff_reply"
    HANDOFF_GIVE_BACK = "handoff_give_back"


class ModalId(StrEnum):
    """The modals, by callback_id."""

    EDIT = "outreach_edit"
    REJECT = "outreach_reject"
    SNOOZE = "outreach_snooze"
    WHY = "outreach_why"
    NOTICE = "aftercare_notice"
    HANDOFF_REPLY = "handoff_reply"


@dataclass(frozen=True, kw_only=True)
class Person:
    """Somebody in a workspace; the same id in another workspace is somebody else."""

    team_id: str
    user_id: str

    @property
    def actor(self) -> str:
        """How decisions and the audit log name them."""
        return f"slack:{self.team_id}:{self.user_id}"


@dataclass(frozen=True, kw_only=True)
class Click:
    """Somebody clicked a button or chose from a menu of a message."""

    key: str
    person: Person
    action: str
    value: str
    channel: str
    ts: str
    trigger_id: str = ""
    kind: str = "click"


@dataclass(frozen=True, kw_only=True)
class Submission:
    """Somebody submitted a modal. `inputs` are by `block/action`: the text or the chosen value."""

    key: str
    person: Person
    modal: str
    reference: str
    inputs: Mapping[str, str] = field(default_factory=dict)
    kind: str = "submission"


@dataclass(frozen=True, kw_only=True)
class CustomerMessage:
    """Somebody wrote to the app."""

    key: str
    person: Person
    channel: str
    ts: str
    text: str
    thread_ts: str = ""
    kind: str = "message"


@dataclass(frozen=True, kw_only=True)
class OtherEvent:
    """An event that is only noted: our own, a bot's, an edited or deleted message, or one that nobody waits for."""

    key: str
    type: str
    person: Person
    kind: str = "other"


Received = Click | Submission | CustomerMessage | OtherEvent


def read_action(body: Mapping[str, Any]) -> Click:
    """Read a `block_actions` payload."""
    action = (body.get("actions") or [{}])[0]
    container = body.get("container") or {}
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
        trigger_id=trigger,
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
    )


def read_event(body: Mapping[str, Any], bot_user_id: str) -> CustomerMessage | OtherEvent:
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


def stored(received: Received) -> dict[str, Any]:
    """Return a record as plain JSON, for the table of events."""
    plain = asdict(received)
    plain.pop("key")
    plain.pop("trigger_id", None)  # it lives three seconds
    return plain


def restore(key: str, payload: Mapping[str, Any]) -> Received:
    """Read back what `stored` gave.

    Raises
    ------
    InputError
        It was stored by another version.
    """
    kinds: dict[str, type[Any]] = {
        "click": Click,
        "submission": Submission,
        "message": CustomerMessage,
        "other": OtherEvent,
    }
    try:
        values = {**payload, "key": key, "person": Person(**payload["person"])}
        restored: Received = kinds[payload["kind"]](**values)
    except (KeyError, TypeError) as error:
        raise InputError(f"the stored event {key} cannot be read: {error}") from error
    return restored


def target(value: str) -> tuple[int, int]:
    """Read `ID:VERSION` from a button or a modal.

    Raises
    ------
    InputError
        It is none; the card comes from another version of this product.
    """
    if not (found := re.fullmatch(r"(\d{1,18}):(\d{1,9})", value)):
        raise InputError("this card is too old to be used; look at the newest one in this channel")
    return int(found[1]), int(found[2])


def _person(body: Mapping[str, Any]) -> Person:
    user = body.get("user") or {}
    team = body.get("team") or {}
    return Person(team_id=str(user.get("team_id") or team.get("id") or ""), user_id=str(user.get("id") or ""))
