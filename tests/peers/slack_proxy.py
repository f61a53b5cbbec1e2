"""The fault proxy before local-slack: started, given rules, and asked what it saw.

`python -m tests.peers.slack_proxy` makes its environment (pinned in `slack_faults/requirements.txt`); tests only look
whether it is there, since several of them run side by side.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.rivals.environments import CACHE, made_of
from tests.peers import free_port, missing_peer
from tests.peers.process import until

HERE = Path(__file__).parent / "slack_faults"
ENVIRONMENT = CACHE / "slack_faults"
LEAST = 0.001  # seconds: a rule without a pause of its own


class FaultProxy:
    """Slack with rules before it; `base_url` is where the product must think that Slack is."""

    def __init__(self, port: int) -> None:
        self.base_url = f"http://127.0.0.1:{port}"

    @property
    def api_url(self) -> str:
        """What `SLACK_API_BASE_URL` must be."""
        return f"{self.base_url}/api/"

    def rules(self, *rules: dict[str, Any]) -> None:
        """Put rules in force instead of those before; `addon.py` says what a rule may say."""
        self._tell("rules", [{"seconds": LEAST, **rule} for rule in rules])

    def reset(self) -> None:
        """Forget every rule and everything seen."""
        self._tell("reset", [])

    def seen(self, method: str | None = None) -> list[dict[str, Any]]:
        """Return every call of the Web API so far: `method`, `body`, `problems`, and what the proxy `did` to it."""
        return [call for call in self._ask()["seen"] if method in (None, call["method"])]

    def acknowledged(self) -> int:
        """Return how many envelopes of Socket Mode, first and repeated ones, were acknowledged so far."""
        return int(self._ask()["acknowledged"])

    def repeated(self) -> int:
        """Return how many envelopes were delivered again so far."""
        return int(self._ask()["repeated"])

    def problems(self) -> list[str]:
        """Return what the real Slack would have refused."""
        return [f"{call['method']}: {problem}" for call in self.seen() for problem in call["problems"]]

    def _tell(self, what: str, body: list[dict[str, Any]]) -> None:
        request = urllib.request.Request(f"{self.base_url}/_faults/{what}", json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert json.load(answer)["ok"]

    def _ask(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.base_url}/_faults/seen", timeout=30) as answer:
            return dict(json.load(answer))


@contextmanager
def fault_proxy(slack_url: str) -> Iterator[FaultProxy]:
    """Run the proxy before a running local-slack until the end of the block."""
    if not (ENVIRONMENT / "made-of").is_file():
        missing_peer("the fault proxy is not installed: run `python -m tests.peers.slack_proxy`")
    port = free_port()
    own = Path(tempfile.mkdtemp(prefix="faults-"))  # its certificates, which nobody uses
    process = subprocess.Popen(
        [
            str(ENVIRONMENT / "bin" / "mitmdump"), "--quiet", "--mode", f"reverse:{slack_url}", "--listen-host", "127.0.0.1",
            "--listen-port", str(port), "--set", f"confdir={own}", "--set", "keep_host_header=false",
            "--set", "connection_strategy=lazy", "--scripts", str(HERE / "addon.py"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )  # fmt: skip
    said: list[str] = []
    assert process.stdout is not None
    reader = threading.Thread(target=said.extend, args=(process.stdout,), daemon=True)
    reader.start()
    proxy = FaultProxy(port)
    try:
        until(lambda: _answers(proxy) or process.poll() is not None, "the fault proxy")
        assert process.poll() is None, "".join(said)
        yield proxy
    finally:
        process.terminate()
        process.wait(10)
        reader.join(10)
        process.stdout.close()
        shutil.rmtree(own, ignore_errors=True)
    assert not [line for line in said if "Traceback" in line or "Error" in line], "".join(said)


def _answers(proxy: FaultProxy) -> bool:
    try:
        proxy.seen()
    except (urllib.error.URLError, OSError):
        return False
    return True


if __name__ == "__main__":
    try:
        made_of(HERE / "requirements.txt", ENVIRONMENT)
    except subprocess.CalledProcessError as error:
        sys.exit(f"the fault proxy's packages cannot be installed ({error}): its tests are skipped")
