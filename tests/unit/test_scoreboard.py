"""Who was right about what agents rejected, and when nothing may be said."""

from __future__ import annotations

import pytest

from bot.decide.effect import FEWEST
from bot.decide.scoreboard import Ended, Side, Verdict, score


def rejected(n: int, bad: int, expected: float) -> list[Ended]:
    return [Ended(side=Side.REJECTED, bad=float(number < bad), expected=expected) for number in range(n)]


@pytest.mark.parametrize(
    ("n", "bad", "expected", "verdict"),
    [
        (FEWEST - 1, 0, 0.9, Verdict.TOO_FEW),
        (FEWEST, 0, 0.9, Verdict.AGENTS),
        (100, 5, 0.4, Verdict.AGENTS),
        (100, 40, 0.4, Verdict.EVEN),
        (100, 70, 0.4, Verdict.MODEL),
        (0, 0, 0.4, Verdict.TOO_FEW),
    ],
)
def test_the_interval_against_what_was_expected_decides(n: int, bad: int, expected: float, verdict: Verdict) -> None:
    found = score(Side.REJECTED, rejected(n, bad, expected))
    assert found.verdict is verdict
    assert (found.n, found.bad) == (n, bad)
    assert found.low <= found.rate <= found.high or not n


def test_what_was_approved_is_counted_apart_and_judged_by_nobody() -> None:
    ended = [*rejected(40, 10, 0.3), Ended(side=Side.APPROVED, bad=1.0, expected=0.8)]
    found = score(Side.APPROVED, ended)
    assert (found.n, found.bad, found.rate, found.expected, found.verdict) == (1, 1, 1.0, 0.8, None)
    assert score(Side.REJECTED, ended).n == 40
