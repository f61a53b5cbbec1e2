"""Every payload is checked before it leaves: a refused one would otherwise show as a card that never came.

Limits are Slack's (https://docs.slack.dev/reference/block-kit/); `slack_sdk.models` knows most of them, the rest is
here: duplicate ids, option texts, counts, mass mentions. Building payloads is `cards`, `modals` and `home_view`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from slack_sdk.errors import SlackObjectFormationError
from slack_sdk.models.blocks import Block
from slack_sdk.models.views import View

from bot.channels.slack.text import width
from bot.errors import PermanentChannelError

__all__ = ["Blocks", "InvalidPayload", "check_message", "check_view"]

Blocks = Sequence[Mapping[str, Any]]

MESSAGE_BLOCKS, VIEW_BLOCKS = 50, 100
METADATA_LIMIT = 3000  # https://docs.slack.dev/reference/views/home-tab-views
# https://docs.slack.dev/reference/block-kit/composition-objects/confirmation-dialog-object
_CONFIRM_LIMITS = {"title": 100, "text": 300, "confirm": 30, "deny": 30}
TEXT_LIMIT = 40_000  # https://docs.slack.dev/reference/methods/chat.postMessage
_MASS_MENTION = re.compile(r"<!(?:channel|here|everyone|subteam)\b", re.IGNORECASE)
# (block type, path) -> longest text; https://docs.slack.dev/reference/block-kit/
_LIMITS = {"section": 3000, "header": 150, "context": 3000, "input": 2000}


class InvalidPayload(PermanentChannelError):
    """Slack would refuse this payload."""


def check_message(text: str, blocks: Blocks | None) -> None:
    """Check a message.

    Raises
    ------
    InvalidPayload
        Naming the block and what is wrong with it.
    """
    if not text.strip():
        raise InvalidPayload("a message needs a fallback text: notifications and screen readers show it")
    if width(text) > TEXT_LIMIT:
        raise InvalidPayload(f"the fallback text has {width(text)} characters, Slack takes {TEXT_LIMIT}")
    _check_mentions(text, "text")
    _check_blocks(blocks or (), MESSAGE_BLOCKS)


def check_view(view: Mapping[str, Any]) -> None:
    """Check a modal, or somebody's Home; raises like `check_message`."""
    kind = str(view.get("type"))
    if kind not in ("modal", "home"):
        raise InvalidPayload(f"a view of type {kind}; Slack knows modal and home")
    name = f"{kind} {view.get('callback_id')}"
    if kind == "home" and {"title", "submit", "close"} & set(view):
        raise InvalidPayload(f"{name}: Home has neither title nor submit nor close")
    if width(str(view.get("private_metadata") or "")) > METADATA_LIMIT:
        raise InvalidPayload(f"{name}: the private_metadata is over {METADATA_LIMIT} characters")
    if kind == "home" and any(block.get("type") == "input" for block in view["blocks"]):
        raise InvalidPayload(f"{name}: this app asks for no input in Home")
    try:
        View(**view).validate_json()
    except SlackObjectFormationError as error:
        raise InvalidPayload(f"{name}: {error}") from error
    _check_blocks(view["blocks"], VIEW_BLOCKS)


def _check_blocks(blocks: Blocks, most: int) -> None:
    if len(blocks) > most:
        raise InvalidPayload(f"{len(blocks)} blocks, Slack takes {most}")
    ids = [block["block_id"] for block in blocks if block.get("block_id")]
    actions = [element["action_id"] for element in _interactive(blocks)]
    for what, seen in (("block_id", ids), ("action_id", actions)):
        if doubled := {one for one in seen if seen.count(one) > 1}:
            raise InvalidPayload(f"the {what} {sorted(doubled)[0]} is there twice")
    for at, block in enumerate(blocks):
        where = f"block {at} ({block.get('type')})"
        _check_block(block, where)
        for text in _texts(block):
            _check_text(text, _LIMITS.get(str(block.get("type")), 3000), where)


