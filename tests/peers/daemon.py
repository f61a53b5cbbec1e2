"""What the real servers that fork have in common: configuration from a template, processes ended by id, a certificate.

Which server it is, and how a test talks to it, stands in the module of that server.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from string import Template

from tests.peers import missing_peer
from tests.peers.process import until

TEMPLATES = Path(__file__).parent / "mail"
# Debian keeps servers where a plain user's PATH does not lead.
_PATH = f"{os.environ.get('PATH', '')}{os.pathsep}/usr/sbin{os.pathsep}/sbin"
END_SECONDS = 5.0


class _Blanks(Template):
    """`@{name}` is filled in: both servers use `$` and `%` themselves."""

    delimiter = "@"


def program(name: str, packages: str) -> str:
    """Return where a server's program is, which only root can start; skip where either is missing."""
    found = shutil.which(name, path=_PATH)
    if found is None:
        missing_peer(f"{name} is not installed: run `DEBIAN_FRONTEND=noninteractive apt-get install {packages}`")
    if os.geteuid() != 0:
        missing_peer(f"only root can start {name}; run these tests as root, for instance in a container")
    return found


def fill(template: str, target: Path, **values: object) -> None:
    """Write a configuration file from its template in tests/peers/mail; it looks a minute old.

    Postfix waits two seconds for a file that was written just now, lest somebody be still writing it.
    """
    target.write_text(_Blanks((TEMPLATES / template).read_text("utf-8")).substitute(values), encoding="utf-8")
    a_minute_ago = target.stat().st_mtime - 60
    os.utime(target, (a_minute_ago, a_minute_ago))


@contextmanager
def open_folder(prefix: str) -> Iterator[Path]:
    """Make a folder that servers' own users can enter (pytest's are closed to them) and socket names fit into."""
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir="/tmp"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def held_ports(count: int) -> Iterator[list[int]]:
    """Hold free loopback ports for a server until the end of the block, also while it is stopped.

    Each port is bound without being listened to, so that nobody else is given it. Only then is sharing allowed, which
    the server asks for as well: Postfix sets SO_REUSEPORT, and would silently share a port with another test's Postfix.
    """
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for holder in sockets:
            holder.bind(("127.0.0.1", 0))
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        yield [holder.getsockname()[1] for holder in sockets]


def greets(port: int, words: str) -> bool:
    """Say whether a server greets with these words, as only the one of this test does."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        return words.encode() in connection.recv(1000)
    return False


def wait_for_greeting(process: subprocess.Popen[bytes], port: int, words: str, log: Path) -> None:
    """Wait until the server greets; fail with the end of its log if it does not."""

    def listening() -> bool:
        assert process.poll() is None, f"the server ended with {process.returncode}"
        return greets(port, words)

    try:
        until(listening, "the server's greeting")
    except AssertionError as error:
        said = log.read_text("utf-8", "replace")[-3000:] if log.exists() else ""
        raise AssertionError(f"{error}\n{said}") from error


def end_group(leader: int) -> None:
    """Ask a server and its children to end, by the id of the process that leads them; wait until none is left."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGTERM)
    try:
        until(lambda: not _alive(leader), "the end of the server", END_SECONDS)
    except AssertionError:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(leader, signal.SIGKILL)
        until(lambda: not _alive(leader), "the end of the killed server", END_SECONDS)


def self_signed(folder: Path, names: Sequence[str] = ("localhost",)) -> tuple[Path, Path]:
    """Make a certificate that only a test trusts, and its key; return both files."""
    openssl = shutil.which("openssl")
    if openssl is None:
        missing_peer("no openssl to make a certificate with: run `apt-get install openssl`")
    cert, key = folder / "cert.pem", folder / "key.pem"
    command = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]  # fmt: skip
    subject = ["-subj", f"/CN={names[0]}", "-addext", "subjectAltName=" + ",".join(f"DNS:{name}" for name in names)]
    subprocess.run([*command, *subject, "-keyout", key, "-out", cert], check=True, capture_output=True)
    return cert, key


def _alive(group: int) -> bool:
    """Say whether a process of a group still runs; a dead one that nobody has waited for does not."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _parent, its_group = stat.read_text("utf-8", "replace").rpartition(")")[2].split()[:3]
            if int(its_group) == group and state not in "ZX":
                return True
    return False
