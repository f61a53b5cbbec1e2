"""Takes a picture of the review channel as local-slack's page shows it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from docs.pictures.browser import page

__all__ = ["check_size", "shoot"]

LARGEST = 200_000


def shoot(base_url: str, file: Path, shows: str, *, width: int = 1100, height: int, scroll_to: str = "") -> None:
    """Take one picture of the channel once it shows some words.

    Parameters
    ----------
    scroll_to : str
        Words of a heading that is to stand on top; else the newest message is at the foot.
    """
    with page(f"{base_url}/", width, height) as opened:
        opened.wait("document.body && document.body.innerText.includes('aftercare-review')", "the review channel")
        opened.value(
            "[...document.querySelectorAll('*')].filter(e => e.children.length == 0 && e.textContent.trim().endsWith('aftercare-review')).pop().click()"
        )
        opened.wait(f"document.body.innerText.includes({json.dumps(shows)})", shows)
        opened.value("document.activeElement && document.activeElement.blur()")
        if scroll_to:
            opened.value(
                f"[...document.querySelectorAll('*')].filter(e => e.children.length == 0 && e.textContent.includes({json.dumps(scroll_to)})).pop().scrollIntoView()"
            )
            # The name of the writer stands above the heading.
            opened.value(
                "[...document.querySelectorAll('*')].filter(e => e.scrollTop > 0).forEach(e => e.scrollTop -= 48)"
            )
        opened.picture(file)
    check_size(file)


def check_size(file: Path) -> None:
    """End where a picture is larger than a page of documentation should load."""
    size = file.stat().st_size
    print(f"{file.name}: {size:,} bytes")
    if size > LARGEST:
        sys.exit(f"{file} is over {LARGEST:,} bytes")
