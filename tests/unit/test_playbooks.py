"""Playbooks: the shipped ones are sound, and a broken one is told every mistake with its line."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.config import Settings
from bot.decide.playbook import PATTERN, Autonomy, Candidate, TriggerEvent, mismatch
from bot.decide.playbook_reading import PlaybookError, parse_duration, read_playbook
from bot.errors import ConfigurationError, InputError, NotFound
from bot.services.planning.playbooks import SHIPPED, load_playbooks, read_file
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

# One of every kind of mistake, each with the line on which it stands.
BROKEN = """\
id: Delivery At Risk
titel: Wrong key
goal: happiness
autonomy: full
audience:
  prediction:
    kind: weather
    band: scary
    probability_at_least: 1.5
  countries: [NO, DE]
  order_total_at_least: much
trigger:
  event: full_moon
  after: 3 days
  within: -1d
steps:
  - id: first
    template: delivery_at_rsk
    wait: -2d
  - template: how_to_start
exit: [delivered, boredom]
channels: slack
cool_down: soon
cool_down: 3d
holdout_share: 0.95
variants:
  - name: holdout
    share: 0
    template: how_to_start
"""
EXPECTED = {
    ("id", 1), ("titel", 2), ("title", 1), ("owner", 1), ("goal", 3), ("autonomy", 4), ("audience.prediction.kind", 7),
    ("audience.prediction.band", 8), ("audience.prediction.probability_at_least", 9), ("audience.countries.0", 10),
    ("audience.order_total_at_least", 11), ("trigger.event", 13), ("trigger.after", 14), ("trigger.within", 15),
    ("steps.0.template", 18), ("steps.0.wait", 19), ("steps.1", 20), ("steps.1.id", 20), ("exit.1", 21),
    ("channels", 22), ("cool_down", 23), ("cool_down", 24), ("holdout_share", 25), ("variants.0.name", 27),
    ("variants.0.share", 28),
}  # fmt: skip


def test_every_kind_of_mistake_is_reported_at_once_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "broken.yaml"
    file.write_text(BROKEN)
    with pytest.raises(PlaybookError) as caught:
        read_file(file, Catalogue.load().names)
    assert {(one.path, one.line) for one in caught.value.problems} == EXPECTED
    assert f"{file}:18: steps.0.template" in str(caught.value)
    assert "did you mean delivery_at_risk?" in str(caught.value)


def test_the_shipped_playbooks_are_sound_and_their_templates_render_on_each_channel() -> None:
    catalogue = Catalogue.load()
    playbooks = load_playbooks(Settings(), catalogue.names)
    assert [one.id for one in playbooks.all] == [
        "delivery_at_risk",
        "how_to_start",
        "quality_pattern",
        "quiet_customer",
    ]
    for playbook in playbooks.all:
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
