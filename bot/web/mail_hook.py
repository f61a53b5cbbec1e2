"""The door for mails that a provider or a mail server posts: proved, once, and recorded before it is answered.

One secret proves a request, in one of three ways: a signature over version, time and body (`X-Aftercare-Signature:
v1=HMAC-SHA256(secret, "v1:{timestamp}:" + body)`, in hexadecimal); the signature of Mailgun's form, over its `timestamp` and
`token` (https://documentation.mailgun.com/docs/mailgun/user-manual/webhooks/securing-webhooks); or, for providers that sign
nothing, the password of HTTP basic authentication (RFC 7617). Where the mail stands in the body is
`bot.web.posted_mail`'s business, what it does `bot.services.mail.mailroom`'s.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from typing import Annotated

import structlog
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from starlette.requests import ClientDisconnect

from bot.clock import Clock, SystemClock
from bot.store.mails import MAX_OCTETS
from bot.web.posted_mail import MEDIA_TYPES, RAW, NoMail, Posted, mail_within

__all__ = ["PATH", "MailHook", "add_mail_hook"]

log = structlog.get_logger(__name__)

PATH = "/hooks/mail"
SIGNATURE, TIMESTAMP = "x-aftercare-signature", "x-aftercare-timestamp"
# Older requests are refused, and so are those of a clock that is ahead; within it, each signature counts once.
SECONDS = 300
# A form or a JSON object holds a mail escaped, and often its parts again beside it.
MAX_BODY_OCTETS = 4 * MAX_OCTETS
_SIGNATURE = re.compile(r"v1=[0-9a-f]{64}\Z")
_TIMESTAMP = re.compile(r"[0-9]{1,12}\Z")
_LENGTH = re.compile(r"[0-9]{1,18}\Z")
_TOKEN = re.compile(r"[\x21-\x7e]{1,200}\Z")
_TOO_LARGE = f"a mail of more than {MAX_OCTETS} octets is not taken"


class MailHook:
    """Checks requests and hands their mails on.

    Parameters
    ----------
    take : callable
        Records a mail under the signature that proved it; False says that this request had come before. Without a
        signature (None), the mail alone tells whether it is known.
    clock : Clock, optional
        Signatures count real time, so it is the machine's own unless a test says otherwise.
    """

    def __init__(self, secret: str, take: Callable[[bytes, str | None], bool], clock: Clock | None = None) -> None:
        self._secret = secret.encode()
        self._take = take
        self._clock = clock or SystemClock()

    def receive(self, body: bytes, headers: Mapping[str, str]) -> tuple[int, str]:
        """Return the status that a request deserves, and why: 200 once its mail is recorded.

        Parameters
        ----------
        headers : mapping of str to str
            By names in lower case.
        """
        content_type = headers.get("content-type", "")
        timestamp, signature = headers.get(TIMESTAMP, ""), headers.get(SIGNATURE, "")
        signed = self._signed(body, timestamp, signature)
        proved = signed or self._knows_the_password(headers.get("authorization", ""))
        if not proved and not _is_form(content_type):
            return self._refuse(body, bool(signature))
        try:
            posted = mail_within(content_type, body)
        except NoMail as error:
            return (415, str(error)) if proved else self._refuse(body, bool(signature))
        if not proved and not self._signed_form(posted):
            return self._refuse(body, bool(signature))
        if len(posted.mail) > MAX_OCTETS:
            return 413, _TOO_LARGE
        if not self._take(posted.mail, signature if signed else None if proved else posted.fields["signature"]):
            log.warning("mail_hook_replayed", octets=len(body))
            return 401, "this request was used before"
        return 200, "recorded"

    @staticmethod
    def _refuse(body: bytes, signed: bool) -> tuple[int, str]:
        log.warning("mail_hook_refused", octets=len(body), signed=signed)
        return 401, "this request does not carry a valid, fresh signature, nor the password"

    def _signed(self, body: bytes, timestamp: str, signature: str) -> bool:
        if not self._fresh(timestamp) or not _SIGNATURE.match(signature):
            return False
        return self._is(f"v1:{timestamp}:".encode() + body, signature.removeprefix("v1="))

    def _signed_form(self, posted: Posted) -> bool:
        """Check Mailgun's proof, which is not over the mail: so its token counts once, like a signature."""
        timestamp, token = posted.fields.get("timestamp", ""), posted.fields.get("token", "")
        if not self._fresh(timestamp) or not _TOKEN.match(token):
            return False
        return self._is(f"{timestamp}{token}".encode(), posted.fields.get("signature", ""))

    def _fresh(self, timestamp: str) -> bool:
        if not _TIMESTAMP.match(timestamp):
            return False
        return abs(self._clock.now().timestamp() - int(timestamp)) <= SECONDS

    def _is(self, said: bytes, signature: str) -> bool:
        expected = hmac.new(self._secret, said, hashlib.sha256).hexdigest()
        return hmac.compare_digest(expected.encode(), signature.encode())

    def _knows_the_password(self, authorization: str) -> bool:
        scheme, _, told = authorization[:2_000].partition(" ")
        if scheme.lower() != "basic":
            return False
        try:
            _, _, password = base64.b64decode(told.strip(), validate=True).partition(b":")
        except (binascii.Error, ValueError):
            return False
        return hmac.compare_digest(self._secret, password)


def _is_form(content_type: str) -> bool:
    return content_type.partition(";")[0].strip().lower() in MEDIA_TYPES[2:]


async def posted_body(request: Request) -> bytes:
    """Read the body; 413 for one that is too large, without reading all of it, and 415 for what holds no mail."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in MEDIA_TYPES:
        raise HTTPException(415, f"post the mail as it came, with Content-Type: {RAW}, or a form or JSON that holds it")
    most = MAX_OCTETS if kind == RAW else MAX_BODY_OCTETS
    length = request.headers.get("content-length", "0")
    if not _LENGTH.match(length) or int(length) > most:
        raise HTTPException(413, _TOO_LARGE)
    read = bytearray()
    try:
        async for part in request.stream():
            read += part
            if len(read) > most:
                raise HTTPException(413, _TOO_LARGE)
    except ClientDisconnect as error:
        raise HTTPException(400, "the body ended early") from error
    return bytes(read)


def add_mail_hook(app: FastAPI, hook: MailHook) -> None:
    """Let POSTs reach the hook; it runs in the framework's thread pool and may block."""

    @app.post(PATH)
    def receive(request: Request, body: Annotated[bytes, Depends(posted_body)]) -> Response:
        """Take one mail."""
        status, words = hook.receive(body, request.headers)
        headers = {"WWW-Authenticate": 'Basic realm="mail"'} if status == 401 else None
        return Response(words, status_code=status, headers=headers, media_type="text/plain")
