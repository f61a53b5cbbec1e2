"""A headless Chromium for taking pictures, driven over its DevTools protocol until the page shows what is waited for."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import websocket


class Page:
    """One page of the browser."""

    def __init__(self, socket: websocket.WebSocket) -> None:
        self._socket = socket
        self._count = 0

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call one method of the protocol and return its result."""
        self._count += 1
        self._socket.send(json.dumps({"id": self._count, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self._socket.recv())
            if answer.get("id") == self._count:
                return dict(answer.get("result") or {})

    def value(self, expression: str) -> Any:
        """Evaluate an expression in the page; None while it is still being loaded."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        return answer.get("result", {}).get("value")

    def wait(self, expression: str, what: str, seconds: float = 15.0) -> None:
        """Wait until an expression is true in the page."""
        deadline = time.monotonic() + seconds
        while not self.value(expression):
            if time.monotonic() > deadline:
                sys.exit(f"the page never showed {what}")
            time.sleep(0.1)

    def picture(self, file: Path) -> None:
        """Write what the window shows."""
        file.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))


@contextmanager
def page(url: str, width: int, height: int) -> Iterator[Page]:
    """Open an address in a fresh browser, and end the browser afterwards."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        sys.exit("no Chromium: apt-get install chromium")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = ("headless=new", "no-sandbox", "disable-gpu", "disable-background-networking", "hide-scrollbars",
                   "disable-component-update", "disable-sync", "no-first-run", "remote-debugging-port=0",
                   "remote-allow-origins=*", f"window-size={width},{height}", f"user-data-dir={profile}")  # fmt: skip
        process = subprocess.Popen(
            [program, *(f"--{option}" for option in options), url], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            socket = websocket.create_connection(_address(Path(profile), url), timeout=30)
            try:
                opened = Page(socket)
                opened.call(
                    "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
                )
                yield opened
            finally:
                socket.close()
        finally:
            process.terminate()
            process.wait(10)


def _address(profile: Path, url: str) -> str:
    """Return where the page can be driven, once the browser says so."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            port = (profile / "DevToolsActivePort").read_text().splitlines()[0]
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json", timeout=5) as answer:
                found = next((t for t in json.load(answer) if t["type"] == "page" and t["url"].startswith(url)), None)
            if found:
                return str(found["webSocketDebuggerUrl"])
        except (OSError, IndexError, ValueError):
            pass
        time.sleep(0.1)
    sys.exit("Chromium did not start")
