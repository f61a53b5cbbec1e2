"""Reading Markdown in several threads: what markdown-it fills in at its first use is filled in before."""

from __future__ import annotations

from markdown_it import MarkdownIt

__all__ = ["warmed"]


def warmed(markdown: MarkdownIt) -> MarkdownIt:
    """Return the reader, ready for any number of threads.

    Its rules, and mdurl's tables of what is escaped in addresses, are made when they are first needed; a second thread
    would see them half made, and a check-in would fail for it.
    """
    markdown.render("[page](https://shop.example/%C3%BC?a=ü) <https://shop.example/ü> ![image](https://shop.example/ü)")
    return markdown
