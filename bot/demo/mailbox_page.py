"""The mailbox page of the demo: every mail as its reader sees it, and a box to answer it. Served on loopback only.

A mail's HTML is hostile: it is shown in a frame without scripts, forms or an origin. Other sites are kept out by the names
that a request must carry (DNS rebinding, cross-site posts). What it looks like is `bot.demo.mailbox_html`'s business.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable
from typing import Annotated
from urllib.parse import parse_qs

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from bot.clock import Clock
from bot.demo import mailbox_html as html
from bot.demo.mail_program import Letter, MailProgram
from bot.errors import ChannelError, InputError, NotFound

__all__ = ["build_mailbox_app"]

Deliver = Callable[[bytes], None]

HOSTS = ("127.0.0.1", "localhost")
MOST_OCTETS = 100_000
_BASE = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
# Our own page: our own script and style, nothing from elsewhere, in nobody's frame. Under `no-referrer` browsers would not
# name the page as the origin of what it posts (Fetch, "append a request Origin header").
PAGE_HEADERS = {
    **_BASE,
    "Referrer-Policy": "same-origin",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; frame-src 'self'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
}
# A mail: no origin, no script, no form, no request but for pictures that it carries itself; a link opens a tab.
MAIL_HEADERS = {
    **_BASE,
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": (
        "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; img-src data:; "
        "style-src 'unsafe-inline'; form-action 'none'; frame-ancestors 'self'; base-uri 'none'"
    ),
}


class OwnSiteOnly:
    """Refuses requests that were not made to this very address, and those that change something from elsewhere.

    A page of another site whose name was made to lead here (DNS rebinding) still names itself in Host.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer 403."""
        if scope["type"] == "http" and not self._is_own(scope):
            refusal = PlainTextResponse("This page can only be used at its own address.\n", 403, headers=_BASE)
            await refusal(scope, receive, send)
            return
        await self._app(scope, receive, send)

    @staticmethod
    def _is_own(scope: Scope) -> bool:
        fields: dict[str, list[str]] = {}
        for name, value in scope["headers"]:
            fields.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
        port = (scope.get("server") or ("", 80))[1]
        host = fields.get("host", [])
        if len(host) != 1 or host[0] not in {f"{name}:{port}" for name in HOSTS}:
            return False
        if scope["method"] in ("GET", "HEAD"):
            return True
        return fields.get("origin") == [f"http://{host[0]}"] and fields.get("sec-fetch-site", ["same-origin"]) == [
            "same-origin"
        ]


def build_mailbox_app(program: MailProgram, deliver: Deliver, clock: Clock, shop: str) -> FastAPI:
    """Build the application.

    Parameters
    ----------
    deliver : callable
        Hands a reply to the bot; raises ChannelError where the bot does not take it.
    clock : Clock
        What replies are dated by.
    """
    app = FastAPI(title="Mailbox", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(OwnSiteOnly)
    token = secrets.token_urlsafe(24)
    opened: set[str] = set()

    def page(
        letter: Letter | None, *, view: str = "", notice: str = "", draft: str = "", status: int = 200
    ) -> Response:
        if letter is not None:
            opened.add(letter.id)
        content = html.page(
            shop, program.letters(), letter, opened=opened, view=view, token=token, notice=notice, draft=draft
        )
        return HTMLResponse(content, status, headers=PAGE_HEADERS)

    def found(letter_id: str) -> Letter:
        try:
            return program.letter(letter_id)
        except NotFound as error:
            raise HTTPException(404, "there is no such mail") from error

    @app.get("/")
    def start() -> Response:
        return page(None)

    @app.get("/list")
    def listing(open: str = "") -> Response:  # noqa: A002 - the name in the address
        return HTMLResponse(html.listing(program.letters(), open, opened), headers=PAGE_HEADERS)

    @app.get("/mail/{letter_id}")
    def show(letter_id: str, view: str = "", sent: str = "") -> Response:
        notice = "Sent. The answer is on the left within a few seconds." if sent else ""
        return page(found(letter_id), view=view, notice=notice)

    @app.get("/mail/{letter_id}/body")
    def body(letter_id: str) -> Response:
        return HTMLResponse(html.framed(found(letter_id).html or ""), headers=MAIL_HEADERS)

    @app.post("/mail/{letter_id}/reply")
    def reply(letter_id: str, fields: Annotated[dict[str, str], Depends(_form)]) -> Response:
        letter = found(letter_id)
        if not hmac.compare_digest(fields.get("token", "").encode(), token.encode()):
            return page(
                letter, notice="This page was an old one. Send it again.", draft=fields.get("text", ""), status=403
            )
        text = fields.get("text", "")
        try:
            content = program.reply(letter, text, clock.now())
            deliver(content)
        except (InputError, ChannelError) as error:
            return page(letter, notice=f"Not sent: {error}", draft=text, status=400)
        program.keep(content)
        return RedirectResponse(f"/mail/{letter.id}?sent=1", 303, headers=_BASE)

    @app.get("/mailbox.css")
    def style() -> Response:
        return Response(html.STYLE, media_type="text/css", headers=_BASE)

    @app.get("/mailbox.js")
    def script() -> Response:
        return Response(html.SCRIPT, media_type="text/javascript", headers=_BASE)

    return app


async def _form(request: Request) -> dict[str, str]:
    """Read a posted form; 415 for another kind of body, 413 for one that nobody types."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        raise HTTPException(415, "post a form")
    read = bytearray()
    async for part in request.stream():
        read += part
        if len(read) > MOST_OCTETS:
            raise HTTPException(413, "this is too long")
    try:
        fields = parse_qs(read.decode("utf-8", "replace"), max_num_fields=10, keep_blank_values=True)
    except ValueError as error:
        raise HTTPException(400, "this form has too many fields") from error
    return {name: values[0] for name, values in fields.items()}
