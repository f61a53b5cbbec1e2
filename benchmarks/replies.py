"""How long the reply scanner takes for 40 kB of text and of HTML that were made to be slow.

    python -m benchmarks.replies

Prints each case, the slowest first, in processor time (what else the machine does is not counted), and the wall-clock
time of `email-reply-parser` and `mail-parser-reply` beside it where they are installed (each case then runs in a process
of its own, its start included, that is given up after five seconds). The exit status is 1 where one of our cases takes
longer than 50 ms.
"""

from __future__ import annotations

import importlib
import multiprocessing
import sys
import time
from collections.abc import Callable

from messages.html_text import html_to_text
from messages.replies import own_words

LIMIT_SECONDS = 0.050
SIZE = 40_000
ROUNDS = 10
PEER_SECONDS = 5.0
MARKERS = ("k7m2qd4xw9tz5v3nh6r8", "https://shop.example/o/k7m2qd4xw9tz5v3nh6r8")


def main() -> int:
    """Measure, print, and say by the exit status whether the limit is held."""
    own_words("The phrases are loaded by the first call.")
    cases = [(name, text, _scan) for name, text in texts().items()]
    cases += [(name, source, _scan_html) for name, source in pages().items()]
    # All cases in each round, so that a moment in which the machine is busy spoils one round only.
    best = {name: float("inf") for name, _, _ in cases}
    for _ in range(ROUNDS):
        for name, source, scan in cases:
            started = time.thread_time()
            scan(source)
            best[name] = min(best[name], time.thread_time() - started)
    found = [(best[name], name, source if scan is _scan else "") for name, source, scan in cases]
    peers = [peer for peer in (_email_reply_parser, _mail_parser_reply) if _installed(peer)]
    for seconds, name, text in sorted(found, reverse=True):
        beside = "".join(f"  {peer.__name__.strip('_')} {_limited(peer, text)}" for peer in peers if text)
        print(f"{seconds * 1000:7.1f} ms  {name}{beside}")
    if not peers:
        print("(no comparison: neither email-reply-parser nor mail-parser-reply is installed)")
    slowest, name, _ = max(found)
    print(
        f"slowest {slowest * 1000:.1f} ms ({name}), limit {LIMIT_SECONDS * 1000:.0f} ms, {len(found)} cases of {SIZE // 1000} kB"
    )
    return 0 if slowest <= LIMIT_SECONDS else 1


