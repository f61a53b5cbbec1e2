"""Promise 27 in short: some days of work, quickly; `python -m benchmarks.soak` lives longer and fuller ones."""

from __future__ import annotations

from pathlib import Path

from benchmarks.soak import LIMIT, soaking

CUSTOMERS = 20


def test_days_of_work_leave_the_memory_flat(tmp_path: Path) -> None:
    with soaking(tmp_path, CUSTOMERS) as soak:
        days = [soak.live() for _ in range(4)]
    assert [day.sent for day in days] == [CUSTOMERS] * 4
    assert all(day.replied for day in days)
    warm, last = days[0], days[-1]
    assert last.resident_mb <= warm.resident_mb * LIMIT
    # The resident memory is the promise; the objects that Python keeps show a leak long before it does.
    assert last.objects <= warm.objects * 1.02
