"""Who claimed a row: every name is one part's alone, and a living process is never taken for a dead one."""

from __future__ import annotations

import pytest

from bot.services.delivery import ownership
from bot.services.delivery.ownership import certainly_dead, part_of_this_process, this_process

NEVER_RUNS = 2**22 + 1  # Linux gives out no pid above 2^22


def test_no_two_parts_have_one_name_and_each_belongs_to_this_process() -> None:
    names = [part_of_this_process() for _ in range(100)]
    assert len(set(names)) == len(names)
    assert {name.partition("/")[0] for name in names} == {this_process()}


def test_the_name_of_a_part_is_drawn_and_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    # Two containers may share the host name, the number and the start of a process: a first part must not be "1".
    monkeypatch.setattr(ownership, "this_process", lambda: "shop:1:77")
    assert len(part_of_this_process().partition("/")[2]) >= 12


def test_a_part_of_a_living_process_is_not_dead() -> None:
    assert not certainly_dead(this_process())
    assert not certainly_dead(part_of_this_process())


def test_a_part_of_a_process_that_ended_is_dead() -> None:
    host, pid, start = this_process().split(":")
    assert certainly_dead(f"{host}:{NEVER_RUNS}:{start}/a1b2c3d4e5f6")
    assert certainly_dead(f"{host}:{pid}:1/a1b2c3d4e5f6")  # the number was given out again


def test_nothing_is_known_of_a_process_elsewhere() -> None:
    host, _, start = this_process().split(":")
    assert not certainly_dead(f"{host}-2:{NEVER_RUNS}:{start}/a1b2c3d4e5f6")
    # The same host name in another container: the numbers of its processes say nothing here.
    assert not certainly_dead(f"{host.rpartition('.')[0]}.1:{NEVER_RUNS}:{start}")
    assert not certainly_dead("nonsense")


@pytest.mark.parametrize("name", ["shop:one", "shop/one"])
def test_a_host_name_with_a_separator_still_tells_who_is_alive(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ownership.socket, "gethostname", lambda: name)
    host = this_process().split(":")[0]
    assert not certainly_dead(part_of_this_process())
    assert certainly_dead(f"{host}:{NEVER_RUNS}:1/a1b2c3d4e5f6")
