"""Who may decide: people listed by id, and the members of user groups, asked of Slack again and again.

What Slack said is believed for a minute. Where it cannot be asked, the last word counts for a quarter of an hour, then
nobody in doubt may decide: a person who left a group loses the right whatever is broken.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import structlog

from bot.channels.slack.api import SlackApi, UnknownMethod
from bot.channels.slack.text import one_line
from bot.errors import ChannelError, PermanentChannelError, Refused

__all__ = ["NOT_AN_AGENT", "AgentDirectory", "Profile", "is_group", "profile_of"]

log = structlog.get_logger(__name__)

NOT_AN_AGENT = "Only support agents may do this. Ask whoever runs Aftercare to add you to `slack.agents`."
# Real seconds: for so long an answer is believed, a failed question is not asked again, and the last answer stands in.
FRESH_SECONDS, AGAIN_SECONDS, KEPT_SECONDS = 60.0, 10.0, 900.0
# The tick renews answers before they are too old to be believed, of those who decided so lately.
RENEWED_SECONDS, LATELY_SECONDS = 40.0, 900.0
# So many members of groups are looked up at the start; others when they first do something.
PROFILES_AT_ONCE = 50

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Profile:
    """What matters of a person in Slack."""

    active: bool
    name: str = ""
    zone: ZoneInfo | None = None


class _Kept(Generic[T]):
    """Answers of Slack by id: believed while fresh, kept for a while where it cannot be asked again.

    Parameters
    ----------
    ask : callable
    lacking, gone : object
        What to go by where the workspace has no such method, and where Slack knows no such id.
    what : str
        What the ids name, for people.
    """

    def __init__(
        self, ask: Callable[[str], T], *, lacking: T, gone: T, what: str, seconds: Callable[[], float]
    ) -> None:
        self._ask = ask
        self._lacking = lacking
        self._gone = gone
        self._what = what
        self._seconds = seconds
        self._answers: dict[str, tuple[float, T]] = {}
        self._failed_at: dict[str, float] = {}

    def get(self, key: str, fresh: float = FRESH_SECONDS) -> T:
        """Return the answer for an id, no older than `fresh` seconds if possible; raises Refused where nobody can say."""
        now = self._seconds()
        asked_at, answer = self._answers.get(key, (None, None))
        if asked_at is not None and answer is not None and now - asked_at < fresh:
            return answer
        if now - self._failed_at.get(key, now - AGAIN_SECONDS) >= AGAIN_SECONDS:
            try:
                return self.put(key, self._asked(key))
            except ChannelError as error:
                self._failed_at[key] = now
                log.warning("slack_agents_not_asked", id=key, error=str(error))
        if asked_at is not None and answer is not None and now - asked_at < KEPT_SECONDS:
            return answer
        raise Refused(
            f"Slack cannot say at the moment who is {self._what} {key}, and in doubt nobody may decide. "
            "Try again in a minute; `aftercare doctor slack` says what is wrong"
        )

    def put(self, key: str, answer: T) -> T:
        """Keep an answer that was just read."""
        self._answers[key] = (self._seconds(), answer)
        self._failed_at.pop(key, None)
        return answer

    def last(self) -> dict[str, T]:
        """Return the latest answers, however old; asks nothing."""
        return {key: answer for key, (_, answer) in list(self._answers.items())}

    def _asked(self, key: str) -> T:
        try:
            return self._ask(key)
        except UnknownMethod:
            return self._lacking
        except PermanentChannelError as error:  # it is gone: that is an answer
            log.warning("slack_agent_unknown", id=key, error=str(error))
            return self._gone


class AgentDirectory:
    """The agents as Slack knows them.

    Parameters
    ----------
    listed : iterable of str
        `slack.agents`: ids of people (`U…`) and of user groups (`S…`).
    seconds : callable
        Real time that only goes forward, in seconds.
    """

    def __init__(self, api: SlackApi, listed: Iterable[str], seconds: Callable[[], float] = time.monotonic) -> None:
        listed = tuple(dict.fromkeys(listed))
        self.people = tuple(one for one in listed if not is_group(one))
        self.groups = tuple(one for one in listed if is_group(one))
        self._seconds = seconds
        self._acted: dict[str, float] = {}
        self._members = _Kept(
            api.group_members, lacking=frozenset[str](), gone=frozenset(), what="in the user group", seconds=seconds
        )
        # A workspace that lacks users.info says nothing against anybody.
        self._profiles = _Kept(
            lambda user_id: profile_of(api.user(user_id)),
            lacking=Profile(active=True),
            gone=Profile(active=False),
            what="behind the account",
            seconds=seconds,
        )

    def keep_fresh(self) -> None:
        """Ask again about the groups and about who decided lately, so that no click has to wait for the answer."""
        now = self._seconds()
        lately = [user_id for user_id, at in list(self._acted.items()) if now - at < LATELY_SECONDS]
        for group in self.groups:
            with suppress(Refused):
                self._members.get(group, RENEWED_SECONDS)
        for user_id in lately:
            with suppress(Refused):
                self._profiles.get(user_id, RENEWED_SECONDS)

    def check(self, user_id: str) -> None:
        """Make sure that somebody may decide now.

        Raises
        ------
        Refused
            They may not, or nobody can say; the message says what to do.
        """
        if user_id not in self.people and not any(user_id in self.members(group) for group in self.groups):
            raise Refused(NOT_AN_AGENT)
        self._acted[user_id] = self._seconds()
        if not self.profile(user_id).active:
            raise Refused("This account is deactivated in Slack, or a bot; it may not decide.")

    def members(self, group: str) -> frozenset[str]:
        """Return who is in a user group; raises Refused where nobody can say."""
        return self._members.get(group)

    def profile(self, user_id: str) -> Profile:
        """Return what Slack knows of a person; raises Refused where nobody can say."""
        return self._profiles.get(user_id)

    def known(self) -> frozenset[str]:
        """Return who was an agent when Slack was last asked; asks nothing."""
        return frozenset(self.people).union(*self._members.last().values())

    def last_profile(self, user_id: str) -> Profile | None:
        """Return what Slack last said of a person; asks nothing."""
        return self._profiles.last().get(user_id)

    def learn_members(self, group: str, members: frozenset[str]) -> None:
        """Keep what was just read of a group."""
        self._members.put(group, members)

    def learn_profile(self, user_id: str, known: Profile) -> None:
        """Keep what was just read of a person."""
        self._profiles.put(user_id, known)

    def look_up_members(self) -> None:
        """Read the profiles of some members, so that people are called by their names from the start."""
        for user_id in sorted(self.known() - set(self._profiles.last()))[:PROFILES_AT_ONCE]:
            try:
                self.profile(user_id)
            except Refused:
                return


def is_group(agent: str) -> bool:
    """Say whether an id of `slack.agents` names a user group."""
    return agent.startswith("S")


def profile_of(found: Mapping[str, Any]) -> Profile:
    """Read what `users.info` says of a person."""
    try:
        zone = ZoneInfo(str(found.get("tz") or ""))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        zone = None
    name = one_line(str(found.get("real_name") or found.get("name") or found.get("id") or ""))
    return Profile(active=not found.get("deleted") and not found.get("is_bot"), name=name, zone=zone)
