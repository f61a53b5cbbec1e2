"""A real Postfix in a folder of its own, with a queue, bounces and recipients that it refuses.

- `hard` and `soft` are sets that a test may change at any time: Postfix asks for each RCPT, so that the next one
  already gets the new answer, on an open connection as well.
- Mail to `bouncing_domain` is accepted, then refused for good by that domain's own server (a second listener of the
  same Postfix): the sender gets a real delivery status notification (RFC 3464), `Action: failed`, `Status: 5.1.1`.
- Mail to `delaying_domain` stays in the queue, and after a few seconds its sender gets one with `Action: delayed`.
- All other mail goes to the Dovecot in `relay_to`, whatever its domain, or else is thrown away.
"""

from __future__ import annotations

import contextlib
import shutil
import socketserver
import subprocess
import threading
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from tests.peers.daemon import end_group, fill, held_ports, open_folder, program, wait_for_greeting
from tests.peers.dovecot import Dovecot
from tests.peers.process import until

HARD_REPLY = "550 5.1.1 User unknown"
SOFT_REPLY = "451 4.2.1 Mailbox temporarily unavailable"


@dataclass(kw_only=True)
class Postfix:
    """A running server.

    Attributes
    ----------
    hard, soft : set of str
        Recipients (lower case, with any `+detail`) that are refused with 550 5.1.1 or 451 4.2.1.
    accepted : set of str or None
        Where given, every recipient that is not in it (its `+detail` left out) is refused with 550 5.1.1.
    asked : list of str
        Every recipient that was named, accepted or not, in order.
    """

    folder: Path
    program: str
    greeting: str
    port: int
    hard: set[str] = field(default_factory=set)
    soft: set[str] = field(default_factory=set)
    accepted: set[str] | None = None
    bouncing_domain: str
    delaying_domain: str
    asked: list[str] = field(default_factory=list)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.port}"

    def log(self) -> str:
        """Return what the server wrote down; each delivery has a line with `status=`."""
        file = self.folder / "postfix.log"
        return file.read_text("utf-8", "replace") if file.exists() else ""

    def is_idle(self) -> bool:
        """Say whether no mail is under way, bounces included."""
        queues = ("incoming", "active", "deferred", "active")  # twice, lest a mail on its way between two be missed
        return not any(file.is_file() for name in queues for file in (self.folder / "queue" / name).rglob("*"))

    def wait_until_idle(self) -> None:
        """Wait until every mail and every bounce has been delivered; in vain where `delaying_domain` holds one."""
        until(self.is_idle, "an empty queue")

    def verdict(self, recipient: str) -> str | None:
        """Return the refusal of a recipient, or None."""
        self.asked.append(recipient)
        local, _, domain = recipient.rpartition("@")
        if recipient in self.hard:
            return HARD_REPLY
        if recipient in self.soft:
            return SOFT_REPLY
        if self.accepted is not None and f"{local.partition('+')[0]}@{domain}" not in self.accepted:
            return HARD_REPLY
        return None

    def start(self) -> None:
        """Listen, on the same port as before; what lay in the queue goes on."""
        command = [self.program, "-c", str(self.folder / "etc"), "start-fg"]
        with (self.folder / "stderr").open("wb") as errors:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors, start_new_session=True
            )
        wait_for_greeting(self.process, self.port, self.greeting, self.folder / "postfix.log")

    def stop(self) -> None:
        """Cut every connection and refuse new ones until `start`; the queue stays.

        What it was just delivering may arrive twice, as with any server that dies: see `wait_until_idle`.
        """
        if self.process is None:
            return
        with contextlib.suppress(OSError, ValueError):  # the file is there once the master process runs
            end_group(int((self.folder / "queue/pid/master.pid").read_text("ascii")))
        end_group(self.process.pid)
        self.process.wait()
        self.process = None


@contextmanager
def postfix(
    *,
    relay_to: Dovecot | None = None,
    hard: Iterable[str] = (),
    soft: Iterable[str] = (),
    accepted: Iterable[str] | None = None,
    bouncing_domain: str = "bounces.test",
    delaying_domain: str = "busy.test",
    certificate: tuple[Path, Path] | None = None,
) -> Iterator[Postfix]:
    """Run a server on a free loopback port until the end of the block.

    Parameters
    ----------
    relay_to : Dovecot, optional
        Gets all accepted mail by LMTP, bounces to our own senders included; without it mail is thrown away.
    hard, soft, accepted
        See `Postfix`.
    certificate : tuple of Path, optional
        The certificate and its key (`tests.peers.daemon.self_signed`); with them STARTTLS is offered.
    """
    found = program("postfix", "postfix")
    with open_folder("ac-postfix-") as folder, held_ports(3) as ports:
        server = Postfix(
            folder=folder,
            program=found,
            greeting=f"postfix-{uuid.uuid4().hex}",
            port=ports[0],
            hard=set(hard),
            soft=set(soft),
            accepted=None if accepted is None else set(accepted),
            bouncing_domain=bouncing_domain,
            delaying_domain=delaying_domain,
        )
        with _verdicts(server) as verdicts:
            _configure(server, ports[1], ports[2], verdicts, relay_to, certificate)
            try:
                server.start()
                yield server
            finally:
                server.stop()


def _configure(
    server: Postfix,
    refusing_port: int,
    busy_port: int,
    verdicts: int,
    relay_to: Dovecot | None,
    certificate: tuple[Path, Path] | None,
) -> None:
    for name in ("etc", "queue", "data"):
        (server.folder / name).mkdir()
    shutil.chown(server.folder / "data", "postfix")
    fill(
        "main.cf",
        server.folder / "etc/main.cf",
        folder=server.folder,
        host="mx.shop.test",
        greeting=server.greeting,
        transport=f"lmtp:inet:127.0.0.1:{relay_to.lmtp_port}" if relay_to else "discard:",
        transports=f"{{{server.bouncing_domain}=smtp:[127.0.0.1]:{refusing_port}}}, "
        f"{{{server.delaying_domain}=smtp:[127.0.0.1]:{busy_port}}}",
        verdicts=verdicts,
        tls_level="may" if certificate else "none",
        certificate=certificate[0] if certificate else "",
        key=certificate[1] if certificate else "",
    )
    fill(
        "master.cf",
        server.folder / "etc/master.cf",
        port=server.port,
        refusing_port=refusing_port,
        busy_port=busy_port,
        bouncing_domain=server.bouncing_domain,
        delaying_domain=server.delaying_domain,
    )


@contextmanager
def _verdicts(server: Postfix) -> Iterator[int]:
    """Answer Postfix's questions about recipients (tcp_table(5)); return the port where it may ask."""

    class Answers(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            for line in self.rfile:
                asked = unquote(line.decode("ascii").strip().removeprefix("get "))
                refusal = server.verdict(asked)
                self.wfile.write(f"200 {refusal}\n".encode() if refusal else b"500 nothing against it\n")

    class Listener(socketserver.ThreadingTCPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            """Say nothing when Postfix ends in the middle of a question."""

    with Listener(("127.0.0.1", 0), Answers) as listener:
        thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield int(listener.server_address[1])
        finally:
            listener.shutdown()
            thread.join()
