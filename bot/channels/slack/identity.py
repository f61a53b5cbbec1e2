"""Who is who in Slack: our own app and team, the agents, and how people are named in what we show.

People are (team, user) pairs. Roles are asked at every click, submission and command (`agents` keeps what Slack says);
customers are found by the store.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

import structlog

from bot.channels.slack.agents import NOT_AN_AGENT, AgentDirectory, profile_of
from bot.channels.slack.api import SlackApi, SlackUnauthorized, UnknownMethod
from bot.channels.slack.payloads import Person
from bot.channels.slack.text import escape
from bot.config import Settings
from bot.errors import ConfigurationError, PermanentChannelError, Refused

__all__ = ["Roster", "resolve"]

log = structlog.get_logger(__name__)
_ACTOR = re.compile(r"slack:([A-Z0-9]+):([A-Z0-9]+)")


@dataclass(frozen=True, kw_only=True)
class Roster:
    """Our own identity and the agents, as Slack confirms them.

    Attributes
    ----------
    agents : frozenset of str
        Whom Slack confirmed at the start.
    directory : AgentDirectory, optional
        Where everybody is asked about again; without it, `agents` stand as they are.
    """

    team_id: str
    bot_user_id: str
    agents: frozenset[str]
    directory: AgentDirectory | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    default_zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("UTC"))

    def ours(self, person: Person) -> bool:
        """Say whether somebody belongs to our own workspace."""
        return person.team_id == self.team_id

    def check(self, person: Person) -> None:
        """Make sure that somebody may decide now; raises Refused with the reason."""
        if not self.ours(person):
            raise Refused("This belongs to another workspace; nothing was changed.")
        if self.directory is not None:
            self.directory.check(person.user_id)
        elif person.user_id not in self.agents:
            raise Refused(NOT_AN_AGENT)

    def is_agent(self, person: Person) -> bool:
        """Say whether somebody may decide now."""
        try:
            self.check(person)
        except Refused:
            return False
        return True

    def actors(self) -> list[str]:
        """Return everybody who may decide now, in an order that does not change."""
        known = self.agents if self.directory is None else self.agents | self.directory.known()
        people = [Person(team_id=self.team_id, user_id=one) for one in sorted(known)]
        return [one.actor for one in people if self.is_agent(one)]

    def zone(self, person: Person) -> ZoneInfo:
        """Return an agent's own time zone, else the shop's."""
        known = self.directory.last_profile(person.user_id) if self.directory is not None else None
        return known.zone if known is not None and known.zone is not None else self.default_zone

    def plainly(self, text: str) -> str:
        """Name the agents of a text where mentions are not shown: by their Slack names."""
        return _ACTOR.sub(lambda found: self._name(found[2]) or "somebody in Slack", text)

    def named(self, text: str) -> str:
        """Escape a text of our own and turn the agents in it (`slack:TEAM:USER`) into their names."""
        known = self.agents if self.directory is None else self.agents | self.directory.known()

        def name(found: re.Match[str]) -> str:
            person = Person(team_id=found[1], user_id=found[2])
            ours = self.ours(person) and person.user_id in known
            return f"<@{person.user_id}>" if ours else "somebody in Slack"

        return _ACTOR.sub(name, escape(text))

    def _name(self, user_id: str) -> str:
        known = self.directory.last_profile(user_id) if self.directory is not None else None
        return known.name if known is not None and known.name else self.names.get(user_id, "")


def resolve(api: SlackApi, settings: Settings) -> Roster:
    """Ask Slack who we are, and whether the review channel and the agents exist.

    Raises
    ------
    ConfigurationError
        Naming every id that is wrong.
    """
    me = api.whoami()
    problems = [*_channel_problems(api, settings.slack.review_channel)]
    directory = AgentDirectory(api, settings.slack.agents)
    agents: set[str] = set()
    for agent in directory.people:
        problems += _agent_problems(api, agent, agents, directory)
    for group in directory.groups:
        problems += _group_problems(api, group, agents, directory)
    if problems:
        raise ConfigurationError(problems)
    directory.look_up_members()
    return Roster(
        team_id=str(me["team_id"]),
        bot_user_id=str(me["user_id"]),
        agents=frozenset(agents),
        directory=directory,
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
    api: SlackApi, agent: str, agents: set[str], directory: AgentDirectory
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
    directory.learn_profile(agent, profile_of(known))
    if known.get("deleted"):  # somebody left: they lose the right, the others go on working
        log.warning("slack_agent_deactivated", agent=agent)
        return
    agents.add(agent)


def _group_problems(
    api: SlackApi, group: str, agents: set[str], directory: AgentDirectory
) -> Iterable[tuple[str, str]]:
    try:
        members = api.group_members(group)
    except UnknownMethod:
        yield "slack.agents", f"this workspace has no user groups, so not {group} either; list the agents' user ids"
        return
    except SlackUnauthorized as error:
        yield "slack.agents", f"nobody may read the user group {group}: {error}"
        return
    except PermanentChannelError as error:
        yield "slack.agents", f"there is no user group {group} ({error}); write the id of one, or list user ids"
        return
    directory.learn_members(group, members)
    agents.update(members)
    if not members:
        log.warning("slack_agent_group_empty", group=group, advice="nobody in it may decide; add people to it")
