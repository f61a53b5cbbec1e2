"""Real servers that tests talk to. A missing one skips, or fails where AFTERCARE_REQUIRE_PEERS=1."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import NoReturn

import pytest


def missing_peer(reason: str) -> NoReturn:
    """Skip the test, or fail it where every peer is required."""
    if os.environ.get("AFTERCARE_REQUIRE_PEERS") == "1":
        pytest.fail(f"a required peer is missing: {reason}")
    pytest.skip(reason)


def free_port() -> int:
    """Return a loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def shared_data() -> Path:
    """Return the folder of the real data sets; skip where it is absent (it is never part of the repository)."""
    folder = Path(os.environ.get("AFTERCARE_DATA") or Path(__file__).parents[2].parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set AFTERCARE_DATA")
    return folder
