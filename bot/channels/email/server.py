"""Where mail is handed in: its address, a connection to it that TLS and a login have proved, and what is wrong with it.

What is said on the connection afterwards is `smtp.py`'s business.
"""

from __future__ import annotations

import contextlib
import smtplib
import socket
import ssl
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from bot.errors import ConfigurationError, TransientChannelError

__all__ = ["CONNECT_SECONDS", "Server", "connect", "prove", "shut", "what_to_mend"]

CONNECT_SECONDS = 15.0


@dataclass(frozen=True, kw_only=True)
class Server:
    """Where mail is handed in.

    Attributes
    ----------
    security : str
        `plain` (loopback only), `starttls` or `tls`; TLS is always verified.
    """

    host: str
    port: int
    security: str
    user: str | None = None
    password: str | None = None

    def __repr__(self) -> str:  # credentials never reach a log
        return f"Server({self.host}:{self.port}, {self.security})"

    @classmethod
    def from_url(cls, url: str) -> Server:
        """Read `smtp://`, `smtp+starttls://` or `smtps://`, with user and password percent-encoded."""
        try:
            parts = urlsplit(url)
            security, port = {"smtp": ("plain", 25), "smtp+starttls": ("starttls", 587), "smtps": ("tls", 465)}[
                parts.scheme
            ]
            if not parts.hostname:
                raise ValueError
            if security == "plain" and parts.hostname not in ("127.0.0.1", "localhost", "::1"):
                raise ConfigurationError([("SMTP_URL", "without TLS only to this machine; write smtp+starttls://")])
            return cls(
                host=parts.hostname,
                port=parts.port or port,
                security=security,
                user=unquote(parts.username) if parts.username else None,
                password=unquote(parts.password or "") if parts.username else None,
            )
        except (KeyError, ValueError) as error:
            advice = "write smtp+starttls://USER:PASSWORD@HOST:PORT, smtps://… or smtp://127.0.0.1:PORT"
            raise ConfigurationError([("SMTP_URL", advice)]) from error


def connect(server: Server, tls: ssl.SSLContext | None = None, seconds: float = CONNECT_SECONDS) -> smtplib.SMTP:
    """Open a connection: TLS as the URL says, EHLO, and a login where the URL names a user.

    Parameters
    ----------
    seconds : float
        How long each step may take.

    Raises
    ------
    OSError, smtplib.SMTPException
        See `what_to_mend`.
    """
    if server.security == "tls":
        smtp: smtplib.SMTP = smtplib.SMTP_SSL(
            server.host, server.port, timeout=seconds, context=tls or ssl.create_default_context()
        )
    else:
        smtp = smtplib.SMTP(server.host, server.port, timeout=seconds)
    try:
        smtp.ehlo_or_helo_if_needed()
        if server.security == "starttls":
            smtp.starttls(context=tls or ssl.create_default_context())
            smtp.ehlo()
        if server.user is not None:
            smtp.login(server.user, server.password or "")
    except BaseException:
        smtp.close()
        raise
    return smtp


def shut(smtp: smtplib.SMTP) -> None:
    """End a connection under whoever is using it; any thread may."""
    connected = getattr(smtp, "sock", None)
    if connected is not None:
        with contextlib.suppress(OSError):
            # Not SSLSocket's own: it forgets its TLS first, and whoever sends at that moment would send in the clear.
            socket.socket.shutdown(connected, socket.SHUT_RDWR)


def prove(server: Server, tls: ssl.SSLContext | None = None, seconds: float = CONNECT_SECONDS) -> None:
    """Go as far as one can without sending: connect, log in, NOOP, leave.

    Raises
    ------
    TransientChannelError
        Saying what to mend.
    """
    try:
        with connect(server, tls, seconds) as smtp:
            code, _ = smtp.noop()
    except (OSError, smtplib.SMTPException) as error:
        raise TransientChannelError(what_to_mend(server, error)) from error
    if code != 250:
        raise TransientChannelError(f"{server.host}:{server.port} answers NOOP with {code}; ask who runs it")


def what_to_mend(server: Server, error: Exception) -> str:
    """Say why there is no connection, and what to do; never with a server's words or credentials."""
    place = f"{server.host}:{server.port}"
    if isinstance(error, smtplib.SMTPServerDisconnected) and isinstance(error.__context__, TimeoutError):
        error = error.__context__  # the library calls a server that says nothing disconnected
    match error:
        case ssl.SSLCertVerificationError():
            return (
                f"the TLS certificate of {place} is not valid for that name or nobody trusted vouches for it "
                f"({error.verify_message}); write the host name it is made for, or have it renewed"
            )
        case ssl.SSLError():
            return (
                f"{place} does not speak the TLS that SMTP_URL asks for; smtps:// is mostly port 465, "
                "smtp+starttls:// port 587"
            )
        case smtplib.SMTPAuthenticationError():
            return f"{place} refused the user or password in SMTP_URL (code {error.smtp_code})"
        case smtplib.SMTPNotSupportedError() if "STARTTLS" in str(error):
            return f"{place} offers no STARTTLS; write smtps:// and its port (mostly 465), or name another server"
        case smtplib.SMTPNotSupportedError():
            return f"{place} offers no login; take user and password out of SMTP_URL, or name its submission port (587)"
        case smtplib.SMTPServerDisconnected():
            return f"{place} hung up before the end of the greeting or login; check scheme and port in SMTP_URL"
        case smtplib.SMTPResponseException():
            return f"{place} refused us with code {error.smtp_code}; ask who runs it whether this machine may send"
        case smtplib.SMTPException():
            return f"{place} offers no way to log in that we know; ask for LOGIN, PLAIN or CRAM-MD5"
        case socket.gaierror():
            return f"there is no host {server.host}; correct it in SMTP_URL"
        case ConnectionRefusedError():
            return f"nothing listens at {place}; correct host and port in SMTP_URL"
        case TimeoutError():
            return f"{place} does not answer; check the port (smtps:// is mostly 465) and the firewall"
    return f"the mail server {place} cannot be reached ({type(error).__name__}); check SMTP_URL"
