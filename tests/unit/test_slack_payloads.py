"""Only valid payloads leave, whatever a draft, a name or a reason says."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.channels.slack import modals
from bot.channels.slack.cards import outreach_card, section
from bot.channels.slack.checks import InvalidPayload, check_message, check_view
from bot.channels.slack.gap_board import edit_gap, gap_card
from bot.channels.slack.handoffs import handoff_card, thread_line
from bot.channels.slack.identity import Roster
from bot.channels.slack.payloads import (
    Click,
    CustomerMessage,
    Person,
    Submission,
    number,
    restore,
    stored,
    target,
)
from bot.channels.slack.reading import read_action, read_event, read_submission
from bot.channels.slack.times import snooze_times
from bot.channels.slack.why import why
from bot.decide.lifecycle import OutreachState
from bot.errors import InputError
from bot.services.conversation.conversations import HandoffReason
from bot.services.conversation.dialogue import Reason
from bot.services.review.background import Background
from bot.services.review.cards import CardView, build_card
from bot.services.review.desk import DRAFT_LIMIT
from bot.settings import Review
from bot.store.decisions import CardFacts
from bot.store.enums import Author, Direction, GapState, HandoffState
from bot.store.examples import Choices
from bot.store.gap_drafts import GapDraft
from bot.store.outreach import Outreach
from bot.store.slack import HandoffFacts, Words
from tests.unit.test_slack_text import nasty

NOW = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")
ROSTER = Roster(
    team_id="T1", bot_user_id="U0BOT", agents=frozenset({"U0ADA"}), names={"U0ADA": "Ada"}, default_zone=BERLIN
)
BEHIND = Background(
    at=NOW, forecast=None, fragility="", clears=None, happened=(), earlier=0, allowed="", until=None, ruled=()
)
LONG = {"x": 10_000, "😀": 5_000, "<!channel> ": 900, "שלום ": 2_000, "&": 4_000, "> \n": 3_000, "**a** ": 1_500}
words = nasty | st.sampled_from(sorted(LONG))  # those of LONG stand for many of them: `made` repeats them
states = st.sampled_from(list(OutreachState))


def made(text: str) -> str:
    """The text that a drawn one stands for; a failure then prints the short one."""
    return text * LONG.get(text, 1)


def outreach(**changed: Any) -> Outreach:
    values: dict[str, Any] = dict.fromkeys(Outreach.__dataclass_fields__)
    values |= {
        "id": 7, "version": 3, "state": OutreachState.SUGGESTED, "playbook": "late", "step": "first", "channel": "slack",
        "subject": "", "draft": "Hello", "original_draft": "Hello", "reasons": (), "probability": 0.5, "band": "high",
        "urgent": False, "attempts": 0, "not_before": NOW, "expires_at": NOW + timedelta(hours=72), "locale": "en",
    }  # fmt: skip
    return Outreach(**{**values, **changed})


def card_of(one: Outreach, **facts: Any) -> CardView:
    values: dict[str, Any] = {
        "outreach_id": 7, "customer_key": "c1", "customer_name": "Maria Santos", "customer_timezone": "Europe/Berlin",
        "order_key": "o-1", "prediction_kind": "issue", "horizon_days": 45, "article_id": "a", "article_version": 2,
        "article_title": "Late parcels",
        "arm": "secret-arm",
    }  # fmt: skip
    return build_card(one, CardFacts(**{**values, **facts}), BERLIN)


def mentions(payload: Any) -> list[str]:
    """Every live mention in what would leave; `plain_text` is shown as it is."""
    if isinstance(payload, dict):
        if payload.get("type") == "plain_text":
            return []
        return [m for value in payload.values() for m in mentions(value)]
    if isinstance(payload, list | tuple):
        return [m for value in payload for m in mentions(value)]
    return re.findall(r"<[!@#][^>]{0,40}", payload) if isinstance(payload, str) else []


def prefilled(modal: dict[str, Any]) -> dict[str, Any]:
    """A modal without the prefilled field: plain text there, which Slack never reads as a mention."""
    blocks = [{**b, "element": {}} if b.get("block_id") == "draft" else b for b in modal["blocks"]]
    return {**modal, "blocks": blocks}


@settings(max_examples=60, deadline=None)
@given(draft=words, name=words, order=words, subject=words, reason=words, title=words, state=states, refusal=words)
def test_every_card_is_valid_and_mentions_nobody(
    draft: str, name: str, order: str, subject: str, reason: str, title: str, state: OutreachState, refusal: str
) -> None:
    draft, name, order, subject, reason, title, refusal = map(
        made, (draft, name, order, subject, reason, title, refusal)
    )
    reasons = tuple({"text": reason, "effect": 0.2} for _ in range(3))
    one = outreach(
        draft=draft, subject=subject, reasons=reasons, state=state, refusal=refusal, decided_by="slack:T1:U0ADA",
        decided_at=NOW, snoozed_until=NOW, sent_at=NOW, channel="email",
    )  # fmt: skip
    view = card_of(one, customer_name=name, order_key=order, article_title=title, article_id=title)
    rendered = outreach_card(view, ROSTER, NOW, 30, ("shop.example",))
    check_message(rendered.text, rendered.blocks)
    assert set(mentions([rendered.text, rendered.blocks])) <= {"<@U0ADA"}
    assert "secret-arm" not in str((rendered, why(view, BEHIND, BERLIN)))
    for modal in (
        modals.edit(view),
        modals.reject(view, Review().reject_reasons),
        modals.snooze(view, NOW, BERLIN),
        why(view, BEHIND, BERLIN),
    ):
        check_view(modal)
        assert mentions(prefilled(modal)) == []


@settings(max_examples=60, deadline=None)
@given(text=words, name=words, reason=words)
def test_every_handover_is_valid_and_mentions_nobody(text: str, name: str, reason: str) -> None:
    text, name, reason = map(made, (text, name, reason))
    facts = HandoffFacts(
        id=1, conversation_id=1, reason=reason, state=HandoffState.OPEN, urgent=True, owner="slack:T1:U0ADA",
        opened_at=NOW, closed_at=None, channel="slack", customer_id=1, customer_name=name,
    )  # fmt: skip
    said = [
        Words(id=n, direction=Direction.IN, author=author, author_id=None, text=text, occurred_at=NOW)
        for n, author in enumerate((Author.CUSTOMER, Author.BOT, Author.AGENT) * 3)
    ]
    choices = Choices(utterance_id=10**18 - 1, articles=[(10**18 - 1 - n, reason) for n in range(3)])
    rendered = handoff_card(facts, said, ROSTER, choices)
    check_message(rendered.text, rendered.blocks)
    check_message("line", [section(thread_line(facts, said[0], ROSTER))])
    modal = modals.handoff_reply(facts, text)
    check_view(modal)
    assert set(mentions([rendered.text, rendered.blocks, modal])) <= {"<@U0ADA"}


@settings(max_examples=30, deadline=None)
@given(text=words, question=words, state=st.sampled_from(list(GapState)))
def test_every_draft_of_an_article_is_valid_and_mentions_nobody(text: str, question: str, state: GapState) -> None:
    text, question = made(text), made(question)
    view = GapDraft(
        id=7, version=3, state=state, name=question, title=question, body=text, questions=(question,) * 9, locale="en",
        times=4, customers=3, affected=1.0, proposed_at=NOW, decided_at=NOW, decided_by="slack:T1:U0ADA",
        article_version_id=1, article=(question, 2),
    )  # fmt: skip
    rendered = gap_card(view, ROSTER)
    check_message(rendered.text, rendered.blocks)
    check_view(edit_gap(view))
    assert set(mentions([rendered.text, rendered.blocks])) <= {"<@U0ADA"}


def test_a_draft_too_long_for_a_field_is_not_offered_for_editing_cut() -> None:
    modal = modals.edit(card_of(outreach(draft="x" * (DRAFT_LIMIT + 1))))
    assert modal["callback_id"] == "aftercare_notice"
    assert modals.edit(card_of(outreach(draft="x" * DRAFT_LIMIT)))["callback_id"] == "outreach_edit"


def test_snooze_offers_only_times_before_the_card_expires() -> None:
    times = snooze_times(NOW, BERLIN, NOW + timedelta(hours=2))
    assert times == [("In an hour", NOW + timedelta(hours=1))]
    late = card_of(replace(outreach(), expires_at=NOW + timedelta(minutes=5)))
    assert modals.snooze(late, NOW, BERLIN)["callback_id"] == "aftercare_notice"
    friday = datetime(2026, 3, 27, 12, 0, tzinfo=UTC)  # clocks change on Sunday
    monday = dict(snooze_times(friday, BERLIN, friday + timedelta(days=9)))["Next Monday at 09:00"]
    assert monday == datetime(2026, 3, 30, 7, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "blocks", "wrong"),
    [
        ("", [], "fallback text"),
        ("Look <!channel>", [], "mention of everybody"),
        ("x", [section("Look <!here>")], "mention of everybody"),
        ("x", [section("y" * 3001)], "3000"),
        ("x", [section("😀" * 1501)], "3002"),
        ("x", [section(" ")], "empty"),
        ("x", [section("y")] * 51, "51 blocks"),
        ("x", [{**section("y"), "block_id": "a"}] * 2, "block_id a is there twice"),
        ("x", [{"type": "nonsense"}], "unknown type"),
        ("x", [{"type": "header", "text": {"type": "plain_text", "text": "y" * 151}}], "150"),
        ("x", [{"type": "context", "elements": []}], "0 elements"),
        ("x", [{"type": "actions", "elements": []}], "0 elements"),
    ],
)
def test_what_slack_would_refuse_is_refused_here_by_name(text: str, blocks: list[Any], wrong: str) -> None:
    with pytest.raises(InvalidPayload, match=wrong):
        check_message(text, blocks)


def menu(**changed: Any) -> dict[str, Any]:
    option = {"text": {"type": "plain_text", "text": "One"}, "value": "1"}
    element = {"type": "overflow", "action_id": "a", "options": [{**option, **changed}]}
    return {"type": "actions", "elements": [element]}


@pytest.mark.parametrize(
    "block",
    [
        menu(value="x" * 151),
        menu(text={"type": "plain_text", "text": "x" * 76}),
        {"type": "actions", "elements": menu()["elements"] * 2},
        {"type": "actions", "elements": [{**menu()["elements"][0], "options": menu()["elements"][0]["options"] * 6}]},
    ],
)
def test_menus_beyond_the_limits_are_refused(block: dict[str, Any]) -> None:
    with pytest.raises(InvalidPayload):
        check_message("x", [block])
    check_message("x", [menu()])


def test_a_modal_with_a_long_title_is_refused() -> None:
    modal = why(card_of(outreach()), BEHIND, BERLIN)
    with pytest.raises(InvalidPayload, match="outreach_why"):
        check_view({**modal, "title": {"type": "plain_text", "text": "x" * 25}})


@pytest.mark.parametrize("value", ["", "7", "7:", ":3", "7:3:1", "a:b", "²:1", "٧:3", "7;3", "-1:2", "7:3\n"])
def test_a_value_that_is_no_id_and_version_is_an_error(value: str) -> None:
    with pytest.raises(InputError, match="too old"):
        target(value)
    assert target("7:3") == (7, 3)


@pytest.mark.parametrize("text", ["", "²", "٧", "-1", "1.0", " 1", "1\n", "9" * 19])
def test_only_plain_digits_are_a_number(text: str) -> None:
    assert number(text) is None
    assert number("17") == 17


ADA = Person(team_id="T1", user_id="U0ADA")


@pytest.mark.parametrize(
    "received",
    [
        Click(key="k", person=ADA, action="outreach_approve", value="7:3", channel="C1", ts="1.2"),
        Submission(key="k", person=ADA, modal="outreach_edit", reference="7:3", inputs={"draft/text": "Hello"}),
        CustomerMessage(key="k", person=ADA, channel="D1", ts="1.2", text="Hello"),
    ],
)
def test_what_was_recorded_can_be_read_back(received: Any) -> None:
    assert restore("k", stored(received)) == received


def test_what_another_version_recorded_is_an_error_not_a_crash() -> None:
    for payload in ({}, {"kind": "click"}, {"kind": "new", "person": {}}, {"kind": "message", "person": {"x": 1}}):
        with pytest.raises(InputError, match="cannot be read"):
            restore("k", payload)


@given(st.dictionaries(st.sampled_from(["type", "user", "team", "view", "event", "channel", "actions"]), st.none()))
def test_payloads_with_holes_are_read_without_a_crash(body: dict[str, Any]) -> None:
    read_action(body)
    read_submission(body)
    read_event(body, "U0BOT")


def test_only_agents_of_this_workspace_are_named() -> None:
    assert ROSTER.named("by slack:T1:U0ADA & <x>") == "by <@U0ADA> &amp; &lt;x&gt;"
    assert ROSTER.named("by slack:T2:U0ADA") == "by somebody in Slack"
    assert ROSTER.named("by slack:T1:U0EVE") == "by somebody in Slack"
    assert ROSTER.plainly("by slack:T1:U0ADA") == "by Ada"


@pytest.mark.parametrize("reason", [*Reason, *HandoffReason])
def test_every_reason_for_a_handover_has_words(reason: Reason | HandoffReason) -> None:
    facts = HandoffFacts(
        id=1, conversation_id=1, reason=reason.value, state=HandoffState.GIVEN_BACK, urgent=False,
        owner="slack:T1:U0ADA", opened_at=NOW, closed_at=NOW, channel="slack", customer_id=1, customer_name="Maria",
    )  # fmt: skip
    text = handoff_card(facts, [], ROSTER).text
    assert text.partition(": ")[2] not in (reason.value, reason.value.replace("_", " ").capitalize())
