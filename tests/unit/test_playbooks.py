"""Playbooks: the shipped ones are sound, and a broken one is told every mistake with its line."""

from __future__ import annotations

import ast
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.config import Settings
from bot.decide import playbook_reading, playbook_values
from bot.decide.playbook import PATTERN, Autonomy, Candidate, TriggerEvent, mismatch
from bot.decide.playbook_reading import PlaybookError, parse_duration, read_playbook
from bot.decide.playbook_values import Values
from bot.errors import ConfigurationError, InputError, NotFound
from bot.services.planning.playbooks import SHIPPED, load_playbooks, read_file, read_text
from messages.catalogue import CHANNELS, Catalogue

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
VALUES = {
    "first_name": "Maria",
    "order_id": "o1",
    "shop_name": "Shop",
    "product_name": "Kettle",
    "promised_on": "10 March",
    "article_title": "Title",
    "article_answer": "Answer.",
    "article_url": "https://shop.example/help",
}

BROKEN = Path(__file__).parents[1] / "data" / "broken_playbook.yaml"
# One of every kind of mistake: the line on which it stands, where, and how its message begins.
EXPECTED = """
1 id: 'Delivery At Risk' is no name; write small letters, digits and _, such as delivery_at_risk
1 owner: is missing; write some words
1 title: is missing; write some words
2 titel: unknown key; did you mean title?
3 goal: 'happiness' is not known; write prevent_issue or first_use or keep_customer or listen
4 autonomy: 'full' is not known; write draft or approve or auto_after or auto
5 auto_after: belongs to autonomy: auto_after; write that, or leave this out
6 enabled: 'maybe' must be true or false
7 purpose: 'profit' is not known; write service or research or marketing
8 priority: 'urgent' is not known; write high or normal or low
9 due_after: 'soon' is no time span that makes sense here; write 90m, 12h, 3d or 2w
10 escalate.after: is missing; write how long a card may wait, such as 8h
11 escalate.to: must be some words
14 audience.prediction.kind: write issue or churn
15 audience.prediction.moments.1: 'never' is not known; write any of placed, due
16 audience.prediction.band: 'scary' is not known; write low or medium or high
17 audience.prediction.probability_at_least: 1.5 must be a number from 0 to 1
18 audience.countries.0: False is no text; put it in quotes, such as "NO"
19 audience.products: must be a list
20 audience.stages.0: 'lost' is not known; write any of awaiting, received, setting_up, using,
21 audience.order_total_at_least: 'much' must be a number from 0 to 1e+12
23 audience.customer_value_at_most: is less than customer_value_at_least; nobody is between
25 trigger.event: 'full_moon' is not known; write placed or promised or delivered or
26 trigger.after: '3 days' is no time span that makes sense here; write 90m, 12h, 3d or 2w
27 trigger.within: must be later than `after`, else there is no time to act
28 trigger.without.0: 'boredom' is not known; write any of placed, shipped, out_for_delivery,
29 trigger.every: '12h' is no time span that makes sense here; write 90m, 12h, 3d or 2w
29 trigger.every: belongs to an event that comes round for everybody; leave it out here
30 trigger.days: belongs to event: replenishment; leave it out here
31 trigger.value_at_most: belongs to an event with a value: review or csat or nps
34 steps.0.template: there is no message template 'delivery_at_rsk'; did you mean delivery_at_risk?
35 steps.0.wait: '-2d' is no time span that makes sense here; write 90m, 12h, 3d or 2w
36 steps.0.when: the first step follows on nothing; say it in trigger.without or audience
37 steps.1.id: is missing; write small letters, digits and _, such as delivery_at_risk
38 steps.1.when: 'bored' is no condition; write one of replied, activated, ordered, answered,
40 steps.2.after: there is no step 'third' before this one; known: first, _
41 steps.2.template: 7 is no name; write small letters, digits and _, such as delivery_at_risk
42 steps.2.when.csat_at_most: 70 must be a number from 0 to 10
43 steps.3.id: second is taken; every step has an id of its own
45 steps.3.when.happened.0: 'boredom' is not known; write any of placed, shipped,
46 steps.3.colour: unknown key; known here: id, template, after, wait, when, article
47 exit.1: 'boredom' is not known; write any of placed, shipped, out_for_delivery, delivered,
48 time_to_live: '5m' is no time span that makes sense here; write 90m, 12h, 3d or 2w
49 channels: must be a list
50 cool_down: 'soon' is no time span that makes sense here; write 90m, 12h, 3d or 2w
51 cool_down: is written twice; keep one
52 expires_after: '1m' is no time span that makes sense here; write 90m, 12h, 3d or 2w
53 holdout_share: 0.95 must be a number from 0 to 0.9
54 limits.per_day: 0 must be a number from 1 to 1e+06
54 limits.per_year: unknown key; did you mean per_day?
56 variants.0.name: holdout is taken; every arm has a name of its own
57 variants.0.share: 0 must be a number from 0.001 to 1000
"""


