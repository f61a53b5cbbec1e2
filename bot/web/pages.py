"""The pages that customers reach from a mail, in their language: small, plain, without a script or a cookie."""

from __future__ import annotations

from html import escape

__all__ = ["HEADERS", "confirm_page", "done_page", "invalid_page"]

# Nothing is loaded, kept, indexed or told to other sites, and the form can only come back here.
HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Robots-Tag": "noindex",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
}

_WORDS = {
    "en": {
        "confirm_title": "No more check-ins?",
        "confirm": "{shop} will no longer write to you by itself on this channel. You can still write to us, and we will answer.",
        "button": "Yes, stop check-ins",
        "keep": "Nothing changes if you just close this page.",
        "done_title": "Done",
        "done": "{shop} will not send you check-ins on this channel any more.",
        "invalid_title": "This link does not work",
        "invalid": "It is incomplete or too old. Use the link in a newer message, or simply reply to it with the word stop.",
    },
    "de": {
        "confirm_title": "Keine Nachfragen mehr?",
        "confirm": "{shop} schreibt Ihnen auf diesem Weg nicht mehr von sich aus. Sie können uns weiterhin schreiben, und wir antworten.",
        "button": "Ja, keine Nachfragen mehr",
        "keep": "Wenn Sie diese Seite einfach schließen, ändert sich nichts.",
        "done_title": "Erledigt",
        "done": "{shop} schickt Ihnen auf diesem Weg keine Nachfragen mehr.",
        "invalid_title": "Dieser Link funktioniert nicht",
        "invalid": "Er ist unvollständig oder zu alt. Nehmen Sie den Link einer neueren Nachricht oder antworten Sie darauf mit dem Wort stopp.",
    },
}

_STYLE = """
:root { color-scheme: light dark; }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; background: #f4f6f5; color: #1c2b29;
  font: 17px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 27rem; margin: 1.5rem; padding: 2rem 2.25rem; background: #fff; border-radius: 14px;
  box-shadow: 0 1px 2px #0002, 0 12px 32px #0000000f; }
.shop { margin: 0; font-size: .85rem; letter-spacing: .02em; color: #5b6d6a; }
h1 { margin: .35rem 0 .75rem; font-size: 1.5rem; line-height: 1.25; }
button { margin: .75rem 0 .5rem; padding: .75rem 1.35rem; border: 0; border-radius: 9px; background: #0b5c55; color: #fff;
  font: inherit; font-weight: 600; cursor: pointer; }
button:hover { background: #094a44; }
button:focus-visible { outline: 3px solid #7cc5bd; outline-offset: 2px; }
.keep { margin: .5rem 0 0; font-size: .9rem; color: #5b6d6a; }
@media (prefers-color-scheme: dark) {
  body { background: #101615; color: #e6eeec; } main { background: #1a2322; box-shadow: none; }
  .shop, .keep { color: #9db0ac; } button { background: #2a9184; }
}
"""


def confirm_page(shop: str, locale: str) -> str:
    """Ask before anything changes; the button posts to the same address."""
    words = _words(locale)
    form = (
        f'<form method="post"><button type="submit">{escape(words["button"])}</button></form>'
        f'<p class="keep">{escape(words["keep"])}</p>'
    )
    return _page(shop, locale, words["confirm_title"], words["confirm"], form)


def done_page(shop: str, locale: str) -> str:
    """Confirm that contact has ended."""
    words = _words(locale)
    return _page(shop, locale, words["done_title"], words["done"])


def invalid_page(shop: str, locale: str) -> str:
    """Say what to do instead of following a link that does not work."""
    words = _words(locale)
    return _page(shop, locale, words["invalid_title"], words["invalid"])


def _words(locale: str) -> dict[str, str]:
    return _WORDS.get(_language(locale), _WORDS["en"])


def _language(locale: str) -> str:
    language = locale.replace("_", "-").split("-")[0].lower()
    return language if language in _WORDS else "en"


def _page(shop: str, locale: str, title: str, text: str, more: str = "") -> str:
    return (
        f'<!doctype html><html lang="{_language(locale)}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)} · {escape(shop)}</title><style>{_STYLE}</style></head>"
        f'<body><main><p class="shop">{escape(shop)}</p><h1>{escape(title)}</h1>'
        f"<p>{escape(text.replace('{shop}', shop))}</p>{more}</main></body></html>"
    )
