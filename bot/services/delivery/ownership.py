"""Which process claimed a row, and whether that process is certainly dead.

An owner reads `host:pid:start`, or `host:pid:start/part` for one part of a process; the start keeps a recycled pid from
looking alive. About processes of another host nothing is known here; time alone decides about them.
"""

from __future__ import annotations

import os
import secrets
import socket
from pathlib import Path


def this_process() -> str:
    """Return the owner's name of the running process."""
    pid = os.getpid()
    return f"{_host()}:{pid}:{_start_of(pid) or '-'}"


def part_of_this_process() -> str:
    """Return an owner's name that nothing else has, in this process or another."""
    return f"{this_process()}/{secrets.token_hex(6)}"


def certainly_dead(owner: str) -> bool:
    """Say whether the owner is a process of this host that no longer runs."""
    owner = owner.partition("/")[0]
    host, _, rest = owner.rpartition(":")[0].rpartition(":")
    start = owner.rpartition(":")[2]
    if host != _host() or not rest.isdigit():
        return False
    pid = int(rest)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return start != "-" and _start_of(pid) not in (None, start)


def _host() -> str:
    """Return the machine's name; containers may share it, but not the numbers of their processes."""
    name = socket.gethostname().replace(":", "-").replace("/", "-")
    try:
        namespace = "".join(filter(str.isdigit, str(Path("/proc/self/ns/pid").readlink())))
    except OSError:
        return name
    return f"{name}.{namespace}"


def _start_of(pid: int) -> str | None:
    """Return the process's start in clock ticks since boot (proc(5), field 22); None where there is no /proc."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()  # the name in parentheses may hold spaces
    # A zombie has ended; only its parent has not asked yet.
    return "ended" if fields[0] == "Z" else fields[19]