def test_a_file_with_every_kind_of_mistake_gives_every_error_with_its_line() -> None:
    with pytest.raises(PlaybookError) as caught:
        read_file(BROKEN, Catalogue.load().names)
    said = [f"{one.line} {one.path}: {one.message}" for one in caught.value.problems]
    expected = EXPECTED.strip().splitlines()
    assert len(said) == len(expected)
    for found, wanted in zip(said, expected, strict=True):
        assert found.startswith(wanted)
    assert f"{BROKEN}:34: steps.0.template" in str(caught.value)
    assert "did you mean delivery_at_risk?" in str(caught.value)


def test_the_file_of_mistakes_produces_every_message_that_the_checker_has() -> None:
    # Each call that notes a mistake, by its line in the two modules; those that one file cannot hold are in the other tests.
    with pytest.raises(PlaybookError):
        read_file(BROKEN, Catalogue.load().names)
    noted: set[tuple[str, int]] = set()
    real = Values.wrong

    def noting(self: Values, here: Any, message: str) -> None:
        caller = sys._getframe(1)
        noted.add((Path(caller.f_code.co_filename).name, caller.f_lineno))
        real(self, here, message)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Values, "wrong", noting)
        for text in (BROKEN.read_text(), *OTHER_MISTAKES):
            with pytest.raises(PlaybookError):
                read_text(text, "f.yaml", Catalogue.load().names)
    calls = set()
    for module in (playbook_reading, playbook_values):
        file = Path(module.__file__)
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "wrong":
                calls.add((file.name, node.lineno))
    assert calls - noted == set()


# What cannot stand in one file together with the rest.
OTHER_MISTAKES = (
    "- no mapping",
    "id: x\nautonomy: auto_after\ntrigger: {event: birthday, after: 3d, within: 5d, every: 30d}\nsteps: []",
    "audience: {pattern: {kinds: [Charging!]}, prediction: {kind: issue}}\ntrigger: {event: review, within: 5d}",
    "trigger: {event: placed, after: 1d, within: 9d, every: 2d}\ntime_to_live: 3d\nsteps: [{id: a, wait: 9d}]\ncool_down: 1d",
    "variants: x\ntitle: 7\nowner: 7",
)


