"""Where an article's links lead: to other articles, to addresses that are none, or elsewhere.

Nothing is fetched: whether an address of another host answers is for somebody to look at.
"""

from __future__ import annotations

import ipaddress
import posixpath
import re
from collections.abc import Collection, Iterator, Mapping
from urllib.parse import SplitResult, unquote, urlsplit

from markdown_it import MarkdownIt
from markdown_it.token import Token

__all__ = ["judge_links", "links"]

_BARE = re.compile(r"(?i)\bhttps?:\S+")
_LABEL = re.compile(r"[^\W_](?:[\w-]{0,61}[^\W_])?")
_MAIL = re.compile(r"[^@\s]{1,64}@([^@\s]{1,253})")


def links(body: str) -> list[str]:
    """Return the targets of the links and pictures of a Markdown text, each once, as they are written."""
    parser = MarkdownIt("commonmark")
    # Links that must not be followed are to be reported, not passed over.
    parser.validateLink = _any_link  # type: ignore[method-assign]
    parser.normalizeLink = _as_written  # type: ignore[method-assign]
    return list(dict.fromkeys(_targets(parser.parse(body))))


def judge_links(
    body: str, *, file: str | None, told: Collection[str], files: Mapping[str, str]
) -> list[tuple[str, str]]:
    """Return what is wrong with the links of an article: a kind and what to do.

    Parameters
    ----------
    file : str or None
        The article's own file in the folder; None where it is not known.
    told : collection of str
        The ids of the articles that customers may be told.
    files : mapping of str to str
        The ids of the articles by their files.
    """
    found: list[tuple[str, str]] = []
    hosts: set[str] = set()
    for target in links(body):
        shown = repr(target[:200])
        try:
            split = urlsplit(target)
            wrong = _malformed(split)
        except ValueError:
            wrong, split = "is no address", SplitResult("", "", "", "", "")
        if wrong is not None:
            found.append(("malformed_link", f"the link {shown} {wrong}"))
        elif split.scheme in ("http", "https"):
            hosts.add(split.hostname or "")
        elif not split.scheme and split.path and (dead := _dead(split.path, file, told, files)) is not None:
            found.append(("dead_link", f"the link {shown} {dead}"))
    if hosts:
        listed = ", ".join(sorted(hosts))
        found.append(("unchecked_link", f"leads to {listed}, which is not looked up; open it now and then"))
    return found


def _any_link(url: str) -> bool:
    return True


def _as_written(url: str) -> str:
    return url


def _targets(tokens: list[Token]) -> Iterator[str]:
    for token in tokens:
        if token.type == "link_open":
            yield str(token.attrs.get("href", ""))
        elif token.type == "image":
            yield str(token.attrs.get("src", ""))
        elif token.type == "text":
            yield from (bare.rstrip(".,;:!?)]}'\"") for bare in _BARE.findall(token.content))
        yield from _targets(token.children or [])


def _malformed(split: SplitResult) -> str | None:
    """Say what is wrong with an address by itself; None where nothing is."""
    if split.scheme in ("http", "https"):
        _ = split.port  # raises ValueError where it is no number
        if split.username is not None:
            return "holds a user name; take it out"
        return None if _is_host(split.hostname or "") else "names no full host; write such as https://shop.example/page"
    if split.scheme == "mailto":
        found = _MAIL.fullmatch(unquote(split.path))
        return (
            None if found and _is_host(found.group(1)) else "is no mail address; write such as mailto:care@shop.example"
        )
    if split.scheme == "tel":
        digits = sum(character.isdigit() for character in split.path)
        return None if digits >= 3 else "is no telephone number; write such as tel:+49301234567"
    if split.scheme:
        return "is of a kind that customers cannot open; write https://, mailto: or tel:"
    return "says neither http nor https; write https:" if split.netloc else None


def _is_host(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        labels = host.removesuffix(".").split(".")
        return len(host) <= 253 and len(labels) >= 2 and all(_LABEL.fullmatch(label) for label in labels)
    return True


def _dead(path: str, file: str | None, told: Collection[str], files: Mapping[str, str]) -> str | None:
    """Say why a relative link leads to no article; None where it leads to one."""
    path = unquote(path)
    stem = posixpath.basename(path).removesuffix(".md")
    if file is not None and path.endswith(".md"):
        identifier = files.get(posixpath.normpath(posixpath.join(posixpath.dirname(file), path)))
    else:
        identifier = stem if stem in told or stem in files.values() else None
    if identifier is None:
        if stem in told:
            return f"leads to no file; the article {stem} lies elsewhere, so mend the path"
        return "leads to no article; name one of `aftercare kb list`, or write https:// where it is a web address"
    if identifier not in told:
        return f"leads to the article {identifier}, which customers are not told now; take it out or name another"
    return None
