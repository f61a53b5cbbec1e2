"""What Slack would refuse about a payload, found without the product's own checks.

Three judges: the JSON Schema of Slack's types (unknown fields, wrong types), the models of `slack_sdk` (lengths, counts),
and what neither knows: ids that stand twice, texts beyond a limit, live mentions, a missing fallback, a mail address.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jsonschema import Draft7Validator
from slack_sdk.errors import SlackObjectFormationError
from slack_sdk.models.blocks import Block
from slack_sdk.models.views import View

SCHEMA = json.loads((Path(__file__).parent / "slack-types.schema.json").read_text(encoding="utf-8"))
MESSAGES = frozenset({"chat.postMessage", "chat.update", "chat.postEphemeral"})
VIEWS = frozenset({"views.open", "views.push", "views.update", "views.publish"})
FIELDS = {
    "chat.postMessage": {"channel", "text", "blocks", "metadata", "thread_ts", "unfurl_links", "unfurl_media", "reply_broadcast"},
    "chat.update": {"channel", "ts", "text", "blocks", "metadata"},
    "chat.postEphemeral": {"channel", "user", "text", "blocks", "thread_ts"},
    "views.open": {"trigger_id", "view"},
    "views.push": {"trigger_id", "view"},
    "views.update": {"view_id", "external_id", "hash", "view"},
    "views.publish": {"user_id", "hash", "view"},
}  # fmt: skip
# Plain text is shown as it is, whatever it says.
_MENTION = re.compile(r"<!(?!date\^)[^>]{0,60}>?|<@(?!U0AGENT)[^>]{0,40}>?")
_ADDRESS = re.compile(r"[\w.+-]+@[\w-]+\.[\w.]+")


def problems_of(method: str, body: dict[str, Any]) -> list[str]:
    """Return what is wrong with one call, each in words; an empty list where Slack would take it."""
    return list(_problems(method, body))


def _problems(method: str, body: dict[str, Any]) -> Iterator[str]:
    if method in FIELDS:
        yield from (f"{method} knows no {name}" for name in sorted(set(body) - FIELDS[method] - {"token"}))
    if method in MESSAGES:
        yield from _message(method, body)
    if method in VIEWS:
        yield from _view(body.get("view") or {})


def _message(method: str, body: dict[str, Any]) -> Iterator[str]:
    text = str(body.get("text") or "")
    if not text.strip():
        yield "no fallback text"
    if _units(text) > 40_000:
        yield f"text of {_units(text)}"
    yield from _marked(text, "text")
    if method == "chat.postMessage" and (
        body.get("unfurl_links") is not False or body.get("unfurl_media") is not False
    ):
        yield "links would unfurl"
    yield from _blocks(body.get("blocks") or [], 50)
    metadata = body.get("metadata")
    if metadata is not None and len(json.dumps(metadata)) > 16_000:
        yield "metadata over 16 kB"


def _view(view: dict[str, Any]) -> Iterator[str]:
    name = {"modal": "modal", "home": "home"}.get(str(view.get("type")))
    if name is None:
        yield f"a view of type {view.get('type')}"
        return
    yield from _against(name, {**view, "blocks": []})
    if len(str(view.get("private_metadata") or "")) > 3000:
        yield "private_metadata over 3000"
    try:
        View(**view).validate_json()
    except (SlackObjectFormationError, TypeError) as error:
        yield f"view: {error}"
    if len(json.dumps(view)) > 250_000:
        yield "view over 250 kB"
    yield from _blocks(view.get("blocks") or [], 100)


def _blocks(blocks: list[Any], most: int) -> Iterator[str]:
    if len(blocks) > most:
        yield f"{len(blocks)} blocks"
    ids: list[str] = []
    for block in blocks:
        yield from _against("block", block)
        try:
            parsed = Block.parse(block)
            if parsed is not None:
                parsed.validate_json()
        except (SlackObjectFormationError, TypeError) as error:
            yield f"{block.get('type')}: {error}"
        ids += [str(block["block_id"])] if "block_id" in block else []
        actions = [str(node["action_id"]) for node in _walk(block) if "action_id" in node]
        yield from (f"action_id {one} twice in a block" for one in sorted({a for a in actions if actions.count(a) > 1}))
        for node in _walk(block):
            yield from _text(node)
    yield from (f"block_id {one} twice" for one in sorted({i for i in ids if ids.count(i) > 1}))


def _text(node: dict[str, Any]) -> Iterator[str]:
    kind, text = node.get("type"), node.get("text")
    if kind in ("mrkdwn", "plain_text") and isinstance(text, str):
        if not text:
            yield "an empty text"
        if _units(text) > 3000:
            yield f"a text of {_units(text)}"
    if kind == "mrkdwn" and isinstance(text, str):
        yield from _marked(text, "mrkdwn")
    if kind == "header" and _units(str((text or {}).get("text", ""))) > 150:
        yield "a header over 150"
    for option in node.get("options") or []:
        if isinstance(option, dict) and _units(str((option.get("text") or {}).get("text", ""))) > 75:
            yield "an option over 75"
    if len(str(node.get("value") or "")) > 2000:
        yield "a value over 2000"


def _marked(text: str, where: str) -> Iterator[str]:
    yield from (f"a live mention in {where}: {found.group()}" for found in _MENTION.finditer(text))
    if _ADDRESS.search(text):
        yield f"a mail address in {where}"


def _against(name: str, value: Any) -> Iterator[str]:
    schema = {"$ref": f"#/definitions/{_DEFINITION[name]}", "definitions": SCHEMA["definitions"]}
    if Draft7Validator(schema).is_valid(value):
        return
    best = _same_type(name, value) or schema
    errors = sorted(Draft7Validator(best).iter_errors(value), key=lambda e: (-len(e.absolute_path), e.message))
    yield from (
        f"{name} {value.get('type')}: {'/'.join(map(str, e.absolute_path))} {e.message[:160]}" for e in errors[:2]
    )


def _same_type(name: str, value: Any) -> dict[str, Any] | None:
    """Return the schema of this kind of block alone: its errors say more than 'is none of fifteen'."""
    for kind, schema in SCHEMA["definitions"].items():
        said = (schema.get("properties") or {}).get("type", {}).get("const")
        if name == "block" and kind.endswith("Block") and said == value.get("type"):
            return {"$ref": f"#/definitions/{kind}", "definitions": SCHEMA["definitions"]}
    return None


def _walk(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from _walk(value)
    elif isinstance(node, list):
        for value in node:
            yield from _walk(value)


def _units(text: str) -> int:
    """Return the length as Slack counts it, in UTF-16 units."""
    return len(text.encode("utf-16-le")) // 2


_DEFINITION = {"block": "KnownBlock", "modal": "ModalView", "home": "HomeView"}