def test_the_shipped_playbooks_are_sound_and_their_templates_render_on_each_channel() -> None:
    catalogue = Catalogue.load()
    playbooks = load_playbooks(Settings(), catalogue.names)
    assert {"delivery_at_risk", "how_to_start", "quality_pattern", "quiet_customer"} <= {
        one.id for one in playbooks.all
    }
    for playbook in playbooks.known:
        for step in playbook.steps:
            for channel in CHANNELS:
                assert catalogue.render_draft(step.template, "en", channel, VALUES).text
                assert catalogue.render_draft(step.template, "en", channel, {"shop_name": "Shop"}).text


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("id: [", 1, "valid YAML"),
        ("a: b\nc: {\n", 3, "valid YAML"),
        ("", 1, "mapping"),
        ("- id: x\n", 1, "mapping"),
        ("id: !!python/object:os.system x\n", 1, "valid YAML"),
        (
            "a: &a [1,1,1,1,1,1,1,1,1,1]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: [*c,*c,*c,*c,*c,*c,*c,*c,*c]\n",
            1,
            "5000",
        ),
    ],
)
def test_a_file_that_is_no_playbook_is_refused_with_its_line(
    tmp_path: Path, text: str, line: int, message: str
) -> None:
    file = tmp_path / "odd.yaml"
    file.write_text(text)
    with pytest.raises(PlaybookError, match=message) as caught:
        read_file(file)
    assert caught.value.problems[0].line == line


trees = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "title", "kind", "prediction", "event", "after", "name", "share", "template", "x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(
    st.dictionaries(
        st.sampled_from(
            [
                "id",
                "goal",
                "audience",
                "trigger",
                "steps",
                "exit",
                "variants",
                "channels",
                "cool_down",
                "holdout_share",
                "zz",
            ]
        ),
        trees,
    )
)
@settings(deadline=None)
def test_whatever_the_mapping_holds_the_answer_is_a_list_of_mistakes(tree: dict[str, Any]) -> None:
    with pytest.raises(PlaybookError) as caught:
        read_playbook(tree, {}, file="f.yaml", version="1")
    assert caught.value.problems


@given(st.integers(0, 500), st.sampled_from(["m", "h", "d", "w"]), st.booleans())
def test_durations_are_read(number: int, unit: str, negative: bool) -> None:
    seconds = number * {"m": 60, "h": 3600, "d": 86400, "w": 604800}[unit] * (-1 if negative else 1)
    assert parse_duration(f"{'-' if negative else ''}{number}{unit}") == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "3", "3 days", "d", "1e400d", "9" * 400 + "d", "--1d"])
def test_what_is_no_duration_is_none(text: str) -> None:
    assert parse_duration(text) is None


def test_a_shops_own_playbook_takes_the_place_of_a_shipped_one(tmp_path: Path) -> None:
    tree = yaml.safe_load((SHIPPED / "how_to_start.yaml").read_text())
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({**tree, "title": "Our own"}))
    found = load_playbooks(Settings.model_validate({"playbooks": {"dir": str(tmp_path)}}))
    assert found.get("how_to_start").playbook.title == "Our own"
    assert len(found.all) == 4


def test_two_files_with_one_id_and_a_missing_folder_are_errors(tmp_path: Path) -> None:
    text = (SHIPPED / "how_to_start.yaml").read_text()
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=r"b\.yaml:1: id: how_to_start is already"):
        load_playbooks(Settings.model_validate({"playbooks": {"dir": str(tmp_path)}}))
    with pytest.raises(ConfigurationError, match=r"playbooks\.dir"):
        load_playbooks(Settings.model_validate({"playbooks": {"dir": str(tmp_path / "no")}}))


def test_an_unknown_playbook_is_not_found() -> None:
    with pytest.raises(NotFound, match="how_to_start"):
        load_playbooks(Settings()).get("nope")


LATE = Candidate(
    kind="issue",
    moment="due",
    band="high",
    probability=0.6,
    locale="pt-BR",
    country="BR",
    order_total=50.0,
    trigger_at=NOW - timedelta(days=1),
    events=frozenset(),
)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({}, None),
        ({"kind": "churn"}, "another prediction"),
        ({"band": "low"}, "not probable enough"),
        ({"trigger_at": None}, "no promised event"),
        ({"trigger_at": NOW + timedelta(days=2, seconds=1)}, "too early"),
        ({"trigger_at": NOW - timedelta(days=14)}, "too late"),
        ({"events": frozenset({"delivered", "shipped"})}, "left by delivered"),
        ({"events": frozenset({"shipped"})}, None),
    ],
)
def test_a_playbook_means_whom_it_says_when_it_says(changed: dict[str, Any], why: str | None) -> None:
    playbook = load_playbooks(Settings()).get("delivery_at_risk").playbook
    assert playbook.trigger.event is TriggerEvent.PROMISED
    assert mismatch(playbook, replace(LATE, **changed), NOW) == why


