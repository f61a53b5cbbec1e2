"""How much computing processes did, their children included; what stays comparable on a machine that others use too.

Reads /proc (proc(5), fields 14 to 17 of stat); where there is none, nothing is counted.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")


def named(name: str) -> list[int]:
    """Return the processes of a name, as the kernel cuts it (15 characters)."""
    return [pid for pid, fields in _processes().items() if fields[0] == name[:15]]


def seconds_of(roots: Collection[int]) -> float:
    """Return the CPU seconds so far of processes and all that they started."""
    processes = _processes()
    family: set[int] = set()
    for pid in processes:
        line, at = [], pid
        while at in processes and at not in roots and at not in line:
            line.append(at)
            at = int(processes[at][2])
        if at in roots:
            family.update(line, [pid])
    # What ended is counted at its parent (cutime, cstime), what lives at itself.
    return sum(sum(map(int, processes[pid][12:16])) for pid in family if pid in processes) / _TICK


def _processes() -> dict[int, list[str]]:
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            stat = (folder / "stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue  # it has ended
        name, _, rest = stat.partition("(")[2].rpartition(")")
        found[int(folder.name)] = [name, *rest.split()]
    return found
