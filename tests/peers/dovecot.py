"""A real Dovecot in a folder of its own: LMTP takes mail in, IMAP (with IDLE, plain or over TLS) shows it.

Every address has a mailbox, made on first use, and the same password; `care+TOKEN@shop.test` is the mailbox of
`care@shop.test`. The server is a child of the test and ended by its process id.
"""

from __future__ import annotations

import os
import pwd
import re
import smtplib
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from tests.peers import missing_peer
from tests.peers.daemon import end_group, fill, held_ports, open_folder, program, wait_for_greeting

PACKAGES = "dovecot-imapd dovecot-lmtpd"
PASSWORD = "open-sesame"


@dataclass(kw_only=True)
class Dovecot:
    """A running server.

    Attributes
    ----------
    imap_port : int
        IMAP; STARTTLS is offered where the server has a certificate.
    imaps_port : int
        IMAP over TLS; 0 where the server has no certificate.
    lmtp_port : int
        Where mail is handed in.
    """

    folder: Path
    program: str
    greeting: str
    imap_port: int
    imaps_port: int
    lmtp_port: int
    process: subprocess.Popen[bytes] | None = None

    def url(self, user: str, *, tls: bool = False) -> str:
        """What `IMAP_URL` must be for a mailbox; with TLS the host is `localhost`, as the certificate says."""
        scheme, place = ("imaps", f"localhost:{self.imaps_port}") if tls else ("imap", f"127.0.0.1:{self.imap_port}")
        return f"{scheme}://{quote(user, safe='')}:{quote(PASSWORD, safe='')}@{place}"

    def deliver(self, address: str, content: bytes, sender: str = "") -> None:
        """Hand in a mail by LMTP, as a mail server would."""
        with smtplib.LMTP("127.0.0.1", self.lmtp_port) as lmtp:
            refused = lmtp.sendmail(sender, [address], content)
        assert not refused, refused

    def mails(self, user: str, folder: str = "") -> list[bytes]:
        """Return what lies in a mailbox's INBOX, or in another folder of it, oldest first, without touching it."""
        place = self._mailbox(user) / f".{folder}" if folder else self._mailbox(user)
        while True:
            # A mail that is read meanwhile gets another name, but only after the colon.
            files = {
                file.name.partition(":")[0]: file for state in ("new", "cur") for file in (place / state).glob("*")
            }
            try:
                return [files[name].read_bytes() for name in sorted(files, key=_delivered_at)]
            except FileNotFoundError:
                continue

    def log(self) -> str:
        """Return what the server wrote down."""
        return (self.folder / "dovecot.log").read_text("utf-8", "replace")

    def start(self) -> None:
        """Listen, on the same ports as before."""
        command = [self.program, "-F", "-c", str(self.folder / "dovecot.conf")]
        log = self.folder / "dovecot.log"
        with (self.folder / "stderr").open("wb") as errors:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors, start_new_session=True
            )
        wait_for_greeting(self.process, self.imap_port, self.greeting, log)

    def stop(self) -> None:
        """Cut every connection and refuse new ones until `start`; mail stays where it is."""
        if self.process is not None:
            end_group(self.process.pid)
            self.process.wait()
        self.process = None

    def restart(self) -> None:
        """Cut every connection and listen again."""
        self.stop()
        self.start()

    def renumber(self, user: str) -> None:
        """Give a mailbox a new UIDVALIDITY, as a restored backup does: its UIDs mean nothing any more. Cuts connections."""
        self.stop()
        self._forget_numbers(user, keep_mails=True)
        self.start()

    def recreate(self, user: str) -> None:
        """Throw a mailbox away with all its mails and make it anew, with another UIDVALIDITY. Cuts connections."""
        self.stop()
        for file in [file for state in ("new", "cur") for file in (self._mailbox(user) / state).glob("*")]:
            file.unlink()
        self._forget_numbers(user, keep_mails=False)
        self.start()

    def _forget_numbers(self, user: str, *, keep_mails: bool) -> None:
        """Count up UIDVALIDITY in the list's first line; left to itself, Dovecot takes the second of the day."""
        for file in self._mailbox(user).glob("dovecot.index*"):
            file.unlink()
        uids = self._mailbox(user) / "dovecot-uidlist"
        header, *mails = uids.read_text("utf-8").splitlines(keepends=True)
        found = re.fullmatch(r"3 V(\d+) N(\d+) (G[0-9a-f]+)\n", header)
        assert found is not None, header
        following = found[2] if keep_mails else 1
        uids.write_text("".join([f"3 V{int(found[1]) + 1} N{following} {found[3]}\n", *(mails if keep_mails else [])]))

    def _mailbox(self, user: str) -> Path:
        return self.folder / "mail" / user.lower()


@contextmanager
def dovecot(certificate: tuple[Path, Path] | None = None) -> Iterator[Dovecot]:
    """Run a server on free loopback ports until the end of the block.

    Parameters
    ----------
    certificate : tuple of Path, optional
        The certificate and its key (`tests.peers.daemon.self_signed`); without them there is no TLS.
    """
    found = program("dovecot", PACKAGES)
    if not all(Path("/usr/lib/dovecot", part).exists() for part in ("imap", "lmtp")):
        missing_peer(f"dovecot lacks IMAP or LMTP: run `DEBIAN_FRONTEND=noninteractive apt-get install {PACKAGES}`")
    with open_folder("ac-dovecot-") as folder, held_ports(3) as (imap_port, imaps_port, lmtp_port):
        server = Dovecot(
            folder=folder,
            program=found,
            greeting=f"dovecot-{uuid.uuid4().hex}",
            imap_port=imap_port,
            imaps_port=imaps_port if certificate else 0,
            lmtp_port=lmtp_port,
        )
        _configure(server, certificate)
        try:
            server.start()
            yield server
        finally:
            server.stop()


def _configure(server: Dovecot, certificate: tuple[Path, Path] | None) -> None:
    reader = pwd.getpwnam("nobody")
    (server.folder / "mail").mkdir()
    os.chown(server.folder / "mail", reader.pw_uid, reader.pw_gid)
    fill(
        "dovecot.conf",
        server.folder / "dovecot.conf",
        folder=server.folder,
        greeting=server.greeting,
        password=PASSWORD,
        uid=reader.pw_uid,
        gid=reader.pw_gid,
        ssl="yes" if certificate else "no",
        certificate=f"ssl_cert = <{certificate[0]}\nssl_key = <{certificate[1]}" if certificate else "",
        imap_port=server.imap_port,
        imaps_port=server.imaps_port,
        lmtp_port=server.lmtp_port,
    )


def _delivered_at(name: str) -> tuple[int, int]:
    """Read the moment from a maildir file's name: SECONDS.MMICROSECONDSP…"""
    moment = re.match(r"(\d+)\.M(\d+)", name)
    assert moment is not None, name
    return int(moment[1]), int(moment[2])
