"""The HTTP surface: health for machines, the opt-out page for customers, doors for providers.

Endpoints are plain functions; the framework runs them in its thread pool. Serving is `bot.web.server`'s
business, what an opt-out does `bot.services.mail.opting_out`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fastapi import FastAPI
from fastapi.responses import HTMLResponse, JSONResponse

from bot.services.mail.opting_out import OptOutDesk
from bot.tokens import InvalidToken
from bot.web.callbacks import Callback, add_callback
from bot.web.mail_hook import MailHook, add_mail_hook
from bot.web.pages import HEADERS, confirm_page, done_page, invalid_page

__all__ = ["Check", "build_app"]


@dataclass(frozen=True, kw_only=True)
class Check:
    """The state of one part, as `/readyz` tells it; `detail` says what to do where it is not well."""

    name: str
    ok: bool
    state: str
    detail: str = ""


def build_app(
    *,
    checks: Callable[[], list[Check]],
    opt_out: OptOutDesk,
    shop_name: str,
    locale: str,
    callbacks: Mapping[str, Callback] | None = None,
    mail_hook: MailHook | None = None,
) -> FastAPI:
    """Build the application.

    Parameters
    ----------
    checks : callable
        Asks every part how it is; must be quick.
    callbacks : mapping of str to callable, optional
        What providers call, by path.
    mail_hook : MailHook, optional
        Takes posted mails; without it there is no such door.
    """
    app = FastAPI(title="Aftercare", docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/healthz")
    def healthz() -> dict[str, str]:
        """Say that the process is alive."""
        return {"status": "alive"}

    @app.get("/readyz")
    def readyz() -> JSONResponse:
        """Say of every part whether it can do its work; 503 where one cannot."""
        found = checks()
        ready = all(check.ok for check in found)
        body = {
            "status": "ready" if ready else "not ready",
            "checks": {check.name: _shown(check) for check in found},
        }
        return JSONResponse(body, status_code=200 if ready else 503, headers={"Cache-Control": "no-store"})

    @app.get("/u/{token}")
    def ask_to_confirm(token: str) -> HTMLResponse:
        """Show what the link would do; scanners fetch every link of a mail, so nothing changes here."""
        try:
            link = opt_out.read(token)
        except InvalidToken:
            return _page(invalid_page(shop_name, locale), 404)
        return _page(confirm_page(shop_name, link.locale))

    @app.post("/u/{token}")
    def confirm(token: str) -> HTMLResponse:
        """End contact: from the page's button, or from a mail program (RFC 8058: no cookie, no login, any body)."""
        try:
            link = opt_out.confirm(token, "email_link")
        except InvalidToken:
            return _page(invalid_page(shop_name, locale), 404)
        return _page(done_page(shop_name, link.locale))

    for path, callback in (callbacks or {}).items():
        add_callback(app, path, callback)
    if mail_hook is not None:
        add_mail_hook(app, mail_hook)
    return app


def _shown(check: Check) -> dict[str, object]:
    return {"ok": check.ok, "state": check.state, **({"detail": check.detail} if check.detail else {})}


def _page(content: str, status: int = 200) -> HTMLResponse:
    return HTMLResponse(content, status_code=status, headers=HEADERS)