def _check_block(block: Mapping[str, Any], where: str) -> None:
    try:
        parsed = Block.parse(dict(block))
        if parsed is None:
            raise InvalidPayload(f"{where}: unknown type")
        parsed.validate_json()
    except (SlackObjectFormationError, TypeError) as error:
        raise InvalidPayload(f"{where}: {error}") from error
    count = len(block.get("elements", ()))
    if block["type"] == "context" and not 1 <= count <= 10:
        raise InvalidPayload(f"{where}: {count} elements, Slack takes 1 to 10")
    if block["type"] == "actions" and not 1 <= count <= 25:
        raise InvalidPayload(f"{where}: {count} elements, Slack takes 1 to 25")
    for element in _interactive([block]):
        _check_element(element, where)


def _check_element(element: Mapping[str, Any], where: str) -> None:
    name = f"{where}, {element['action_id']}"
    if width(element["action_id"]) > 255:
        raise InvalidPayload(f"{name}: the action_id is over 255 characters")
    if element["type"] == "button" and width(element["text"]["text"]) > 75:
        raise InvalidPayload(f"{name}: the label is over 75 characters")
    most = 5 if element["type"] == "overflow" else 100
    options = element.get("options")
    if options is not None and not 1 <= len(options) <= most:
        raise InvalidPayload(f"{name}: {len(options)} options, Slack takes 1 to {most}")
    for option in options or ():
        if width(option["text"]["text"]) > 75 or width(option["value"]) > 150:
            raise InvalidPayload(f"{name}: an option's text is over 75 or its value over 150 characters")
    values = [str(element.get("value") or ""), *(str(option["value"]) for option in options or ())]
    if element["type"] == "button" and width(values[0]) > 2000:
        raise InvalidPayload(f"{name}: the value is over 2,000 characters")
    if len(set(values)) < len(values):
        raise InvalidPayload(f"{name}: two options have one value")
    if (chosen := element.get("initial_option")) is not None and chosen not in (options or ()):
        raise InvalidPayload(f"{name}: the chosen option is none of those offered")
    if width((element.get("placeholder") or {}).get("text") or "") > 150:
        raise InvalidPayload(f"{name}: the placeholder is over 150 characters")
    for part, limit in _CONFIRM_LIMITS.items() if element.get("confirm") else ():
        words = str(element["confirm"][part]["text"])
        if not words.strip() or width(words) > limit:
            raise InvalidPayload(f"{name}: the {part} of its question is empty or over {limit} characters")
        _check_mentions(words, name)
    if width(element.get("initial_value") or "") > 3000:
        raise InvalidPayload(f"{name}: the prefilled text is over 3,000 characters")


def _interactive(blocks: Blocks) -> Iterator[Mapping[str, Any]]:
    for block in blocks:
        for element in (*block.get("elements", ()), block.get("accessory") or {}, block.get("element") or {}):
            if "action_id" in element:
                yield element


def _texts(block: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    candidates = [block.get("text"), block.get("label"), block.get("hint"), *block.get("fields", ())]
    candidates += [element for element in block.get("elements", ()) if element.get("type") in ("mrkdwn", "plain_text")]
    yield from (text for text in candidates if isinstance(text, Mapping))


def _check_text(text: Mapping[str, Any], most: int, where: str) -> None:
    words = str(text.get("text", ""))
    if not words.strip():
        raise InvalidPayload(f"{where}: an empty text")
    if width(words) > most:
        raise InvalidPayload(f"{where}: a text of {width(words)} characters, Slack takes {most}")
    if text["type"] == "mrkdwn":
        _check_mentions(words, where)


def _check_mentions(text: str, where: str) -> None:
    if _MASS_MENTION.search(text):
        raise InvalidPayload(f"{where}: a mention of everybody; escape the text that it comes from")
