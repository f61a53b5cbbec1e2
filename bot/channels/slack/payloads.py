"""What Slack tells us as typed records: clicks, submitted modals, commands, an opened Home, customers' messages.

A record knows its key (for duplicates) and can be stored and read back (for what a crash left behind). How Slack's
payloads become records is `reading`, who may do what, and doing it, `listeners`' and `actions`' business. Values on
buttons are ids only.
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
    "Command",
    "CustomerMessage",
    "HomeOpened",
    "ModalId",
    "OtherEvent",
    "Person",
    "Received",
    "Submission",
    "number",
    "restore",
    "stored",
    "target",
    "targets",
]


class ActionId(StrEnum):
    """The buttons and menus on cards and in App Home; in Home a row's own carry its id, `home_approve:ID`."""

    APPROVE = "outreach_approve"
    EDIT = "outreach_edit"
    SNOOZE = "outreach_snooze"
    UNDO = "outreach_undo"
    RETRY = "outreach_retry"
    MORE = "outreach_more"
    ANSWER_HELPED = "answer_helped"  # these three are customers', under an answer of the bot
    ANSWER_UNHELPFUL = "answer_unhelpful"
    ANSWER_HUMAN = "answer_human"
    HANDOFF_REPLY = "handoff_reply"
    HANDOFF_GIVE_BACK = "handoff_give_back"
    HANDOFF_ARTICLE = "handoff_article"
    SENDING_STOP = "sending_stop"
    SENDING_START = "sending_start"
    HOME_APPROVE = "home_approve"
    HOME_OPEN = "home_open"
    HOME_UNDO = "home_undo"
    HOME_BULK = "home_bulk"
    HOME_PAGE_BACK = "home_page_back"
    HOME_PAGE_ON = "home_page_on"
    HOME_PLAYBOOK = "home_playbook"
    HOME_URGENCY = "home_urgency"
    HOME_OWNER = "home_owner"
    HOME_BAND = "home_band"
    HOME_REFRESH = "home_refresh"


class ModalId(StrEnum):
    """The modals, by callback_id."""

    EDIT = "outreach_edit"
    REJECT = "outreach_reject"
    SNOOZE = "outreach_snooze"
    WHY = "outreach_why"
    CARD = "outreach_card"
    BULK = "home_bulk"
    NOTICE = "aftercare_notice"
    HANDOFF_REPLY = "handoff_reply"
    GAP = "gap_edit"


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
    """Somebody clicked a button or chose from a menu of a message, of a modal or of App Home.

    Attributes
    ----------
    channel, ts : str
        The message; empty in a view.
    ephemeral : bool
        Only they see the message; it can be redrawn through `response_url` alone.
    view_type : str
        `home`, `modal`, or empty where Slack does not say.
    view_hash : str
        Which state of the view they saw.
    """

    key: str
    person: Person
    action: str
    value: str
    channel: str
    ts: str
    ephemeral: bool = False
    view_type: str = ""
    view_id: str = ""
    view_hash: str = ""
    trigger_id: str = ""
    response_url: str = ""
    kind: str = "click"

    @property
    def in_view(self) -> bool:
        """Whether it was clicked in App Home or in a modal."""
        return not self.channel


@dataclass(frozen=True, kw_only=True)
class Submission:
    """Somebody submitted a modal. `inputs` are by `block/action`: the text or the chosen value.

    Attributes
    ----------
    stacked : bool
        It lay on top of another modal.
    """

    key: str
    person: Person
    modal: str
    reference: str
    inputs: Mapping[str, str] = field(default_factory=dict)
    stacked: bool = False
    kind: str = "submission"


@dataclass(frozen=True, kw_only=True)
class Command:
    """Somebody wrote `/aftercare WORDS`, in any channel."""

    key: str
    person: Person
    words: str
    channel: str
    response_url: str = ""
    kind: str = "command"


@dataclass(frozen=True, kw_only=True)
class HomeOpened:
    """Somebody looks at the app's Home; `view_hash` names what it shows them so far."""

    key: str
    person: Person
    view_hash: str = ""
    kind: str = "home"


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


Received = Click | Submission | Command | HomeOpened | CustomerMessage | OtherEvent
_KINDS: Mapping[str, type[Any]] = {
    "click": Click,
    "submission": Submission,
    "command": Command,
    "home": HomeOpened,
    "message": CustomerMessage,
    "other": OtherEvent,
}


def stored(received: Received) -> dict[str, Any]:
    """Return a record as plain JSON, for the table of events."""
    plain = asdict(received)
    plain.pop("key")
    plain.pop("trigger_id", None)  # it lives three seconds
    plain.pop("response_url", None)  # whoever has it may write in the channel for half an hour
    return plain


def restore(key: str, payload: Mapping[str, Any]) -> Received:
    """Read back what `stored` gave.

    Raises
    ------
    InputError
        It was stored by another version.
    """
    try:
        values = {**payload, "key": key, "person": Person(**payload["person"])}
        restored: Received = _KINDS[payload["kind"]](**values)
    except (KeyError, TypeError) as error:
        raise InputError(f"the stored event {key} cannot be read: {error}") from error
    return restored


def number(text: str, digits: int = 18) -> int | None:
    """Read a whole number of plain digits, as ids are; None for anything else, such as `²`, which `str.isdigit` accepts."""
    return int(text) if re.fullmatch(rf"[0-9]{{1,{digits}}}", text) else None


def target(value: str) -> tuple[int, int]:
    """Read `ID:VERSION` from a button or a modal.

    Raises
    ------
    InputError
        It is none; the card comes from another version of this product.
    """
    if not (found := re.fullmatch(r"([0-9]{1,18}):([0-9]{1,9})", value)):
        raise InputError("this card is too old to be used; look at the newest one in this channel")
    return int(found[1]), int(found[2])


def targets(reference: str) -> list[tuple[int, int]]:
    """Read `ID:VERSION ID:VERSION …` from a modal; raises as `target` does."""
    return [target(one) for one in reference.split()]
