"""One suite over every engine: the same steps lead to the same decisions, the same mails and the same tables.

The engines are SQLite with the one process, PostgreSQL with the one process, and PostgreSQL with the workers' task. A
table of scripted scenarios says what is meant; Hypothesis says that nothing else differs either.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.engine_world import MOODS, World, postgres_world, sqlite_world

pytestmark = pytest.mark.peer
Step = tuple[Any, ...]


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[World]]:
    with ExitStack() as stack:
        made = [
            sqlite_world(tmp_path_factory.mktemp("engine")),
            stack.enter_context(postgres_world()),
            stack.enter_context(postgres_world(workers=True)),
        ]
        yield made
        made[0].database.close()


def play(worlds: list[World], steps: list[Step], holdout_share: float = 0.0) -> World:
    """Do the steps on every engine and compare after each one; return the first world, as it then is."""
    for world in worlds:
        world.begin(holdout_share)
    for number, step in enumerate(steps):
        results = [world.do(step) for world in worlds]
        assert all(result == results[0] for result in results), (number, step, results)
    first = worlds[0].everything()
    for world in worlds[1:]:
        other = world.everything()
        for name in first:
            assert other[name] == first[name], name
        assert world.sent() == worlds[0].sent()
    return worlds[0]


def late(count: int, probability: float = 0.9) -> list[Step]:
    """So many customers whom a plan proposes."""
    return [*[("customer", probability - one / 100, 0, True) for one in range(count)], ("plan",)]


def approved(count: int) -> list[Step]:
    """So many check-ins that are due."""
    return [*late(count + 2), *[("approve", one, 0, 0) for one in range(count)], ("advance", 1)]


# The steps, and the state in which they leave each check-in, oldest first.
SCENARIOS: dict[str, tuple[list[Step], str]] = {
    "what is approved leaves once": ([*approved(3), ("deliver",), ("deliver",)], "sent sent sent suggested suggested"),
    "an undo, an edit, a rejection and a snooze": (
        [
            *late(6),
            ("approve", 0, 0, 0),
            ("undo", 0, 0, 0),
            ("edit", 1, 0, 0, "Hello, other words."),
            ("reject", 2, 1, 0, "not_needed"),
            ("reject", 2, 1, 0, "not_needed"),
            ("reject", 0, 1, 0, "no such reason"),
            ("snooze", 3, 1, 0, 2),
            ("snooze", 3, 1, 1, 2),
            ("advance", 1),
            ("undo", 1, 0, 0),
            ("deliver",),
            ("advance", 180),
            ("upkeep",),
        ],
        "suggested sent rejected suggested suggested",
    ),
    "a claim keeps others out until it ends": (
        [*late(3), ("claim", 0, 1, 0), ("approve", 0, 2, 0), ("advance", 11), ("approve", 0, 2, 0), ("advance", 1), ("deliver",)],
        "sent suggested suggested",
    ),
    "refusals, hard and soft, in the middle of a batch": (
        [*approved(3), ("mood", 0, "dead"), ("mood", 1, "soft"), ("deliver",), ("advance", 2), ("deliver",),
         ("mood", 1, "takes"), ("advance", 60), ("deliver",), ("advance", 2000), ("deliver",)],
        "failed sent sent suggested suggested",
    ),
    "retries run out, and the dead letter is replayed once": (
        [*[("customer", 0.9, 0, True)] * 4, ("plan",), *[("approve", one, 0, 0) for one in range(4)],
         *[("mood", one, "soft") for one in range(4)], *[("advance", 30), ("deliver",)] * 3,
         *[("mood", one, "takes") for one in range(4)], ("retry", 0, 0, 0), ("retry", 0, 1, 1), ("deliver",), ("deliver",)],
        "sent failed failed failed",
    ),
    "a doubt is shown, settled by a human or by the channel": (
        [*approved(3), ("mood", 0, "vague"), ("deliver",), ("advance", 2), ("deliver",), ("settle", 0, 0, 0, True),
         ("settle", 0, 0, 1, False)],
        "sent sent sent suggested suggested",
    ),
    "a process died with the mail in its hands": (
        [*approved(2), ("die_sending", 0), ("deliver",), ("advance", 6), ("deliver",), ("advance", 1), ("deliver",)],
        "sent sent suggested suggested",
    ),
    "an opt-out and a complaint after the approval": (
        [*approved(4), ("opt_out", 0), ("complaint", 1), ("deliver",)],
        "suppressed suppressed sent sent suggested",
    ),
    "the stop and the restored backup hold everything": (
        [*approved(3), ("stop",), ("stop",), ("deliver",), ("resume",), ("restored",), ("advance", 1), ("deliver",),
         ("release",), ("release",), ("deliver",)],
        "sent sent sent suggested suggested",
    ),
    "quiet hours move, caps defer, age expires": (
        [*approved(4), ("advance", 9 * 60), ("deliver",), ("advance", 12 * 60), ("deliver",), ("plan",), ("upkeep",),
         ("advance", 4 * 24 * 60), ("upkeep",), ("deliver",), ("plan",)],
        "sent sent sent sent expired",
    ),
    "answers leave in their order beside check-ins": (
        [*approved(2), ("answer", 0, "One."), ("answer", 0, "Two."), ("answer", 1, "Three."), ("mood", 0, "soft"),
         ("deliver",), ("mood", 0, "takes"), ("advance", 5), ("deliver",)],
        "sent sent suggested suggested",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scenario_ends_alike_on_every_engine(worlds: list[World], name: str) -> None:
    steps, wanted = SCENARIOS[name]
    world = play(worlds, steps)
    assert " ".join(world.states()) == wanted


WHO = (st.integers(0, 9), st.integers(0, 2), st.sampled_from([0, 0, 0, 1]))
STEPS = st.one_of(
    st.tuples(st.just("customer"), st.floats(0.36, 0.99), st.integers(0, 3), st.sampled_from([True, True, True, False])),
    st.tuples(st.just("plan")),
    st.tuples(st.just("approve"), *WHO),
    st.tuples(st.just("approve"), *WHO),
    st.tuples(st.just("edit"), *WHO, st.text(max_size=30)),
    st.tuples(st.just("reject"), *WHO, st.sampled_from(["not_needed", "other", "nonsense"])),
    st.tuples(st.just("snooze"), *WHO, st.integers(-1, 100)),
    st.tuples(st.just("claim"), *WHO),
    st.tuples(st.just("undo"), *WHO),
    st.tuples(st.just("retry"), *WHO),
    st.tuples(st.just("settle"), *WHO, st.booleans()),
    st.tuples(st.just("mood"), st.integers(0, 9), st.sampled_from(sorted(MOODS))),
    st.tuples(st.just("deliver")),
    st.tuples(st.just("deliver")),
    st.tuples(st.just("die_sending"), st.integers(0, 9)),
    st.tuples(st.just("answer"), st.integers(0, 9), st.sampled_from(["Here.", "It is on its way."])),
    st.tuples(st.just("opt_out"), st.integers(0, 9)),
    st.tuples(st.just("complaint"), st.integers(0, 9)),
    st.tuples(st.just("upkeep")),
    st.tuples(st.just("advance"), st.sampled_from([1, 1, 10, 60, 240, 600, 1440, 4 * 1440])),
    st.tuples(st.just("stop")),
    st.tuples(st.just("resume")),
    st.tuples(st.just("restored")),
    st.tuples(st.just("release")),
)  # fmt: skip
BEGIN = [*late(6), ("approve", 0, 0, 0), ("approve", 1, 1, 0)]


# Three engines make shrinking slow; the failing steps are short enough to read as they are.
@settings(max_examples=15, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(steps=st.lists(STEPS, min_size=5, max_size=30))
def test_any_steps_lead_to_the_same_decisions_on_every_engine(worlds: list[World], steps: list[Step]) -> None:
    play(worlds, [*BEGIN, *steps], holdout_share=0.2)
