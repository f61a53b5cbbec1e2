"""Home, the recap, `Why this?` and the answers of commands: valid whatever people wrote, and cut visibly."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.channels.slack.answers import help_answer, queue_answer, start_question, stats_answer
from bot.channels.slack.bulk_view import bulk_outcome, recap
from bot.channels.slack.cards import section
from bot.channels.slack.checks import InvalidPayload, check_message, check_view
from bot.channels.slack.home import Choice
from bot.channels.slack.home_view import HomeFacts, agent_home, visitor_home
from bot.channels.slack.payloads import Click, Command, HomeOpened, Person, restore, stored, targets
from bot.channels.slack.reading import read_action, read_command, read_event, read_submission
from bot.channels.slack.why import why
from bot.decide.playbook import Autonomy
from bot.services.review.background import Background, Happened, Ruled
from bot.services.review.low_risk import Why
from bot.services.review.queue import AT_ONCE, BulkResult, Owner, Page, QueueFilter, Sorted
from bot.services.review.standing import AgentNumbers
from bot.store.queue import Waiting
from bot.store.standing import Sending
from tests.unit.test_slack_payloads import BERLIN, NOW, ROSTER, card_of, made, mentions, outreach, words

ME = "slack:T1:U0ADA"
NUMBERS = AgentNumbers(today=2, week=9, approved=0.5, edited=0.25, rejected=0.25, median_minutes=14)
QUEUE = Waiting(waiting=12, urgent=1, claimed=1, ending=2, oldest_at=NOW - timedelta(hours=5))
SENDING = Sending(stopped_at=None, stopped_by="", why="", held=False, approved=3, due=1)


def home_facts(*cards: Any, **changed: Any) -> HomeFacts:
    values: dict[str, Any] = {
        "page": Page(cards=cards, total=len(cards), number=1, pages=1), "wanted": QueueFilter(), "actor": ME,
        "playbooks": {"late": ("Late parcels", 3)}, "low_risk": 2, "numbers": NUMBERS, "queue": QUEUE, "sending": SENDING,
        "now": NOW, "zone": BERLIN,
    }  # fmt: skip
    return HomeFacts(**{**values, **changed})


def elements(view: Any) -> dict[str, Any]:
    """The interactive elements of a view by action_id."""
    return {
        element["action_id"]: element
        for block in view["blocks"]
        for element in [*block.get("elements", ()), block.get("accessory") or {}]
        if "action_id" in element
    }


@settings(max_examples=20)
@given(draft=words, name=words, order=words, playbook=words, reason=words, notice=words)
def test_every_home_is_valid_and_mentions_nobody(
    draft: str, name: str, order: str, playbook: str, reason: str, notice: str
) -> None:
    draft, name, order, playbook, reason, notice = map(made, (draft, name, order, playbook, reason, notice))
    cards = [
        card_of(outreach(id=n, draft=draft, urgent=bool(n % 2)), customer_name=name, order_key=order) for n in range(3)
    ]
    view = agent_home(
        home_facts(
            *cards,
            page=Page(cards=cards, total=35, number=2, pages=4),
            playbooks={f"p{n}": (playbook, n) for n in range(101)},
            sending=Sending(stopped_at=NOW, stopped_by="cli:root", why=reason, held=True, approved=3, due=1),
            notice=f"✅ {ROSTER.named(notice)}",
            undo="7:3",
        ),
        ROSTER,
    )
    check_view(view)
    assert mentions(view) == []
    visitor = visitor_home(name, reason)
    check_view({**visitor, "blocks": [b for b in visitor["blocks"] if b["type"] != "context"]})


@settings(max_examples=40)
@given(words=words, kind=words, name=words)
def test_every_background_is_valid_mentions_nobody_and_is_cut_visibly(words: str, kind: str, name: str) -> None:
    words, kind, name = map(made, (words, kind, name))
    happened = Happened(at=NOW - timedelta(days=400), kind=kind, this_order=False, value=2.0, words=words)
    ruled = Ruled(at=NOW, playbook=kind, deferred=True, words=words, until=NOW)
    behind = Background(
        at=NOW, forecast=None, fragility=words, clears=(words, 0.1), happened=[happened] * 12, earlier=30, allowed=words,
        until=NOW, ruled=[ruled] * 5,
    )  # fmt: skip
    modal = why(card_of(outreach(reasons=({"text": words, "effect": 0.1},) * 9), article_title=name), behind, BERLIN)
    check_view(modal)
    assert mentions(modal) == []
    if words == "x" * 10_000:
        assert str(modal).count("x…") >= 3


@settings(max_examples=15)
@given(name=words, order=words, playbook=words, unknown=words)
def test_every_answer_and_every_recap_is_valid_and_mentions_only_agents(
    name: str, order: str, playbook: str, unknown: str
) -> None:
    name, order, playbook, unknown = map(made, (name, order, playbook, unknown))
    held = {"claimed_by": ME, "claimed_until": NOW + timedelta(minutes=3)}
    waiting = [outreach(id=n, playbook=playbook or "p", **held) for n in range(200)]
    cards = {one.id: card_of(one, customer_name=name, order_key=order) for one in waiting}
    stopped = Sending(stopped_at=NOW, stopped_by=ME, why=unknown, held=False, approved=1, due=0)
    page = Page(cards=list(cards.values())[:10], total=200, number=1, pages=20)
    for answer in (
        queue_answer(page, ROSTER, NOW, BERLIN),
        queue_answer(Page(cards=(), total=0, number=1, pages=1), ROSTER, NOW, BERLIN),
        stats_answer(NUMBERS, QUEUE, SENDING, ROSTER, NOW),
        start_question(stopped, ROSTER),
        help_answer(unknown),
    ):
        check_message(answer.text, answer.blocks)
        assert set(mentions([answer.text, answer.blocks])) <= {"<@U0ADA"}
    others = [(one, list(Why)[at % len(Why)]) for at, one in enumerate(waiting[AT_ONCE:])]
    modal = recap(Sorted(low_risk=waiting[:AT_ONCE], more=3, others=others), cards, {}, 30)
    check_view(modal)
    assert mentions(modal) == []
    assert targets(modal["private_metadata"]) == [(one.id, one.version) for one in waiting[:AT_ONCE]]
    refused = [(n, f"outreach {n} was already approved by {ME}: {unknown}") for n in range(30)]
    outcome = bulk_outcome(BulkResult(done=range(10), refused=refused), ROSTER)
    check_message("x", [section(outcome)])


def test_a_recap_of_ids_as_long_as_they_get_fits_into_its_metadata() -> None:
    waiting = [outreach(id=10**17 + n, version=10**8) for n in range(AT_ONCE)]
    check_view(recap(Sorted(low_risk=waiting, more=0, others=()), {one.id: card_of(one) for one in waiting}, {}, 30))


def test_an_undo_of_ids_as_long_as_they_get_fits_into_its_button() -> None:
    undo = " ".join(f"{10**17 + n}:{10**8}" for n in range(AT_ONCE))
    check_view(agent_home(home_facts(card_of(outreach()), undo=undo), ROSTER))


def test_a_draft_that_is_not_shown_whole_cannot_be_approved_in_home() -> None:
    short, long = outreach(id=1, draft="Hello"), outreach(id=2, draft="Hello " * 200)
    shown = elements(agent_home(home_facts(card_of(short), card_of(long)), ROSTER))
    assert {"home_approve:1", "home_open:1", "home_open:2"} <= set(shown)
    assert "home_approve:2" not in shown


def test_what_a_colleague_has_claimed_is_only_opened_and_my_own_is_approved() -> None:
    until = NOW + timedelta(minutes=5)
    mine = outreach(id=1, claimed_by=ME, claimed_until=until)
    theirs = outreach(id=2, claimed_by="slack:T1:U0BEN", claimed_until=until)
    over = outreach(id=3, claimed_by="slack:T1:U0BEN", claimed_until=NOW)
    shown = elements(agent_home(home_facts(*map(card_of, (mine, theirs, over))), ROSTER))
    assert {name for name in shown if name.startswith("home_approve")} == {"home_approve:1", "home_approve:3"}


def test_a_draft_that_is_never_sent_is_opened_to_be_copied_and_what_goes_out_by_itself_says_when() -> None:
    copied = replace(card_of(outreach(id=1)), level=Autonomy.DRAFT)
    going = replace(card_of(outreach(id=2)), level=Autonomy.AUTO_AFTER, goes_at=NOW + timedelta(minutes=30))
    view = agent_home(home_facts(copied, going), ROSTER)
    assert {name for name in elements(view) if name.startswith("home_approve")} == {"home_approve:2"}
    assert "nothing is ever sent" in str(view)
    assert "Goes out by itself at 13:30" in str(view)


def test_stopping_and_starting_ask_before_they_act() -> None:
    stop = elements(agent_home(home_facts(), ROSTER))["sending_stop"]
    assert "Nothing leaves" in stop["confirm"]["text"]["text"]
    stopped = Sending(stopped_at=NOW, stopped_by=ME, why="", held=False, approved=4, due=2)
    start = elements(agent_home(home_facts(sending=stopped), ROSTER))["sending_start"]
    assert "4 approved wait; 2 would leave at once" in start["confirm"]["text"]["text"]


def test_the_filters_show_what_was_chosen() -> None:
    wanted = QueueFilter(playbook="late", urgent=False, owner=Owner.MINE, band="high")
    shown = elements(agent_home(home_facts(wanted=wanted), ROSTER))
    chosen = {
        name: element["initial_option"]["value"] for name, element in shown.items() if "initial_option" in element
    }
    assert chosen == {"home_playbook": "late", "home_urgency": "other", "home_owner": "mine", "home_band": "high"}


@given(
    st.builds(
        Choice,
        wanted=st.builds(
            QueueFilter,
            playbook=st.text(max_size=20),
            band=st.sampled_from(["", "low", "high"]),
            urgent=st.sampled_from([None, True, False]),
            owner=st.sampled_from(list(Owner)),
        ),
        page=st.integers(1, 9999),
    )
)
def test_what_somebody_chose_is_kept(choice: Choice) -> None:
    assert Choice.restored(choice.stored()) == choice


@given(st.text(max_size=40))
def test_what_is_kept_badly_is_the_first_page_of_everything(text: str) -> None:
    assert Choice.restored(text).page >= 1
    assert Choice.restored("owner=thief&page=-3&urgent=7") == Choice()


def test_another_filter_begins_at_the_first_page() -> None:
    ada = Person(team_id="T1", user_id="U0ADA")
    there = Choice(wanted=QueueFilter(playbook="late"), page=3)

    def click(action: str, value: str) -> Click:
        return Click(key="k", person=ada, action=action, value=value, channel="", ts="")

    assert there.after(click("home_urgency", "urgent")) == Choice(wanted=QueueFilter(playbook="late", urgent=True))
    assert there.after(click("home_playbook", "all")) == Choice()
    assert there.after(click("home_page_on", "4")).page == 4
    assert there.after(click("home_refresh", "now")) == there


# --- What comes in ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "received",
    [
        Command(key="k", person=Person(team_id="T1", user_id="U1"), words="queue 2", channel="C1"),
        HomeOpened(key="k", person=Person(team_id="T1", user_id="U1"), view_hash="h"),
        Click(
            key="k", person=Person(team_id="T1", user_id="U1"), action="home_open:7", value="7:1", channel="", ts="",
            view_type="home", view_id="V1", view_hash="h",
        ),
    ],
)  # fmt: skip
def test_what_was_recorded_can_be_read_back(received: Any) -> None:
    assert restore("k", stored(received)) == received


def test_neither_the_trigger_nor_the_address_for_answers_is_stored() -> None:
    url = "https://hooks.slack.com/commands/T1/1/secret"
    command = read_command({"command": "/aftercare", "team_id": "T1", "user_id": "U1", "response_url": url})
    assert command is not None
    assert command.response_url == url
    assert "secret" not in str(stored(command)) + command.key


def test_a_command_that_comes_twice_has_one_key_and_the_next_another() -> None:
    def key(**fields: str) -> str:
        command = read_command({"command": "/aftercare", "team_id": "T1", "user_id": "U1", **fields})
        assert command is not None
        return command.key

    assert (
        key(trigger_id="1.2", text="next") == key(trigger_id="1.2", text="next") != key(trigger_id="1.3", text="next")
    )
    assert key(response_url="https://a") != key(response_url="https://b")
    assert read_command({"command": "/aftercare", "text": "next"}) is None


def test_only_the_home_tab_is_a_home_that_was_opened() -> None:
    def read(**event: Any) -> Any:
        body = {"team_id": "T1", "event_id": "Ev1", "event": {"type": "app_home_opened", "user": "U1", **event}}
        return read_event(body, "U0BOT")

    assert read(tab="home", view={"hash": "h7"}) == HomeOpened(
        key="event:Ev1", person=Person(team_id="T1", user_id="U1"), view_hash="h7"
    )
    assert isinstance(read(), HomeOpened)
    assert not isinstance(read(tab="messages"), HomeOpened)


def test_a_click_in_a_view_carries_the_state_that_was_seen() -> None:
    body = {
        "user": {"id": "U1", "team_id": "T1"}, "trigger_id": "1.2", "container": {"type": "view", "view_id": "V7"},
        "view": {"id": "V7", "type": "home", "hash": "h7"}, "actions": [{"action_id": "home_open:7", "value": "7:1"}],
    }  # fmt: skip
    click = read_action(body)
    assert (click.in_view, click.view_type, click.view_id, click.view_hash) == (True, "home", "V7", "h7")
    seen_alone = read_action({"container": {"channel_id": "C1", "message_ts": "1.1", "is_ephemeral": True}})
    assert (seen_alone.in_view, seen_alone.ephemeral) == (False, True)


def test_a_modal_on_top_of_another_says_so() -> None:
    assert read_submission({"view": {"previous_view_id": "V1"}}).stacked
    assert not read_submission({"view": {"previous_view_id": None}}).stacked


# --- What Slack would refuse -----------------------------------------------------------------------------------


def option(value: str, text: str = "One") -> dict[str, Any]:
    return {"text": {"type": "plain_text", "text": text}, "value": value}


def select(**changed: Any) -> dict[str, Any]:
    element = {"type": "static_select", "action_id": "a", "options": [option("1"), option("2")]}
    return {"type": "actions", "elements": [{**element, **changed}]}


def ask(**changed: str) -> dict[str, Any]:
    words = {"title": "Sure?", "text": "Really?", "confirm": "Yes", "deny": "No", **changed}
    confirm = {name: {"type": "plain_text", "text": text} for name, text in words.items()}
    pressed = {"type": "button", "action_id": "b", "text": {"type": "plain_text", "text": "Stop"}, "value": "1"}
    return {"type": "actions", "elements": [{**pressed, "confirm": confirm}]}


def home_of(*blocks: Any, **changed: Any) -> dict[str, Any]:
    return {"type": "home", "callback_id": "h", "blocks": list(blocks), **changed}


@pytest.mark.parametrize(
    ("view", "wrong"),
    [
        (home_of(*[section("x")] * 101), "blocks"),
        (home_of(section("x"), title={"type": "plain_text", "text": "x"}), "neither title"),
        (home_of(section("x"), private_metadata="x" * 3001), "private_metadata"),
        (home_of(section("x"), type="workflow_step"), "type"),
        (home_of({"type": "input", "block_id": "i"}), "no input"),
        (home_of(select(initial_option=option("3"))), "none of those offered"),
        (home_of(select(options=[option("1"), option("1", "Two")])), "one value"),
        (home_of(select(placeholder={"type": "plain_text", "text": "x" * 151})), "placeholder"),
        (home_of(select(), {**select(), "block_id": "again"}), "action_id a is there twice"),
        (home_of(ask(title="x" * 101)), "title"),
        (home_of(ask(text="x" * 301)), "text"),
        (home_of(ask(confirm="x" * 31)), "confirm"),
        (home_of(ask(deny=" ")), "deny"),
    ],
)
def test_a_view_that_slack_would_refuse_is_refused_here(view: dict[str, Any], wrong: str) -> None:
    with pytest.raises(InvalidPayload, match=wrong):
        check_view(view)
    check_view(home_of(section("x"), select(initial_option=option("2")), ask()))
