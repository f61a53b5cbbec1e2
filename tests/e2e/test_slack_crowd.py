"""Many agents on one card, and a long queue of hostile words: one decision each, and only valid payloads leave."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from bot.clock import ManualClock
from bot.decide.lifecycle import OutreachState
from bot.settings import Database as DatabaseSettings
from bot.settings import Rates, Review
from bot.store.decisions import Decided, decisions_of
from bot.store.outreach import Outreach, outreach
from bot.store.shop import link_slack_user
from bot.wiring import App
from tests.integration.shop_rows import propose
from tests.peers.local_slack import REVIEW_CHANNEL, TEAM, Browser, LocalSlack, shown_text, until
from tests.peers.slack_proxy import FaultProxy
from tests.slack_requests import clicked, signed, submitted
from tests.slack_world import AGENTS, MARIA, slack_settings

pytestmark = pytest.mark.peer
NOON = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
ROUNDS = 50
ROUNDS_OVER_HTTP = 10  # the same race at the door for signed requests, whose clicks come in together more closely still
QUEUE = int(os.environ.get("AFTERCARE_TEST_QUEUE", "150"))  # two thousand take minutes, most of them in the judge
HOSTILE = [
    "<!channel> <!here> <!everyone>",
    "<@U0AGENT0> and <@U0MARIA>, look",
    "<http://evil.example|your bank>, or [your bank](http://evil.example)",
    "x" * 10_000,
    "\u202eשלום עליכם\u202c مرحبا",
    "👩‍👩‍👧‍👦" * 400,
    "*_~`> &amp; &lt;!channel&gt;\n```\n<!channel>\n```",
    "a\x00b\u2028c\ud7ff" + "\n" * 500,
]


@pytest.fixture
def mode() -> str:
    return "http"


@pytest.fixture
def app(peer: LocalSlack, proxy: FaultProxy, tmp_path: Path, sqlite_url: str, mode: str) -> Iterator[App]:
    peer._control("reset", {})
    proxy.reset()
    settings = slack_settings(peer, api_url=proxy.api_url, mode=mode)
    unpaced = settings.delivery.model_copy(update={"per_second": Rates(slack=0)})
    own = {"database": DatabaseSettings(url=sqlite_url), "home": tmp_path, "delivery": unpaced}
    running = App(settings.model_copy(update=own), ManualClock(NOON))
    assert running.slack is not None
    running.slack.start()
    yield running
    running.slack.stop()
    running.close()
    assert proxy.problems() == []


def suggest(app: App, key: str, **changed: Any) -> Outreach:
    proposed = propose(app.database, app.clock.now(), key, channel="slack", **changed)
    with app.database.write() as connection:
        link_slack_user(connection, proposed.customer_id, TEAM, f"{MARIA.id}{key}")
    return proposed


def cards(peer: LocalSlack) -> dict[str, dict[str, Any]]:
    found = [(m, str((m.get("blocks") or [{}])[0].get("block_id", ""))) for m in peer.messages(REVIEW_CHANNEL)]
    return {key: message for message, key in found if key.startswith("card:")}


def whispers(peer: LocalSlack) -> list[dict[str, Any]]:
    return [m for m in peer.messages(REVIEW_CHANNEL) if m.get("subtype") == "ephemeral"]


def play(app: App, peer: LocalSlack, turn: int) -> tuple[str, str]:
    """Let eight agents decide at once on a new card, every second one rejects; return what won and who."""
    slack = app.slack
    assert slack is not None
    proposed = suggest(app, f"c{turn}")
    app.tick()
    card = cards(peer)[f"card:{proposed.id}"]
    told_before = len(whispers(peer))
    start = Barrier(len(AGENTS), timeout=30)
    reason = {"select": {"type": "static_select", "selected_option": {"value": Review().reject_reasons[0]}}}

    def act(n: int) -> bool:
        """Click, or submit; return whether the agent was told on the field of the modal to have come too late."""
        agent, trigger, reference = AGENTS[n].id, f"{turn}.{n}", f"{proposed.id}:{proposed.version}"
        approving = clicked(card, "outreach_approve", agent, trigger)
        body = approving if n % 2 else submitted("outreach_reject", reference, agent, trigger, reason=reason)
        start.wait()
        time.sleep(0.005 * ((n + turn) % 4))  # a rejection takes a little longer: let either be first
        status, _, answer = slack.handle(body, signed(body))
        assert status == 200
        return "errors" in answer

    with ThreadPoolExecutor(len(AGENTS)) as pool:
        late = list(pool.map(act, range(len(AGENTS))))
    with app.database.read() as connection:
        (decision,) = decisions_of(connection, proposed.id)
        state = outreach(connection, proposed.id).state
    approved = decision.kind.value == "approve"
    assert state == (OutreachState.APPROVED if approved else OutreachState.REJECTED)
    # Who lost a rejection is told on its field, who lost a click in the channel.
    assert sum(late) == len(AGENTS) // 2 - (not approved)
    lost_clicks = len(AGENTS) // 2 - approved
    until(lambda: len(whispers(peer)) >= told_before + lost_clicks, "word to every loser")
    assert len(whispers(peer)) == told_before + lost_clicks
    winner = decision.actor.rpartition(":")[2]
    until(lambda: f"<@{winner}>" in shown_text(cards(peer)[f"card:{proposed.id}"]), "the winner on the card")
    return decision.kind.value, winner


def test_many_times_eight_agents_approve_and_reject_at_once_over_http(app: App, peer: LocalSlack) -> None:
    decided_in_a_race_and_sent_once(app, peer, Counter(play(app, peer, turn)[0] for turn in range(ROUNDS_OVER_HTTP)))


def play_in_slack(app: App, peer: LocalSlack, browser: Browser, turn: int) -> str:
    """Let eight agents decide at once on a new card in the workspace itself; return which kind of decision won.

    The workspace shows one modal at a time, so the modal is opened once, and four agents submit it.
    """
    proposed = suggest(app, f"s{turn}")
    app.tick()
    card = cards(peer)[f"card:{proposed.id}"]
    told_before = len(whispers(peer))
    peer.click(AGENTS[0].id, card, "outreach_more", option="reject")
    until(lambda: any(f"{proposed.id}:" in str(view.get("private_metadata")) for view in browser.stack), "the modal")
    start = Barrier(len(AGENTS), timeout=30)
    reason = {"select": {"type": "static_select", "selected_option": {"value": Review().reject_reasons[0]}}}

    def act(n: int) -> None:
        start.wait()
        time.sleep(0.005 * ((n + turn) % 4))  # a rejection takes a little longer: let either be first
        if n % 2:
            peer.click(AGENTS[n].id, card, "outreach_approve")
        else:
            browser.submit(AGENTS[n].id, reason=reason)

    with ThreadPoolExecutor(len(AGENTS)) as pool:
        list(pool.map(act, range(len(AGENTS))))
    (decision,) = until(lambda: decided(app, proposed.id), "a decision")
    approved = decision.kind.value == "approve"
    lost_clicks, lost_submits = len(AGENTS) // 2 - approved, len(AGENTS) // 2 - (not approved)
    until(lambda: len(whispers(peer)) >= told_before + lost_clicks, "word to every loser of a click")
    until(lambda: len(refused_submits(peer, proposed.id)) >= lost_submits, "word to every loser of a rejection")
    assert len(whispers(peer)) == told_before + lost_clicks
    assert len(refused_submits(peer, proposed.id)) == lost_submits
    assert len(decided(app, proposed.id)) == 1
    winner = decision.actor.rpartition(":")[2]
    until(lambda: f"<@{winner}>" in shown_text(cards(peer)[f"card:{proposed.id}"]), "the winner on the card")
    return decision.kind.value


def decided(app: App, outreach_id: int) -> list[Decided]:
    with app.database.read() as connection:
        return decisions_of(connection, outreach_id)


def refused_submits(peer: LocalSlack, outreach_id: int) -> list[dict[str, Any]]:
    """The submits that were answered with an error on a field of the modal."""
    answers = (entry.get("detail") or {} for entry in peer.log("ack"))
    return [one for one in answers if f"Outreach {outreach_id} was already" in str(one.get("errors"))]


@pytest.mark.parametrize("mode", ["socket"])
def test_fifty_times_eight_agents_approve_and_reject_at_once_in_slack(app: App, peer: LocalSlack) -> None:
    with peer.browser() as browser:
        won = Counter(play_in_slack(app, peer, browser, turn) for turn in range(ROUNDS))
    decided_in_a_race_and_sent_once(app, peer, won)


def decided_in_a_race_and_sent_once(app: App, peer: LocalSlack, won: Counter[str]) -> None:
    assert set(won) == {"approve", "reject"}, "one kind always won: the rounds were no race"
    deliver_all(app)
    keys = Counter(
        m["blocks"][0]["block_id"]
        for channel in {call["channel"] for call in to_customers(peer)}
        for m in peer.messages(channel)
    )
    assert len(keys) == won["approve"]
    assert set(keys.values()) == {1}


def deliver_all(app: App) -> None:
    """Let the undo window pass, and send what is approved; once more than needed, as a second send would show."""
    clock = app.clock
    assert isinstance(clock, ManualClock)
    clock.advance(timedelta(seconds=31))
    for _ in range(3):
        app.deliver()


def to_customers(peer: LocalSlack) -> list[dict[str, Any]]:
    return [call for call in peer.calls("chat.postMessage") if call.get("channel") != REVIEW_CHANNEL]


def test_hostile_words_leave_as_valid_payloads_that_mention_nobody(
    app: App, peer: LocalSlack, proxy: FaultProxy
) -> None:
    slack = app.slack
    assert slack is not None
    proposed = [suggest(app, f"h{n}", draft=words, subject=words[:200]) for n, words in enumerate(HOSTILE)]
    app.tick()
    for n, one in enumerate(proposed):
        card = cards(peer)[f"card:{one.id}"]
        for action in ("outreach_edit", "outreach_snooze", "outreach_approve"):
            body = clicked(card, action, AGENTS[n].id, f"{action}.{n}")
            assert slack.handle(body, signed(body))[0] == 200
    until(lambda: len([c for c in proxy.seen("views.open") if not c["problems"]]) >= 2 * len(HOSTILE), "the modals")

    def approved() -> bool:
        with app.database.read() as connection:
            return all(outreach(connection, one.id).state == OutreachState.APPROVED for one in proposed)

    until(approved, "the decisions")
    deliver_all(app)
    with app.database.read() as connection:
        states = [(outreach(connection, one.id).state, outreach(connection, one.id).refusal) for one in proposed]
    assert states == [(OutreachState.SENT, None)] * len(HOSTILE)
    said = [call["body"] for call in proxy.seen("chat.postMessage") if call["body"]["channel"] != REVIEW_CHANNEL]
    assert len(said) == len(HOSTILE)
    assert "<http://evil" not in json.dumps(said), "a stranger's link can be clicked"


def test_a_long_queue_leaves_as_valid_payloads(app: App, peer: LocalSlack, proxy: FaultProxy) -> None:
    assert app.slack is not None
    for n in range(QUEUE):
        propose(
            app.database, app.clock.now(), f"q{n}", channel="slack", draft=HOSTILE[n % len(HOSTILE)], urgent=n % 9 == 0
        )
    while app.slack.sync():
        pass
    posted = [
        call for call in proxy.seen("chat.postMessage") if call["body"]["blocks"][0]["block_id"].startswith("card:")
    ]
    assert len(posted) == QUEUE