def texts() -> dict[str, str]:
    """Return plain texts of `SIZE` octets, each aimed at one way of being slow."""
    units = {
        "On a a a … without wrote": "a ",
        "spaces and line breaks": " \n",
        "line breaks": "\n",
        "carriage returns": "\r",
        ">": ">",
        "> >": "> ",
        "quoted lines": ">\n",
        "one long line": "x",
        "alternating quotation": "> a\nb\n",
        "alternating depth": "> a\n>> b\n>>> c\nd\n",
        "From: lines": "From: \n",
        "header lines": "From: a\nTo: b\ncontinued\n",
        "header lines, three kinds": "From: a\n\nSent: b\n\nno\n",
        "headers with copies": "From: a\nCc: b\nCc: c\nCc: d\nCc: e\nCc: f\n",
        "colons": "a:\n",
        "colons every fifth line": "a\na\na\na:\n",
        "nearly attributions": "On 5.1.2026 10:12 x@y.example\nand\nand\nwrote to:\n",
        "short dated colons": "on 1.1.2026 10:1 wrot:\n",
        "doubtful attributions": "On 5.1.2026 he wrote:\nx\n",
        "verbs without address": "Le a écrit schrieb wrote 2026:\n",
        "addresses": "a@b.c:",
        "at signs": "@",
        "digits": "1",
        "digits and dots": "1.1.1:1",
        "separators": "-----Original-----\n",
        "rules": "_____\n",
        "rules and From": "__________\nFrom: a\n",
        "footers": "Sent from my iPhone and\n",
        "links in a line": "<https://a.example/ ",
        "closings": "Best regards,\nAnna\n",
        "closings that fail": "Best regards,\nplease cancel all of it.\n",
        "greetings": "Dear Anna Example,\n",
        "signature lines": "--\n",
        "invisible characters": "\u200b",
        "invisible lines": "\u200b\n",
        "wide characters": "、",
        "byte marks": "\ufeff:\n",
        "capital İ": "İ",
    }
    made = {name: _filled(unit) for name, unit in units.items()}
    made["On a a a … without wrote"] = ("On " + made["On a a a … without wrote"])[:SIZE]
    made["one long attribution"] = "On 5.1.2026 at 10:12 " + "a " * (SIZE // 2) + "<x@y.example> wrote:"
    made["wrapped attribution"] = "On 5.1.2026 at 10:12\n" * (SIZE // 21) + "<x@y.example> wrote:"
    return made


def pages() -> dict[str, str]:
    """Return pieces of HTML of `SIZE` octets, each aimed at one way of being slow."""
    units = {
        "HTML: unfinished tags": "<a ",
        "HTML: unfinished quotes": '<a b="',
        "HTML: both quotes": "<a b='\" c=\"'",
        "HTML: attributes": "<a " + "b " * 19_000,
        "HTML: equals signs": "<a =",
        "HTML: slashes": "<a/",
        "HTML: <": "<",
        "HTML: unfinished comments": "<!--",
        "HTML: comments": "<!---->",
        "HTML: declarations": "<!a",
        "HTML: entities": "&",
        "HTML: numbers": "&#9999999",
        "HTML: one number": "9",
        "HTML: entities without end": "&lt",
        "HTML: nested quotations": "<blockquote>x",
        "HTML: nested divisions": "<div>",
        "HTML: closing tags": "</div>",
        "HTML: crossed tags": "<div><td></div></td>",
        "HTML: deep, then crossed": "<div><ul>x</div>",
        "HTML: links": "<a href=https://a.example/>x</a>",
        "HTML: open links": "<a href=x>y",
        "HTML: styles": "<style>",
        "HTML: scripts": "<script></script",
        "HTML: breaks": "<br>",
        "HTML: spaces": "<p>&nbsp;",
        "HTML: quotations": "<blockquote>a</blockquote>b",
        "HTML: preformatted": "<pre>\n\n\n",
        "HTML: separators": "<div id=appendonsend></div>",
        "HTML: hidden": "<div style='display:none'>x",
        "HTML: list items": "<ol><li>",
    }
    made = {name: _filled(unit) for name, unit in units.items()}
    made["HTML: one number"] = "&#" + made["HTML: one number"]
    return made


def _filled(unit: str) -> str:
    size = len(unit.encode())
    return unit * max(1, SIZE // size)


def _scan(text: str) -> object:
    return own_words(text, markers=MARKERS)


def _scan_html(source: str) -> object:
    return own_words(html_to_text(source), markers=MARKERS)


def _email_reply_parser(text: str) -> object:
    return importlib.import_module("email_reply_parser").EmailReplyParser.parse_reply(text)


def _mail_parser_reply(text: str) -> object:
    return importlib.import_module("mailparser_reply").EmailReplyParser(languages=["en", "de", "fr"]).parse_reply(text)


def _installed(peer: Callable[[str], object]) -> bool:
    try:
        peer("Yes.")
    except ImportError:
        return False
    return True


def _limited(peer: Callable[[str], object], text: str) -> str:
    """Run the peer on a text in a process that is ended when it takes too long."""
    worker = multiprocessing.get_context("spawn").Process(target=peer, args=(text,))
    started = time.perf_counter()
    worker.start()
    worker.join(PEER_SECONDS)
    seconds = time.perf_counter() - started
    if not worker.is_alive():
        return f"{seconds * 1000:.0f} ms with its start" if worker.exitcode == 0 else "raised"
    worker.kill()
    worker.join()
    return f"given up after {PEER_SECONDS:.0f} s"


if __name__ == "__main__":
    sys.exit(main())
