"""At a real Slack peer: the draft of an article is rewritten by one agent and published once, whoever else clicks."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from bot.channels.slack.api import SlackApi
from bot.channels.slack.board_actions import Desks
from bot.channels.slack.connection import SlackConnection
from bot.clock import ManualClock
from bot.services.delivery.stopping import Stopping
from bot.services.knowledge.gap_desk import GapDesk
from bot.services.planning.playbooks import Playbooks
from bot.services.review.desk import ReviewDesk
from bot.store import gap_drafts as store
from bot.store.database import Database
from bot.store.enums import GapState
from bot.store.gap_drafts import NewGapDraft
from bot.store.knowledge import current_version
from tests.peers.local_slack import REVIEW_CHANNEL, LocalSlack, shown_text, until
from tests.slack_world import ADA, BEN, STRANGER, ScriptedConversations, slack_settings

pytestmark = pytest.mark.peer


class NoOffers:
    def offered(self) -> list[Any]:
        return []


class NoPatterns:
    def views(self) -> list[Any]:
        return []


def test_a_draft_is_put_aside_or_rewritten_and_published_by_agents_alone_and_once(
    peer: LocalSlack, sqlite_database: Database, clock: ManualClock
) -> None:
    settings = slack_settings(peer)
    gaps = GapDesk(sqlite_database, clock, settings, curation=None)  # type: ignore[arg-type]
    connection = SlackConnection(
        api=SlackApi.from_settings(settings),
        database=sqlite_database,
        clock=clock,
        settings=settings,
        review=ReviewDesk(sqlite_database, clock, settings),
        conversations=ScriptedConversations(sqlite_database, clock),  # type: ignore[arg-type]
        send_utterance=lambda _: None,
        stopping=Stopping(sqlite_database, clock),
        playbooks=lambda: Playbooks([]),
        desks=Desks(earning=NoOffers(), patterns=NoPatterns(), gaps=gaps),  # type: ignore[arg-type]
    )
    words = {
        "name": "hob",
        "questions": ["Hob <!channel>?"],
        "locale": "en",
        "times": 4,
        "customers": 3,
        "affected": 2.0,
    }

    def propose(title: str, body: str) -> int:
        new = NewGapDraft(title=title, body=body, **words)  # type: ignore[arg-type]
        with sqlite_database.write() as connection:
            return store.insert_draft(connection, new, [], clock.now())

    def card(draft_id: int, says: str) -> dict[str, Any]:
        key = f"gap:{draft_id}"

        def found() -> dict[str, Any] | None:
            return next(
                (m for m in peer.messages(REVIEW_CHANNEL) if m.get("blocks") and m["blocks"][0].get("block_id") == key and says in shown_text(m)),
                None,
            )  # fmt: skip

        return until(found, f"a card of draft {draft_id} that says {says!r}")

    def whispers(user: str) -> list[str]:
        found = peer.messages(REVIEW_CHANNEL)
        return [str(m["text"]) for m in found if m.get("subtype") == "ephemeral" and m["ephemeral_to"] == user]

    try:
        connection.start()
        first, second = propose("Glass on a hob", "No, [name], it is glass."), propose("Second", "Yes.")
        connection.sync()
        shown = card(first, "3 customers asked, 4 times in all")
        assert "Hob &lt;!channel&gt;?" in shown_text(shown)
        peer.click(STRANGER.id, shown, "gap_publish")
        until(lambda: whispers(STRANGER.id), "the stranger is told")
        peer.click(ADA, shown, "gap_publish")
        (told,) = until(lambda: whispers(ADA), "Ada is told")
        assert "[name]" in told
        assert {gaps.view(one).state for one in (first, second)} == {GapState.PROPOSED}

        with peer.browser() as browser:
            peer.click(ADA, shown, "gap_edit")
            modal = browser.modal("gap_edit")
            assert modal["private_metadata"] == f"{first}:1"
            browser.submit(ADA, **_fields("Glass on a hob", "No, [name], it is glass."))
            assert "[name]" in browser.settled()["body"]
            browser.submit(ADA, **_fields("Glass and induction", "No, it is glass."))
            assert browser.settled() == {}
        assert "Glass and induction" in shown_text(card(first, f"was published by <@{ADA}>"))
        with sqlite_database.read() as open_connection:
            article = current_version(open_connection, "glass-and-induction")
        assert article is not None
        assert (article.body, article.questions, article.origin) == ("No, it is glass.", ("Which hob?",), "slack")
        peer.click(BEN, shown, "gap_decline")  # the card as Ben still sees it
        (told,) = until(lambda: whispers(BEN), "Ben is told")
        assert "decided meanwhile" in told

        peer.click(BEN, card(second, "Second"), "gap_decline")
        card(second, f"Put aside by <@{BEN}>")
        assert connection.sync() == 0
        clock.advance(timedelta(days=15))  # what ended long ago is left as it stands
        assert gaps.views() == []
    finally:
        connection.stop()


def _fields(title: str, body: str) -> dict[str, dict[str, Any]]:
    return {
        "title": {"title": {"type": "plain_text_input", "value": title}},
        "body": {"body": {"type": "plain_text_input", "value": body}},
        "questions": {"questions": {"type": "plain_text_input", "value": "Which hob?\n\n"}},
    }
