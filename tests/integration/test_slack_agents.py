"""Agents by list or by user group: asked of Slack again and again, and in doubt nobody may decide."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from bot.channels.slack.agents import FRESH_SECONDS, KEPT_SECONDS, NOT_AN_AGENT, AgentDirectory
from bot.channels.slack.api import SlackApi
from bot.channels.slack.doctor import check_slack, needed_scopes
from bot.channels.slack.identity import resolve
from bot.channels.slack.payloads import Person
from bot.errors import ConfigurationError, Refused
from tests.scripted_slack import ScriptedSlack, error, flat, healthy, scripted_slack, settings_for

GROUP = "S0CARE"


@dataclass
class Workspace:
    """A workspace with people and one user group, and a stopwatch that a test winds on."""

    slack: ScriptedSlack
    members: list[str] = field(default_factory=lambda: ["U1", "U2"])
    deleted: set[str] = field(default_factory=set)
    now: float = 1000.0

    def __post_init__(self) -> None:
        healthy(self.slack, ",".join(needed_scopes()))
        self.heal()

    def heal(self) -> None:
        self.slack.answers["usergroups.users.list"] = self._group
        self.slack.answers["users.info"] = self._user

    def fail(self, code: str = "internal_error") -> None:
        self.slack.answers["usergroups.users.list"] = self.slack.answers["users.info"] = error(code)

    def directory(self, *listed: str) -> AgentDirectory:
        return AgentDirectory(SlackApi.from_settings(settings_for(self.slack.url)), listed, lambda: self.now)

    def asked(self) -> int:
        return self.slack.count("usergroups.users.list")

    def _group(self, handler: Any) -> None:
        self.slack.reply(handler, (200, {"ok": True, "users": self.members}, {}))

    def _user(self, handler: Any) -> None:
        user = flat(self.slack.calls[-1][1])["user"]
        known = {"id": user, "real_name": f"Agent {user}", "tz": "Europe/Lisbon", "deleted": user in self.deleted}
        self.slack.reply(handler, (200, {"ok": True, "user": known}, {}))


@pytest.fixture
def workspace() -> Iterator[Workspace]:
    with scripted_slack() as slack:
        yield Workspace(slack)


def test_members_of_a_group_may_decide_and_others_may_not(workspace: Workspace) -> None:
    directory = workspace.directory(GROUP, "U9")
    for agent in ("U1", "U2", "U9"):
        directory.check(agent)
    with pytest.raises(Refused, match=r"slack\.agents"):
        directory.check("U3")
    assert workspace.slack.bodies("usergroups.users.list")[0]["usergroup"] == GROUP


def test_an_answer_is_believed_for_a_minute_and_asked_again_after_it(workspace: Workspace) -> None:
    directory = workspace.directory(GROUP)
    directory.check("U1")
    workspace.members = ["U2"]
    workspace.now += FRESH_SECONDS - 1
    directory.check("U1")
    assert workspace.asked() == 1
    workspace.now += 2
    with pytest.raises(Refused):
        directory.check("U1")
    assert workspace.asked() == 2


def test_the_tick_asks_again_in_time_so_that_no_click_waits(workspace: Workspace) -> None:
    directory = workspace.directory(GROUP)
    directory.check("U1")
    workspace.now += FRESH_SECONDS - 10
    directory.keep_fresh()
    asked = len(workspace.slack.calls)
    workspace.now += FRESH_SECONDS - 10
    directory.check("U1")
    assert len(workspace.slack.calls) == asked
    workspace.fail()
    workspace.now += KEPT_SECONDS
    directory.keep_fresh()  # a Slack that fails does not stop the tick
    assert workspace.slack.count("users.info") == 2  # nobody decided lately: nobody is asked about


def test_who_is_deactivated_may_not_decide_though_the_list_names_them(workspace: Workspace) -> None:
    directory = workspace.directory("U1")
    directory.check("U1")
    workspace.deleted = {"U1"}
    workspace.now += FRESH_SECONDS + 1
    with pytest.raises(Refused, match="deactivated"):
        directory.check("U1")


def test_a_slack_that_fails_leaves_the_last_word_for_a_while_and_then_nobody(workspace: Workspace) -> None:
    directory = workspace.directory(GROUP)
    directory.check("U1")
    workspace.fail()
    workspace.now += FRESH_SECONDS + 1
    directory.check("U1")
    failures = workspace.asked()
    directory.check("U1")  # not hammered with the same question
    assert workspace.asked() == failures
    workspace.now += KEPT_SECONDS
    with pytest.raises(Refused, match=r"Slack cannot say .* who is in the user group S0CARE"):
        directory.check("U1")
    workspace.heal()
    workspace.now += FRESH_SECONDS
    directory.check("U1")


def test_a_slack_that_never_answered_lets_nobody_in_doubt_decide(workspace: Workspace) -> None:
    workspace.fail("missing_scope")
    with pytest.raises(Refused, match="doctor slack"):
        workspace.directory(GROUP).check("U1")


def test_a_group_that_is_gone_has_nobody_in_it(workspace: Workspace) -> None:
    directory = workspace.directory(GROUP)
    directory.check("U1")
    workspace.slack.answers["usergroups.users.list"] = error("no_such_subteam")
    workspace.now += FRESH_SECONDS + 1
    with pytest.raises(Refused, match=r"slack\.agents"):
        directory.check("U1")


def resolved(workspace: Workspace, *agents: str) -> Any:
    settings = settings_for(workspace.slack.url, agents=agents)
    return resolve(SlackApi.from_settings(settings), settings)


def test_the_start_reads_the_group_and_calls_people_by_their_names_and_zones(workspace: Workspace) -> None:
    roster = resolved(workspace, GROUP)
    ada = Person(team_id="T1", user_id="U1")
    assert roster.is_agent(ada)
    assert not roster.is_agent(Person(team_id="T2", user_id="U1"))  # the same id elsewhere is somebody else
    assert roster.zone(ada) == ZoneInfo("Europe/Lisbon")
    assert roster.plainly("by slack:T1:U2") == "by Agent U2"
    assert roster.named("by slack:T1:U2, not slack:T1:U3") == "by <@U2>, not somebody in Slack"
    with pytest.raises(Refused) as caught:
        roster.check(Person(team_id="T1", user_id="U3"))
    assert str(caught.value) == NOT_AN_AGENT


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("no_such_subteam", "there is no user group S0CARE"),
        ("plan_upgrade_required", "there is no user group S0CARE"),
        ("unknown_method", "no user groups"),
    ],
)
def test_a_group_that_cannot_be_read_is_named_at_the_start(workspace: Workspace, code: str, said: str) -> None:
    workspace.slack.answers["usergroups.users.list"] = error(code)
    with pytest.raises(ConfigurationError) as caught:
        resolved(workspace, GROUP, "U1")
    ((path, advice),) = caught.value.problems
    assert path == "slack.agents"
    assert said in advice


def test_the_doctor_names_the_missing_scope_and_only_where_a_group_needs_it(workspace: Workspace) -> None:
    settings = settings_for(workspace.slack.url, agents=(GROUP,))
    assert all(finding.ok for finding in check_slack(settings))
    healthy(workspace.slack, ",".join(needed_scopes() - {"usergroups:read"}))
    workspace.heal()
    refusal = {"ok": False, "error": "missing_scope", "needed": "usergroups:read"}
    workspace.slack.answers["usergroups.users.list"] = (200, refusal, {})
    wrong = {finding.name: finding.advice for finding in check_slack(settings) if not finding.ok}
    assert "usergroups:read" in wrong["scopes"]
    assert "usergroups:read" in wrong["slack.agents"]
    assert all(finding.ok for finding in check_slack(settings_for(workspace.slack.url, agents=("U1",))))


def test_the_doctor_tells_of_a_group_with_nobody_in_it_and_of_who_left(workspace: Workspace) -> None:
    workspace.members, workspace.deleted = [], {"U2"}
    empty = {f.name: f for f in check_slack(settings_for(workspace.slack.url, agents=(GROUP,)))}["slack.agents"]
    assert (empty.ok, "nobody" in empty.advice) == (False, True)
    left = {f.name: f for f in check_slack(settings_for(workspace.slack.url, agents=("U1", "U2")))}["slack.agents"]
    assert (left.ok, "U2" in left.advice) == (False, True)
