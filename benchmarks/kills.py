"""The kill harness: 5,000 sends, 20 random kill -9 of workers and one of PostgreSQL itself; nothing lost or doubled.

    python -m benchmarks.kills [--sends N] [--kills N] [--seed N] [--only postgres|sqlite] [--command WORDS]

PostgreSQL is a cluster of the harness's own with two workers, SQLite has the one process. The exit status is 1 where
anything was lost, sent twice, recorded wrongly, or where more is uncertain than was in flight at the kills.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import tempfile
from pathlib import Path

from benchmarks.sending.killing import Plan, kill_and_compare
from tests.peers.postgres import postgres_cluster


def main() -> int:
    """Kill on both engines, print what was found, and say by the exit status whether the promises hold."""
    words = argparse.ArgumentParser(prog="benchmarks.kills", description=(__doc__ or "").splitlines()[0])
    words.add_argument("--sends", type=int, default=5000)
    words.add_argument("--kills", type=int, default=20)
    words.add_argument("--seed", type=int, default=secrets.randbelow(10**6))
    words.add_argument("--only", choices=("postgres", "sqlite"))
    words.add_argument("--command", default="worker", help="what delivers on PostgreSQL")
    chosen = words.parse_args()
    print(f"seed {chosen.seed}", file=sys.stderr)
    verdicts = []
    with tempfile.TemporaryDirectory(prefix="aftercare-kills-") as folder:
        if chosen.only != "sqlite":
            plan = Plan(sends=chosen.sends, kills=chosen.kills, seed=chosen.seed, words=tuple(chosen.command.split()))
            with postgres_cluster() as cluster:
                verdicts.append(kill_and_compare(Path(folder) / "postgres", plan, cluster))
            print(verdicts[-1], flush=True)
        if chosen.only != "postgres":
            plan = Plan(sends=chosen.sends, kills=chosen.kills, seed=chosen.seed)
            verdicts.append(kill_and_compare(Path(folder) / "sqlite", plan, None))
            print(verdicts[-1], flush=True)
    return 1 if any(verdict.violations for verdict in verdicts) else 0


if __name__ == "__main__":
    sys.exit(main())
