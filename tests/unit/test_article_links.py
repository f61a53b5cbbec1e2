"""Where the links of articles lead."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.services.knowledge.links import judge_links, links

FILES = {"care/filter.md": "clean-filter", "care/pan.md": "season-pan", "returns.md": "returns", "old.md": "old"}
TOLD = {"clean-filter", "season-pan", "returns"}


def kinds(body: str, file: str | None = "care/filter.md") -> list[str]:
    return [kind for kind, _ in judge_links(body, file=file, told=TOLD, files=FILES)]


def test_links_pictures_references_and_bare_addresses_are_found_but_not_code() -> None:
    body = (
        "[a](x.md) ![b](y.png) <https://a.example> [c][d], see https://b.example/x. `[e](no.md)`\n\n"
        "    [f](no.md)\n\n[d]: z.md\n"
    )
    assert links(body) == ["x.md", "y.png", "https://a.example", "z.md", "https://b.example/x"]


@pytest.mark.parametrize(
    "target",
    [
        "pan.md",
        "../returns.md",
        "pan.md#oil",
        "#oil",
        "returns",
        "/returns",
        "mailto:care@shop.example",
        "tel:+49301234567",
    ],
)
def test_what_leads_somewhere_is_left_alone(target: str) -> None:
    assert kinds(f"See [this]({target}).") == []


@pytest.mark.parametrize(
    ("target", "advice"),
    [
        ("nowhere.md", "kb list"),
        ("returns.md", "mend the path"),
        ("../old.md", "not told now"),
        ("www.shop.example", "https://"),
    ],
)
def test_a_relative_link_to_no_article_is_dead(target: str, advice: str) -> None:
    found = judge_links(f"[x]({target})", file="care/filter.md", told=TOLD, files=FILES)
    assert [kind for kind, _ in found] == ["dead_link"]
    assert advice in found[0][1]


@pytest.mark.parametrize(
    "target",
    [
        "https://", "https:/shop.example", "http://shop", "https://shop..example", "https://shop.example:x/",
        "https://[::1", "https://me@shop.example", "//shop.example/x", "javascript:alert(1)", "ftp://shop.example",
        "mailto:care", "mailto:a@b", "tel:none",
    ],
)  # fmt: skip
def test_an_address_that_is_none_is_named(target: str) -> None:
    assert kinds(f"[x](<{target}>)") == ["malformed_link"]


def test_other_hosts_are_noted_once_and_not_looked_up() -> None:
    found = judge_links(
        "https://b.example/x [y](https://a.example) https://b.example/z", file=None, told=TOLD, files={}
    )
    assert found == [("unchecked_link", "leads to a.example, b.example, which is not looked up; open it now and then")]


def test_where_the_folder_is_not_known_the_file_may_be_named_after_the_id() -> None:
    assert kinds("[x](any/returns.md) [y](any/other.md)", file=None) == ["dead_link"]


@given(st.text(max_size=200))
def test_whatever_a_link_says_it_is_judged(target: str) -> None:
    judge_links(f"[x](<{target}>) {target} https:{target}", file="a.md", told=TOLD, files=FILES)
