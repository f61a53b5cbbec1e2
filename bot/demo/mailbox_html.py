"""What the mailbox page looks like: a list of mails, the one that is open, and the box to answer it.

Everything from a mail is escaped here; its HTML alone is passed on as it came, into a frame that can do nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from html import escape
from pathlib import Path

from bot.demo.mail_program import Letter

__all__ = ["SCRIPT", "STYLE", "framed", "listing", "page"]

STYLE = Path(__file__).with_name("mailbox.css").read_text(encoding="utf-8")
SCRIPT = Path(__file__).with_name("mailbox.js").read_text(encoding="utf-8")
# What a customer might write; the last two show that opting out and a human are a word away.
HINTS = {
    "My parcel is late": "My parcel is late, what can I do?",
    "What no article knows": "Can I run the Breeze 2 on a 110 volt socket in Canada?",
    "A human, please": "I want to talk to a human.",
    "Stop": "Stop",
}
VIEWS = {"html": "As sent", "text": "Plain text", "headers": "Headers"}
SNIPPET = 90


def page(
    shop: str,
    letters: Sequence[Letter],
    letter: Letter | None,
    *,
    opened: Collection[str],
    view: str,
    token: str,
    notice: str,
    draft: str,
) -> str:
    """Return the whole page."""
    right = _nothing_open(shop, bool(letters)) if letter is None else _open(letter, view, token, notice, draft)
    chosen = letter.id if letter is not None else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><title>Mailbox</title>'
        '<link rel="stylesheet" href="/mailbox.css"><script src="/mailbox.js" defer></script></head><body>'
        f"<header><b>Mailbox</b><span>every customer’s mail from {escape(shop)}, on this machine only</span></header>"
        f'<nav id="letters" data-open="{escape(chosen)}">{listing(letters, chosen, opened)}</nav><main>{right}</main></body></html>'
    )


def listing(letters: Sequence[Letter], chosen: str, opened: Collection[str]) -> str:
    """Return the list of mails, the newest first."""
    if not letters:
        return '<p class="empty">No mail yet. Approve a check-in; it leaves half a minute later.</p>'
    rows = []
    for one in letters:
        classes = [
            name
            for name, holds in (
                ("chosen", one.id == chosen),
                ("new", one.id not in opened and not one.written_here),
                ("own", one.written_here),
            )
            if holds
        ]
        time = f"{one.date:%H:%M}" if one.date else ""
        who = f"{one.customer_name} wrote" if one.written_here else f"to {one.customer_name}"
        rows.append(
            f'<li><a href="/mail/{escape(one.id)}" class="{" ".join(classes)}"><span class="who">{escape(who)}</span>'
            f"<time>{time}</time><span>{escape(one.subject)}</span><small>{escape(_snippet(one))}</small></a></li>"
        )
    return f"<ol>{''.join(rows)}</ol>"


def framed(content: str) -> str:
    """Return a mail's HTML so that its links open a tab of their own."""
    # The first `base` of a document counts, and a second doctype is ignored (HTML, sections 4.2.3 and 13.2.6.4.3).
    return f'<!doctype html><base target="_blank">{content}'


def _open(letter: Letter, view: str, token: str, notice: str, draft: str) -> str:
    view = view if view in VIEWS else "html"
    if view == "html" and letter.html is None:
        view = "text"
    tabs = "".join(
        f'<a href="/mail/{escape(letter.id)}?view={name}"{" aria-current=page" if name == view else ""}>{label}</a>'
        for name, label in VIEWS.items()
        if name != "html" or letter.html is not None
    )
    date = f"{letter.date:%a %d %B %Y, %H:%M}" if letter.date else ""
    head = (
        f"<h1>{escape(letter.subject)}</h1><dl><dt>From</dt><dd>{escape(letter.sender)}</dd>"
        f"<dt>To</dt><dd>{escape(letter.recipient)}</dd><dt>Date</dt><dd>{escape(date)}</dd></dl>"
    )
    said = f'<p class="notice" role="status">{escape(notice)}</p>' if notice else ""
    return f"<article><section>{head}<p class=tabs>{tabs}</p></section>{_body(letter, view)}</article>{said}" + (
        "" if letter.written_here else _reply_box(letter, token, draft)
    )


def _body(letter: Letter, view: str) -> str:
    if view == "html":
        # The sandbox stands in the answer's own header too, for whoever opens the frame's address by itself.
        return (
            f'<iframe src="/mail/{escape(letter.id)}/body" title="The mail" '
            'sandbox="allow-popups allow-popups-to-escape-sandbox" referrerpolicy="no-referrer"></iframe>'
        )
    if view == "text":
        return f"<pre>{escape(letter.text)}</pre>"
    rows = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in letter.headers)
    return f'<div class="headers"><table>{rows}</table></div>'


def _reply_box(letter: Letter, token: str, draft: str) -> str:
    name = escape(letter.customer_name)
    hints = "".join(
        f'<button type="button" data-text="{escape(words)}">{hint}</button>' for hint, words in HINTS.items()
    )
    return (
        f'<form method="post" action="/mail/{escape(letter.id)}/reply"><label for="text">Reply as {name}</label>'
        f'<input type="hidden" name="token" value="{escape(token)}">'
        f'<textarea id="text" name="text" rows="2" required placeholder="Write to the shop as {name}">{escape(draft)}</textarea>'
        f'<div><button type="submit">Send reply</button><span class="hints">Try: {hints}</span></div></form>'
    )


def _nothing_open(shop: str, any_letter: bool) -> str:
    first = "Choose a mail on the left." if any_letter else "The first mail comes when a check-in was approved."
    return (
        f'<div class="start"><h1>You are the customers of {escape(shop)} here</h1><p>{first}</p><ul>'
        "<li>Read what they read: as sent, as plain text, with every header.</li>"
        "<li>Reply as they would: it is a real mail, and comes into the bot the way a mail provider would post it.</li>"
        "<li>Follow the link at the foot of a check-in to unsubscribe.</li></ul></div>"
    )


def _snippet(letter: Letter) -> str:
    own = letter.text.partition("\n>")[0]
    if own != letter.text and own.rstrip().endswith("wrote:"):
        own = own.rstrip().rpartition("\n")[0]  # the line above what is quoted
    words = " ".join(own.split())
    return words if len(words) <= SNIPPET else f"{words[:SNIPPET].rstrip()}…"
