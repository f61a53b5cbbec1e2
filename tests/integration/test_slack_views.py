"""What local-slack lacks: hashes of views, modals on modals, worn-out addresses for answers, methods that are missing.

The peer is a loopback server that answers as told; requests come signed, as over HTTP.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from bot.channels.slack.payloads import Command, Person, stored
from bot.clock import ManualClock
from bot.decide.lifecycle import OutreachState
from bot.services.delivery.stopping import Stopping
from bot.store.database import Database
from bot.store.events import record_event
from bot.store.tables import metadata
from tests.integration.shop_rows import propose
from tests.scripted_slack import error, scripted_slack
from tests.slack_scene import OK, Scene


@pytest.fixture
def scene(sqlite_database: Database, clock: ManualClock) -> Iterator[Scene]:
    with scripted_slack() as slack:
        running = Scene(slack, sqlite_database, clock)
        running.connection.start()
        yield running
        running.connection.stop()


def conflicting_once(scene: Scene, method: str) -> None:
    """Let a method refuse any hash: somebody else was there meanwhile."""
    taken = (200, {"ok": True, "view": {"hash": "h9"}}, {})

    def answer(handler: Any) -> None:
        body = json.loads(scene.slack.calls[-1][1])
        scene.slack.reply(handler, error("hash_conflict") if body.get("hash") else taken)

    scene.slack.answers[method] = answer


def test_home_is_published_on_the_state_that_was_seen(scene: Scene) -> None:
    scene.opened("Ev1")
    scene.finish()
    (first,) = scene.slack.bodies("views.publish")
    assert first["user_id"] == "U1"
    assert "hash" not in first
    scene.connection.start()
    scene.opened("Ev2", view_hash="h1")
    scene.finish()
    scene.connection.start()
    scene.opened("Ev3")  # Slack did not say: what was published last is known
    scene.finish()
    assert [body.get("hash") for body in scene.slack.bodies("views.publish")] == [None, "h1", "h1"]


def test_a_home_that_changed_meanwhile_is_drawn_anew_and_shown(scene: Scene) -> None:
    scene.opened("Ev1", view_hash="h0")
    conflicting_once(scene, "views.publish")
    scene.opened("Ev2", view_hash="h0")
    scene.finish()
    assert scene.slack.bodies("views.publish")[-1].get("hash") is None
    assert scene.event_states() == {"done"}


def test_a_workspace_without_home_loses_nothing_else(scene: Scene) -> None:
    proposed = propose(scene.database, scene.clock.now())
    scene.slack.answers["views.publish"] = error("unknown_method")
    scene.opened("Ev1")
    scene.click("home_approve:1", f"{proposed.id}:1", type="home", hash="h1")
    scene.finish()
    assert scene.present(proposed.id).state is OutreachState.APPROVED


def test_a_click_in_a_modal_redraws_it_on_its_hash_and_again_where_it_changed(scene: Scene) -> None:
    one, two = (propose(scene.database, scene.clock.now(), key=key) for key in "ab")
    scene.click("outreach_approve", f"{one.id}:1", "t.1", type="modal", id="V7", hash="h7")
    scene.finish()
    (update,) = scene.slack.bodies("views.update")
    assert (update["view_id"], update["hash"]) == ("V7", "h7")
    assert "Approved by" in str(update["view"])
    scene.connection.start()
    conflicting_once(scene, "views.update")
    scene.click("outreach_approve", f"{two.id}:1", "t.2", type="modal", id="V8", hash="h7")
    scene.finish()
    assert [body.get("hash") for body in scene.slack.bodies("views.update")][1:] == ["h7", None]
    assert scene.present(two.id).state is OutreachState.APPROVED


def test_a_modal_from_a_modal_lies_on_top_and_both_close_with_it(scene: Scene) -> None:
    proposed = propose(scene.database, scene.clock.now())
    scene.click("outreach_edit", f"{proposed.id}:1", type="modal", id="V7", hash="h7")
    scene.finish()
    (pushed,) = scene.slack.bodies("views.push")
    assert pushed["view"]["callback_id"] == "outreach_edit"
    assert scene.slack.count("views.open") == 0
    scene.connection.start()
    state = {"values": {"draft": {"text": {"type": "plain_text_input", "value": "Dear Maria"}}}}
    answered = scene.submit("outreach_edit", f"{proposed.id}:1", previous_view_id="V7", state=state)
    assert json.loads(answered[1]) == {"response_action": "clear"}
    scene.finish()
    assert scene.present(proposed.id).draft == "Dear Maria"


def test_a_refusal_in_a_modal_is_said_on_top_of_it(scene: Scene) -> None:
    proposed = propose(scene.database, scene.clock.now())
    scene.review.reject(proposed.id, 1, "slack:T1:U2", "other")
    scene.click("outreach_approve", f"{proposed.id}:1", type="modal", id="V7", hash="h7")
    scene.finish()
    (pushed,) = scene.slack.bodies("views.push")
    assert "already rejected by <@U2>" in str(pushed["view"])


def test_a_refusal_that_comes_too_late_for_a_modal_is_said_in_home(scene: Scene) -> None:
    proposed = propose(scene.database, scene.clock.now())
    scene.review.reject(proposed.id, 1, "slack:T1:U2", "other")
    scene.slack.answers["views.push"] = error("expired_trigger_id")
    scene.click("outreach_approve", f"{proposed.id}:1", type="modal", id="V7", hash="h7")
    scene.finish()
    assert "already rejected by <@U2>" in str(scene.slack.bodies("views.publish")[-1]["view"])


def test_a_card_that_only_one_person_sees_is_redrawn_where_they_see_it(scene: Scene) -> None:
    proposed = propose(scene.database, scene.clock.now())
    scene.click_seen_alone("outreach_approve", f"{proposed.id}:1")
    scene.finish()
    (answer,) = scene.slack.bodies("response")
    assert answer["replace_original"] is True
    assert "Approved by <@U1>" in str(answer["blocks"])


def test_an_answer_goes_to_the_address_of_the_command_and_where_that_is_worn_out_into_the_channel(scene: Scene) -> None:
    scene.command("stats")
    scene.finish()
    (answer,) = scene.slack.bodies("response")
    assert (answer["response_type"], answer["replace_original"]) == ("ephemeral", False)
    assert scene.slack.count("chat.postEphemeral") == 0
    scene.slack.answers["response"] = (404, {"ok": False, "error": "used_url"}, {})
    scene.connection.start()
    scene.command("stats", "t.2")
    scene.finish()
    (whispered,) = scene.slack.bodies("chat.postEphemeral")
    assert (whispered["channel"], whispered["user"]) == ("C1", "U1")
    assert whispered["blocks"]


def test_an_answer_where_the_app_is_no_member_goes_to_the_review_channel(scene: Scene) -> None:
    def not_there(handler: Any) -> None:
        elsewhere = json.loads(scene.slack.calls[-1][1])["channel"] != "C1"
        scene.slack.reply(handler, error("channel_not_found") if elsewhere else (200, OK, {}))

    scene.slack.answers["chat.postEphemeral"] = not_there
    scene.command("help", channel_id="C9", response_url="")
    scene.finish()
    assert [body["channel"] for body in scene.slack.bodies("chat.postEphemeral")] == ["C9", "C1"]


def test_no_answer_is_sent_to_an_address_that_is_not_slacks(scene: Scene) -> None:
    with scripted_slack() as stranger:
        for at, url in enumerate((stranger.url, "https://hooks.slack.com.evil.example/x", "file:///etc/passwd")):
            scene.command("stats", f"t.{at}", response_url=url)
        scene.finish()
        assert stranger.calls == []
    assert scene.slack.count("chat.postEphemeral") == 3


@pytest.mark.parametrize("text", ["stop", "stats", "next"])
def test_a_command_of_another_workspace_is_refused(scene: Scene, text: str) -> None:
    scene.command(text, team="T2")
    scene.finish()
    (answer,) = scene.slack.bodies("response")
    assert "another workspace" in answer["text"]
    with scene.database.read() as connection:
        assert connection.execute(sa.select(metadata.tables["audit"].c.id)).all() == []


def test_clicks_and_homes_of_another_workspace_do_nothing(scene: Scene) -> None:
    proposed = propose(scene.database, scene.clock.now())
    scene.opened(team="T2")
    scene.click("home_approve:1", f"{proposed.id}:1", team="T2", type="home", hash="h1")
    scene.click("sending_stop", "stop", "t.7", team="T2", type="home", hash="h1")
    scene.finish()
    assert scene.slack.count("views.publish") == 0
    assert scene.present(proposed.id) == proposed
    with scene.database.read() as connection:
        assert connection.execute(sa.select(metadata.tables["audit"].c.id)).all() == []


def test_who_left_the_group_sees_the_page_of_everybody_and_decides_nothing(scene: Scene) -> None:
    proposed = propose(scene.database, scene.clock.now())
    quiet = propose(scene.database, scene.clock.now(), key="q", playbook="quiet_customer", urgent=False, band="low")
    scene.opened(user="U3")
    scene.click("home_approve:1", f"{proposed.id}:1", user="U3", type="home", hash="h1")
    scene.submit("home_bulk", f"{quiet.id}:1", user="U3")
    scene.finish()
    shown = [str(body["view"]) for body in scene.slack.bodies("views.publish") if body["user_id"] == "U3"]
    assert len(shown) == 3
    assert all("Messages tab" in view and "o-c1" not in view for view in shown)
    assert {scene.present(one.id).state for one in (proposed, quiet)} == {OutreachState.SUGGESTED}


def test_a_command_that_a_crash_left_is_done_at_the_next_start_and_said_in_the_channel(scene: Scene) -> None:
    scene.finish()
    left = Command(
        key="command:t.1", person=Person(team_id="T1", user_id="U1"), words="stop fire", channel="C1", response_url="x"
    )
    with scene.database.write() as connection:
        record_event(connection, "slack", left.key, left.kind, stored(left), scene.clock.now())
    scene.clock.advance(timedelta(seconds=1))
    scene.connection.start()
    scene.connection.sync()
    (whispered,) = scene.slack.bodies("chat.postEphemeral")
    assert "Nothing leaves" in whispered["text"]
    (posted,) = scene.slack.bodies("chat.postMessage")
    assert "stopped* by <@U1>" in posted["text"]
    assert "fire" in posted["text"]


def test_who_stopped_is_said_once_though_the_word_was_lost_on_its_way_to_the_database(scene: Scene) -> None:
    Stopping(scene.database, scene.clock).stop("cli:root", "wrong price")
    assert scene.connection.sync() == 1
    assert scene.connection.sync() == 0
    (posted,) = scene.slack.bodies("chat.postMessage")
    assert "root (command line)" in posted["text"]
    with scene.database.write() as connection:
        connection.execute(sa.delete(metadata.tables["slack_posts"]))  # it died before it wrote that down
    history = [{"user": "U0BOT", "ts": "1.2", "blocks": [{"block_id": posted["blocks"][0]["block_id"]}]}]
    scene.slack.answers["conversations.history"] = (200, {"ok": True, "messages": history}, {})
    scene.connection.sync()
    assert scene.slack.count("chat.postMessage") == 1


def test_a_stop_holds_though_slack_cannot_be_told(scene: Scene) -> None:
    scene.slack.answers["chat.postMessage"] = error("internal_error")
    scene.command("stop")
    scene.finish()
    (answer,) = scene.slack.bodies("response")
    assert "Nothing leaves" in answer["text"]
    scene.connection.start()
    scene.slack.answers["chat.postMessage"] = (200, OK, {})
    assert scene.connection.sync() == 1
