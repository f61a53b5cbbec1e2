"""What the report pages share: one HTML file with its plots in it, which fetches nothing from anywhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

__all__ = ["page", "table"]

_STYLE = """
body { margin: 0; background: #f4f6f5; color: #1c2b29; font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 72rem; margin: 0 auto; padding: 2rem 1.5rem 4rem; }
h1 { margin: 0; font-size: 1.7rem; } h2 { margin: 2.5rem 0 .25rem; font-size: 1.3rem; } h3 { margin: 1.75rem 0 .5rem; font-size: 1rem; }
.about { margin: .25rem 0 1rem; color: #5b6d6a; }
.verdict { margin: 0; padding: 1rem 1.25rem 1rem 2.25rem; background: #fff; border-left: 4px solid #0b5c55; border-radius: 0 8px 8px 0; }
.verdict li { margin: .2rem 0; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(24rem, 1fr)); gap: 1rem; margin: 1rem 0; }
figure { margin: 0; padding: .75rem; background: #fff; border-radius: 8px; } figure svg { width: 100%; height: auto; display: block; }
.wide { overflow-x: auto; background: #fff; border-radius: 8px; }
table { border-collapse: collapse; width: 100%; font-size: .85rem; font-variant-numeric: tabular-nums; }
th, td { padding: .45rem .6rem; text-align: right; white-space: nowrap; border-bottom: 1px solid #e9eeed; }
th:first-child, td:first-child { text-align: left; } thead th { color: #5b6d6a; font-weight: 600; white-space: normal; }
tr.ours td { font-weight: 600; color: #0b5c55; } .interval { display: block; color: #5b6d6a; font-weight: 400; font-size: .78rem; }
.better { font-weight: 600; color: #0b5c55; } .worse { font-weight: 600; color: #a3320b; } .note { color: #5b6d6a; font-size: .85rem; }
@media print { body { background: #fff; } figure, h3 { break-inside: avoid; } }
"""
# What asks for nothing gets nothing, even where the page is opened from a server.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def page(title: str, about: str, body: str) -> str:
    """Return the page; `title` and `about` are plain text, `body` is HTML."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body><main>"
        f'<h1>{escape(title)}</h1><p class="about">{escape(about)}</p>'
        f"{body}</main></body></html>\n"
    )


def table(columns: Iterable[str], rows: Iterable[tuple[str, str, Sequence[str]]]) -> str:
    """Return a table of rows (class, name, cells); cells are HTML, all else is plain text."""
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    body = "".join(
        f'<tr class="{kind}"><td>{escape(name)}</td>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'
        for kind, name, cells in rows
    )
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
