"""The app manifest, the code and the guide say the same."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from bot.channels.slack.answers import help_answer
from bot.channels.slack.commands import NAME
from bot.channels.slack.doctor import manifest, needed_scopes
from bot.channels.slack.listeners import REVOKING

CODE = Path(__file__).parents[2] / "bot" / "channels" / "slack"
GUIDE = Path(__file__).parents[2] / "docs" / "how-to" / "connect-slack.md"
# What each method that the code calls needs: https://docs.slack.dev/reference/methods
SCOPES = {
    "auth.test": set(),
    "chat.postMessage": {"chat:write"},
    "chat.update": {"chat:write"},
    "chat.delete": {"chat:write"},
    "chat.postEphemeral": {"chat:write"},
    "conversations.history": {"channels:history", "groups:history", "im:history"},
    "conversations.info": {"channels:read", "groups:read"},
    "conversations.open": {"im:write"},
    "conversations.replies": {"channels:history", "groups:history"},
    "usergroups.users.list": {"usergroups:read"},
    "users.info": {"users:read"},
    "views.open": set(),
    "views.publish": set(),
    "views.push": set(),
    "views.update": set(),
}


def called_methods() -> set[str]:
    """Every Web API method that stands as a text in the API module."""
    tree = ast.parse((CODE / "api.py").read_text(encoding="utf-8"))
    calls = [
        node for node in ast.walk(tree) if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "_call"
    ]
    return {call.args[0].value for call in calls if isinstance(call.args[0], ast.Constant)}


def test_the_manifest_asks_for_exactly_the_scopes_that_the_code_needs() -> None:
    assert called_methods() == set(SCOPES)
    needed = set().union(*SCOPES.values()) | {"im:history", "commands"}  # message.im events, /aftercare
    assert needed_scopes() == needed


def test_the_manifest_subscribes_to_what_the_code_listens_to() -> None:
    assert set(manifest()["settings"]["event_subscriptions"]["bot_events"]) == {
        "message.im",
        "app_home_opened",
        *REVOKING,
    }
    assert manifest()["settings"]["interactivity"]["is_enabled"] is True
    assert manifest()["settings"]["socket_mode_enabled"] is True
    home = manifest()["features"]["app_home"]
    assert home == {
        "home_tab_enabled": True,
        "messages_tab_enabled": True,
        "messages_tab_read_only_enabled": False,
    }
    (command,) = manifest()["features"]["slash_commands"]
    assert command["command"] == NAME


def test_the_usage_hint_names_the_words_that_the_help_names() -> None:
    (command,) = manifest()["features"]["slash_commands"]
    hinted = {words.split()[0] for words in command["usage_hint"].split("|")}
    assert hinted == set(re.findall(rf"`{NAME} (\w+)", str(help_answer().blocks)))


def test_the_guide_justifies_every_scope_and_no_other() -> None:
    explained = set(re.findall(r"^\| `([a-z:]+)` \|", GUIDE.read_text(encoding="utf-8"), re.MULTILINE))
    assert explained == needed_scopes() | {"connections:write"}
