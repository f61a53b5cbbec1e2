"""Who is who in Slack: our own app and team, the agents, and how people are named in what we show.

People are (team, user) pairs. Roles are asked at every click and submission; customers are found by the store.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import structlog

from bot.channels.slack.api import SlackApi, UnknownMethod
from bot.channels.slack.payloads import Person
from bot.channels.slack.text import escape, one_line
from bot.config import Settings
from bot.errors import ConfigurationError, PermanentChannelError

__all__ = ["Roster", "resolve"]

log = structlog.get_logger(__name__)
_ACTOR = re.compile(r"slack:([A-Z0-9]+):([A-Z0-9]+)")


@dataclass(frozen=True, kw_only=True)
class Roster:
    """Our own identity and the agents, as Slack confirmed them at the start."""

    team_id: str
    bot_user_id: str
    agents: frozenset[str]
    zones: Mapping[str, ZoneInfo] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    default_zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("UTC"))

    def ours(self, person: Person) -> bool:
        """Say whether somebody belongs to our own workspace."""
        return person.team_id == self.team_id

    def is_agent(self, person: Person) -> bool:
        """Say whether somebody may decide."""
        return self.ours(person) and person.user_id in self.agents

    def zone(self, person: Person) -> ZoneInfo:
        """Return an agent's own time zone, else the shop's."""
        return self.zones.get(person.user_id, self.default_zone)

    def plainly(self, text: str) -> str:
        """Name the agents of a text where mentions are not shown: by their Slack names."""
        return _ACTOR.sub(lambda found: self.names.get(found[2], "somebody in Slack"), text)

    def named(self, text: str) -> str:
        """Escape a text of our own and turn the agents in it (`slack:TEAM:USER`) into their names."""

        def name(found: re.Match[str]) -> str:
            person = Person(team_id=found[1], user_id=found[2])
            return f"<@{person.user_id}>" if self.is_agent(person) else "somebody in Slack"

        return _ACTOR.sub(name, escape(text))


def resolve(api: SlackApi, settings: Settings) -> Roster:
    """Ask Slack who we are, and whether the review channel and the agents exist.

    Raises
    ------
    ConfigurationError
        Naming every id that is wrong.
    """
    me = api.whoami()
    problems = [*_channel_problems(api, settings.slack.review_channel)]
    zones: dict[str, ZoneInfo] = {}
    names: dict[str, str] = {}
    agents: set[str] = set()
    for agent in settings.slack.agents:
        problems += _agent_problems(api, agent, agents, zones, names)
    if problems:
        raise ConfigurationError(problems)
    return Roster(
        team_id=str(me["team_id"]),
        bot_user_id=str(me["user_id"]),
        agents=frozenset(agents),
        zones=zones,
        names=names,
        default_zone=settings.shop.zone,
    )


def _channel_problems(api: SlackApi, channel: str) -> Iterable[tuple[str, str]]:
    try:
        known = api.channel(channel)
    except UnknownMethod:
        return
    except PermanentChannelError:
        yield (
            "slack.review_channel",
            f"there is no channel {channel} that the app can see; write its id and invite the app",
        )
        return
    if known.get("is_archived"):
        yield "slack.review_channel", f"the channel {channel} is archived; name another one"
    if known.get("is_member") is False:
        yield "slack.review_channel", f"the app is not in {channel}; write /invite @Aftercare there"
    if known.get("is_ext_shared"):
        yield "slack.review_channel", f"the channel {channel} is shared with another company; name an internal one"
    if known.get("is_private") is False:  # no error: not every shop has its customers in the workspace
        log.warning(
            "slack_review_channel_public", channel=channel, advice="everybody in the workspace can read the cards"
        )


def _agent_problems(
    api: SlackApi, agent: str, agents: set[str], zones: dict[str, ZoneInfo], names: dict[str, str]
) -> Iterable[tuple[str, str]]:
    try:
        known = api.user(agent)
    except UnknownMethod:
        agents.add(agent)
        return
    except PermanentChannelError:
        yield "slack.agents", f"there is no user {agent} in this workspace; write a user id such as U0123456789"
        return
    if known.get("is_bot"):
        yield "slack.agents", f"{agent} is a bot; name people"
        return
    if known.get("deleted"):  # somebody left: they lose the right, the others go on working
        log.warning("slack_agent_deactivated", agent=agent)
        return
    agents.add(agent)
    names[agent] = one_line(str(known.get("real_name") or known.get("name") or agent))
    try:
        zones[agent] = ZoneInfo(str(known.get("tz") or ""))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return
