"""The door for mails that a provider or a mail server posts: signed, fresh, once, and recorded before it is answered.

The body is the mail as it came (`message/rfc822`). The signature is over the version, the time and the body:
`X-Aftercare-Signature: v1=HMAC-SHA256(secret, "v1:{timestamp}:" + body)`, in hexadecimal. What a mail does is
`bot.services.mail.mailroom`'s business.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable
from typing import Annotated

import structlog
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from starlette.requests import ClientDisconnect

from bot.clock import Clock, SystemClock
from bot.store.mails import MAX_OCTETS

__all__ = ["PATH", "MailHook", "add_mail_hook"]

log = structlog.get_logger(__name__)

PATH = "/hooks/mail"
SIGNATURE, TIMESTAMP = "x-aftercare-signature", "x-aftercare-timestamp"
# Older requests are refused, and so are those of a clock that is ahead; within it, each signature counts once.
SECONDS = 300
_SIGNATURE = re.compile(r"v1=[0-9a-f]{64}\Z")
_TIMESTAMP = re.compile(r"[0-9]{1,12}\Z")
_LENGTH = re.compile(r"[0-9]{1,18}\Z")
MEDIA_TYPE = "message/rfc822"


class MailHook:
    """Checks requests and hands their mails on.

    Parameters
    ----------
    take : callable
        Records a mail under the signature that proved it; False says that this request had come before.
    clock : Clock, optional
        Signatures count real time, so it is the machine's own unless a test says otherwise.
    """

    def __init__(self, secret: str, take: Callable[[bytes, str], bool], clock: Clock | None = None) -> None:
        self._secret = secret.encode()
        self._take = take
        self._clock = clock or SystemClock()

    def receive(self, body: bytes, timestamp: str, signature: str) -> int:
        """Return the status that a request deserves: 200 once its mail is recorded, 401 for one that is not genuine."""
        if not self._genuine(body, timestamp, signature):
            log.warning("mail_hook_refused", octets=len(body), signed=bool(signature))
            return 401
        if not self._take(body, signature):
            log.warning("mail_hook_replayed", octets=len(body))
            return 401
        return 200

    def _genuine(self, body: bytes, timestamp: str, signature: str) -> bool:
        if not _TIMESTAMP.match(timestamp) or not _SIGNATURE.match(signature):
            return False
        if abs(self._clock.now().timestamp() - int(timestamp)) > SECONDS:
            return False
        expected = hmac.new(self._secret, f"v1:{timestamp}:".encode() + body, hashlib.sha256).hexdigest()
        return hmac.compare_digest(expected, signature.removeprefix("v1="))


async def mail_body(request: Request) -> bytes:
    """Read the mail; 413 for one that is too large, without reading all of it, and 415 for what is no mail."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != MEDIA_TYPE:
        raise HTTPException(415, f"post the mail as it came, with Content-Type: {MEDIA_TYPE}")
    length = request.headers.get("content-length", "0")
    if not _LENGTH.match(length) or int(length) > MAX_OCTETS:
        raise HTTPException(413, f"a mail of more than {MAX_OCTETS} octets is not taken")
    read = bytearray()
    try:
        async for part in request.stream():
            read += part
            if len(read) > MAX_OCTETS:
                raise HTTPException(413, f"a mail of more than {MAX_OCTETS} octets is not taken")
    except ClientDisconnect as error:
        raise HTTPException(400, "the body ended early") from error
    return bytes(read)


def add_mail_hook(app: FastAPI, hook: MailHook) -> None:
    """Let POSTs reach the hook; it runs in the framework's thread pool and may block."""

    @app.post(PATH)
    def receive(request: Request, body: Annotated[bytes, Depends(mail_body)]) -> Response:
        """Take one mail."""
        headers = request.headers
        status = hook.receive(body, headers.get(TIMESTAMP, ""), headers.get(SIGNATURE, ""))
        words = {200: "recorded", 401: "this request does not carry a valid, fresh signature that was not used before"}
        return Response(words[status], status_code=status, media_type="text/plain")
