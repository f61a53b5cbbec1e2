"""The real `aftercare` as a process of its own, started, watched, killed and ended by tests."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

DEADLINE = 90.0
MAIN = "from bot.cli import main; main()"


def until(condition: Callable[[], Any], what: str, seconds: float = DEADLINE) -> Any:
    """Wait until a real server or process shows something; fail with `what` if it never does."""
    pause = threading.Event()
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        pause.wait(0.02)
    raise AssertionError(f"not within {seconds:g} seconds: {what}")


@dataclass
class Aftercare:
    """One running process and what it printed."""

    process: subprocess.Popen[str]
    log: Path
    lines: list[str] = field(default_factory=list)

    def ready(self) -> dict[str, Any]:
        """Return the ready line, once it is there."""

        def line() -> dict[str, Any] | None:
            if self.lines:
                found: dict[str, Any] = json.loads(self.lines[0])
                return found
            assert self.process.poll() is None, f"ended with {self.process.returncode}:\n{self.log.read_text()}"
            return None

        try:
            found: dict[str, Any] = until(line, "the ready line")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log.read_text()[-3000:]}") from error
        return found

    def end(self, seconds: float = 10.0) -> int:
        """Ask it to end; return its exit status, which must come in time."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def kill(self) -> None:
        """End it without any chance to tidy up."""
        self.process.kill()
        self.process.wait(DEADLINE)


def environment(config: Path, **more: str) -> dict[str, str]:
    """Return the environment of a process that knows nothing of the one around it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AFTERCARE_", "SLACK_", "SMTP_"))}
    kept.pop("COVERAGE_PROCESS_START", None)
    return {**kept, "AFTERCARE_CONFIG": str(config), "PYTHONPATH": str(Path(__file__).parents[2]), **more}


@contextmanager
def aftercare(folder: Path, environ: Mapping[str, str], *arguments: str) -> Iterator[Aftercare]:
    """Run a command until the end of the block; what still runs then is killed."""
    log = folder / f"log-{time.monotonic_ns()}.jsonl"
    with log.open("w", encoding="utf-8") as errors:
        process = subprocess.Popen(
            [sys.executable, "-c", MAIN, *arguments],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=dict(environ),
            cwd=folder,
        )
    running = Aftercare(process, log)

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            running.lines.append(line.rstrip("\n"))

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        yield running
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(DEADLINE)
        reader.join(DEADLINE)
        assert process.stdout is not None
        process.stdout.close()
