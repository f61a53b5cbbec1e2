"""A PostgreSQL cluster of a test's own, with a postmaster that may be killed and started again.

PostgreSQL refuses to run as root, so that root starts it as the user `postgres`. What was learned: after a SIGKILL of the
postmaster its children notice by themselves and end; until they have, a new postmaster refuses to start ("pre-existing
shared memory block is still in use"), so `start` tries again. `fsync` stays on: what was committed must survive.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.peers import free_port, missing_peer

DEADLINE = 60.0
_USER = "postgres"
_PAUSE = threading.Event()


class Cluster:
    """One cluster on a free loopback port."""

    def __init__(self, binaries: Path, folder: Path) -> None:
        self._binaries = binaries
        self._folder = folder
        self._data = folder / "data"
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()

    @property
    def url(self) -> str:
        """The URL of its only database, for whoever comes from this machine."""
        return f"postgresql://{_USER}@127.0.0.1:{self.port}/postgres"

    @property
    def pid(self) -> int:
        """The postmaster's."""
        assert self._process is not None
        return self._process.pid

    def create(self) -> None:
        """Lay the files."""
        words = [
            self._binaries / "initdb",
            "-D",
            self._data,
            "-U",
            _USER,
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale",
            "C.UTF-8",
        ]
        subprocess.run([*map(str, words), "--no-sync"], check=True, stdout=subprocess.DEVNULL, **_as_user())

    def start(self) -> None:
        """Start the postmaster and wait until it answers; what a killed one left behind may take a moment to go."""
        deadline = time.monotonic() + DEADLINE
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                self._process = self._launch()
            if self._answers():
                return
            _PAUSE.wait(0.05)
        raise RuntimeError(f"PostgreSQL did not start in {DEADLINE:g} seconds:\n{self.log()}")

    def kill(self) -> None:
        """Kill the postmaster, without any chance to tidy up."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(DEADLINE)

    def stop(self) -> None:
        """End it at once, cutting all sessions."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGQUIT)  # an immediate shutdown; nothing of it is kept
            self._process.wait(DEADLINE)

    def log(self) -> str:
        """Return the end of what the server said."""
        file = self._folder / "server.log"
        return file.read_text(encoding="utf-8", errors="replace")[-3000:] if file.exists() else ""

    def _launch(self) -> subprocess.Popen[bytes]:
        words = [str(self._binaries / "postgres"), "-D", str(self._data), "-p", str(self.port), "-k", str(self._folder)]
        words += ["-c", "listen_addresses=127.0.0.1", "-c", "fsync=on", "-c", "max_connections=60"]
        with (self._folder / "server.log").open("ab") as log:
            return subprocess.Popen(words, stdout=log, stderr=log, **_as_user())

    def _answers(self) -> bool:
        ready = [str(self._binaries / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(ready, check=False).returncode == 0


@contextmanager
def postgres_cluster() -> Iterator[Cluster]:
    """Make and start a cluster; it and its files are gone afterwards. Skips where PostgreSQL is not installed."""
    binaries = _binaries()
    if binaries is None:
        missing_peer("no PostgreSQL server programs: apt-get install postgresql")
    folder = Path(tempfile.mkdtemp(prefix="aftercare-pg-"))  # a short path: sockets have at most 107 characters
    if os.geteuid() == 0:
        shutil.chown(folder, _USER, _USER)
    cluster = Cluster(binaries, folder)
    try:
        cluster.create()
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _binaries() -> Path | None:
    """Return the folder of initdb: the newest of Debian's, else the one on the path."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda file: int(file.parts[-3]))
    if debian:
        return debian[-1].parent
    found = shutil.which("initdb")
    return Path(found).resolve().parent if found else None


def _as_user() -> dict[str, Any]:
    """Return what makes a subprocess run as the user of PostgreSQL where we are root."""
    if os.geteuid() != 0:
        return {}
    entry = pwd.getpwnam(_USER)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": [], "cwd": "/"}
