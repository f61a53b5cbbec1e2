"""A small run of benchmarks/experiments.py: what helps, harms and does nothing is called so, and trying out costs little."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.experiments import A_DAY, CUSTOMERS, DAYS, HOLDOUT, RATES, judge, moving
from benchmarks.shops.contacting import PLAYBOOKS, Playbook, run, truth
from bot.decide.effect import Reading

RUNS = 12
CALLED = {"helps": Reading.HELPS, "harms": Reading.HARMS, "null": None}


@pytest.mark.parametrize("playbook", PLAYBOOKS, ids=lambda one: one.name)
def test_playbooks_of_known_effect_are_called_what_they_are_whatever_agents_do(playbook: Playbook) -> None:
    true = truth(playbook, 200_000)
    found = [judge(run(playbook, seed, CUSTOMERS, HOLDOUT), true) for seed in range(RUNS)]
    assert sum(one.always is CALLED[playbook.name] for one in found) >= RUNS - 1
    assert sum(one.holds_always for one in found) >= RUNS - 1
    # Comparing the approved with the rejected is far off, for agents pick those who look like trouble.
    assert np.mean([one.without for one in found]) - true > 0.05


def test_moving_shares_cost_less_than_half_of_an_equal_split() -> None:
    regret, best_left = moving(0)
    assert regret < 0.5 * DAYS * A_DAY * (np.mean(RATES) - min(RATES))
    assert best_left
