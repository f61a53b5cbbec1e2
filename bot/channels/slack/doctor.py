"""What is wrong with an installation's Slack side, and what to do about it.

Only asks; it posts nothing and changes nothing. The scopes are those of `manifest.yaml`, which a test holds against it.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import yaml
from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError, SlackClientError

from bot.channels.slack.agents import is_group
from bot.channels.slack.api import TIMEOUT_SECONDS, SlackApi, UnknownMethod
from bot.channels.slack.http import PATH
from bot.channels.slack.identity import Roster, resolve
from bot.config import Settings
from bot.errors import ChannelError, ConfigurationError

__all__ = ["Finding", "check_slack", "manifest", "needed_scopes"]

# What only reading user groups needs; a shop that lists its agents may do without.
GROUP_SCOPES = frozenset({"usergroups:read"})


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was looked at."""

    name: str
    ok: bool
    advice: str = ""


def manifest() -> dict[str, Any]:
    """Return the app's manifest as it is shipped."""
    text = files("bot.channels.slack").joinpath("manifest.yaml").read_text(encoding="utf-8")
    loaded: dict[str, Any] = yaml.safe_load(text)
    return loaded


def needed_scopes(settings: Settings | None = None) -> frozenset[str]:
    """Return the bot scopes that the product needs; with settings, those that this shop needs."""
    scopes = frozenset(manifest()["oauth_config"]["scopes"]["bot"])
    if settings is not None and not any(is_group(agent) for agent in settings.slack.agents):
        return scopes - GROUP_SCOPES
    return scopes


def check_slack(settings: Settings, api: SlackApi | None = None) -> list[Finding]:
    """Look at tokens, scopes, the review channel and the agents."""
    if settings.slack.mode == "off":
        return [Finding(name="slack.mode", ok=True, advice="Slack is switched off")]
    if settings.secrets.slack_bot_token is None:
        return [Finding(name="SLACK_BOT_TOKEN", ok=False, advice="set it (xoxb-…), or write slack.mode: off")]
    api = api or SlackApi.from_settings(settings)
    try:
        me = api.whoami()
    except ChannelError as error:
        return [Finding(name="SLACK_BOT_TOKEN", ok=False, advice=str(error))]
    found = [Finding(name="SLACK_BOT_TOKEN", ok=True, advice=f"team {me['team_id']}, app user {me['user_id']}")]
    found.append(_scopes(me.headers, needed_scopes(settings)))
    try:
        roster = resolve(api, settings)
        found.append(_review_channel(api, settings.slack.review_channel))
        found.append(_agents(roster, settings))
    except ConfigurationError as error:
        found += [Finding(name=path, ok=False, advice=advice) for path, advice in error.problems]
    except ChannelError as error:
        found.append(Finding(name="slack.review_channel", ok=False, advice=str(error)))
    found.append(_history(api, settings))
    if settings.slack.mode == "socket":
        found.append(_app_token(api, settings))
    else:
        url = f"{settings.web.base_url.rstrip('/')}{PATH}"
        advice = f"{url} is the Request URL for events, interactivity and the command /aftercare"
        found.append(Finding(name="web.base_url", ok=True, advice=advice))
    return found


def _agents(roster: Roster, settings: Settings) -> Finding:
    silent = sorted({agent for agent in settings.slack.agents if not is_group(agent)} - roster.agents)
    if silent:
        return Finding(name="slack.agents", ok=False, advice=f"deactivated: {', '.join(silent)}; take them out")
    if not roster.agents:
        return Finding(name="slack.agents", ok=False, advice="nobody is in the user group, so nobody may decide")
    return Finding(name="slack.agents", ok=True, advice=f"{len(roster.agents)} known")


def _review_channel(api: SlackApi, channel: str) -> Finding:
    try:
        public = api.channel(channel).get("is_private") is False
    except UnknownMethod:
        public = False
    advice = f"{channel} is public: whoever is in this workspace can read the cards; make it private if customers are"
    return Finding(name="slack.review_channel", ok=True, advice=advice if public else channel)


def _scopes(headers: Any, needed: frozenset[str]) -> Finding:
    lowered = {str(name).lower(): value for name, value in dict(headers or {}).items()}
    if "x-oauth-scopes" not in lowered:
        return Finding(name="scopes", ok=True, advice="this Slack does not say which scopes the token has")
    value = lowered["x-oauth-scopes"]
    given = {scope.strip() for scope in str(value[0] if isinstance(value, list) else value).split(",")}
    missing = sorted(needed - given)
    if missing:
        advice = f"missing: {', '.join(missing)}; add them under OAuth & Permissions and install the app again"
        return Finding(name="scopes", ok=False, advice=advice)
    return Finding(name="scopes", ok=True, advice="all there")


def _history(api: SlackApi, settings: Settings) -> Finding:
    name = "conversations.history"
    try:
        api.history(settings.slack.review_channel, 1)
    except UnknownMethod:
        return Finding(
            name=name, ok=True, advice="missing here: what became of an unanswered send must be looked up by hand"
        )
    except ChannelError as error:
        return Finding(name=name, ok=False, advice=str(error))
    return Finding(name=name, ok=True)


def _app_token(api: SlackApi, settings: Settings) -> Finding:
    token = settings.secrets.slack_app_token
    if token is None:
        return Finding(name="SLACK_APP_TOKEN", ok=False, advice="set it (xapp-…): Socket Mode needs an app-level token")
    try:
        WebClient(base_url=api.client.base_url, timeout=TIMEOUT_SECONDS).apps_connections_open(
            app_token=token.get_secret_value()
        )
    except SlackApiError as error:
        advice = f"Slack refuses it ({error.response.get('error')}); it needs connections:write and Socket Mode on"
        return Finding(name="SLACK_APP_TOKEN", ok=False, advice=advice)
    except (OSError, SlackClientError) as error:
        return Finding(name="SLACK_APP_TOKEN", ok=False, advice=f"Slack was not reached ({type(error).__name__})")
    return Finding(name="SLACK_APP_TOKEN", ok=True)