@pytest.mark.parametrize(
    ("limits", "why"),
    [
        ({"locales": ("pt",)}, None),
        ({"locales": ("de", "en")}, "another language"),
        ({"countries": ("DE",)}, "another country"),
        ({"order_total_at_least": 50.01}, "order too small"),
        ({"order_total_at_most": 49.0}, "order too large"),
        ({"order_total_at_least": 50.0, "order_total_at_most": 50.0}, None),
    ],
)
def test_audiences_can_be_narrowed(limits: dict[str, Any], why: str | None) -> None:
    playbook = load_playbooks(Settings()).get("delivery_at_risk").playbook
    narrowed = replace(playbook, audience=replace(playbook.audience, **limits))
    assert mismatch(narrowed, LATE, NOW) == why


def written(tmp_path: Path, **changed: Any) -> Path:
    """Write a shipped playbook with other keys; None takes one away."""
    tree = {**yaml.safe_load((SHIPPED / "how_to_start.yaml").read_text()), **changed}
    file = tmp_path / "changed.yaml"
    file.write_text(yaml.safe_dump({key: value for key, value in tree.items() if value is not None}))
    return file


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"autonomy": "auto_after"}, "auto_after: is missing; write how long agents have to stop it, such as 20m"),
        ({"autonomy": "auto_after", "auto_after": "10s"}, "auto_after: '10s' is no time span"),
        ({"autonomy": "auto_after", "auto_after": "0m"}, "auto_after: '0m' is no time span"),
        ({"autonomy": "approve", "auto_after": "20m"}, "auto_after: belongs to autonomy: auto_after"),
        ({"autonomy": "auto", "auto_after": "20m"}, "auto_after: belongs to autonomy: auto_after"),
        ({"autonomy": "full"}, "write draft or approve or auto_after or auto"),
        ({"audience": {"pattern": {"dimensions": ["batch"]}}}, "audience.pattern.dimensions.0: 'batch' is not known"),
        ({"audience": {"pattern": {"kinds": ["Charging!"]}}}, "audience.pattern.kinds.0: 'Charging!' is no kind"),
        ({"audience": {"pattern": {"lots": []}}}, "audience.pattern.lots: unknown key"),
        ({"audience": {"pattern": {}, "prediction": {"kind": "issue"}}}, "write either prediction or pattern"),
    ],
)
def test_autonomy_and_patterns_are_checked_when_a_playbook_is_read(
    tmp_path: Path, changed: dict[str, Any], message: str
) -> None:
    with pytest.raises(PlaybookError) as caught:
        read_file(written(tmp_path, **changed))
    assert message in str(caught.value)


def test_a_playbook_may_go_out_after_a_while_or_take_its_audience_from_any_pattern(tmp_path: Path) -> None:
    playbook = read_file(written(tmp_path, autonomy="auto_after", auto_after="20m"))
    assert (playbook.autonomy, playbook.auto_after) == (Autonomy.AUTO_AFTER, timedelta(minutes=20))
    playbook = read_file(written(tmp_path, audience={"pattern": None}))
    assert playbook.kind == PATTERN
    assert playbook.audience.pattern is not None
    assert playbook.audience.pattern.meets("lot", "charging")
    only = read_file(written(tmp_path, audience={"pattern": {"dimensions": ["lot"], "kinds": ["charging"]}}))
    assert only.audience.pattern is not None
    assert [only.audience.pattern.meets(*one) for one in (("lot", "charging"), ("lot", "return"), ("seller", "charging"))] == [
        True, False, False,
    ]  # fmt: skip
