"""Words for Slack: escaped, cut visibly, and Markdown turned into mrkdwn without ever making a mention."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.channels.slack.text import SECTION_LIMIT, cut, escape, one_line, pieces, quoted, to_mrkdwn, width

HOSTS = ("shop.example",)
LIVE = re.compile(r"<[!@#]")
nasty = st.lists(
    st.sampled_from(
        ["<!channel>", "<!here|x>", "<@U0MARIA>", "<#C1|general>", "<http://evil.example|your bank>", "&lt;!channel&gt;",
         "[bank](http://evil.example)", "[x](<!channel>)", "![i](http://a.example/<@U1>)", "**", "_", "`", "```", "\n", "\n\n",
         "> ", "- ", "1. ", "# ", "שלום", "مرحبا", "\u202e", "👩‍👩‍👧", "😀", "&", "<", ">", "\\", "\x00", "https://shop.example/a?b=1&c=<@U1>", "word "]
    )
    | st.text(max_size=20),
    max_size=60,
).map("".join)  # fmt: skip


@pytest.mark.parametrize(
    ("markdown", "expected"),
    [
        ("Hello **Maria**, it is _late_.", "Hello *Maria*, it is _late_."),
        ("One\ntwo\n\nthree", "One\ntwo\n\nthree"),
        ("- a\n- b", "• a\n• b"),
        ("1. a\n2. b", "1. a\n2. b"),
        ("Steps:\n\n3. a\n4. b\n\nDone", "Steps:\n\n3. a\n4. b\n\nDone"),
        ("# Title\ntext", "*Title*\n\ntext"),
        ("> said\n\nanswer", "> said\n\nanswer"),
        ("`a < b` & c", "`a &lt; b` &amp; c"),
        ("<b>bold</b>", "&lt;b&gt;bold&lt;/b&gt;"),
        ("<!channel> <@U1>", "&lt;!channel&gt; &lt;@U1&gt;"),
        ("[returns](https://shop.example/r)", "<https://shop.example/r|returns>"),
        ("[help](https://www.shop.example/r)", "<https://www.shop.example/r|help>"),
        ("See https://shop.example/r.", "See <https://shop.example/r>."),
        ("[your bank](http://evil.example)", "your bank (http://evil.example)"),
        ("[x](http://shop.example@evil.example/)", "x (http://shop.example@evil.example/)"),
        ("[x](http://notshop.example/)", "x (http://notshop.example/)"),
    ],
)
def test_markdown_becomes_mrkdwn(markdown: str, expected: str) -> None:
    assert to_mrkdwn(markdown, HOSTS) == expected


@given(nasty)
def test_no_text_becomes_a_mention_or_a_foreign_link(text: str) -> None:
    written = to_mrkdwn(text, HOSTS)
    assert not LIVE.search(written)
    for link in re.findall(r"<([^<>]*)>", written):
        assert re.match(r"https?://([a-z0-9-]+\.)*shop\.example([/?#|:]|$)", link, re.IGNORECASE), link
    assert not LIVE.search(escape(text))


@given(nasty, st.integers(40, 300))
def test_pieces_keep_every_word_and_respect_the_limit(text: str, limit: int) -> None:
    found = pieces(escape(text), limit)
    assert all(0 < width(piece) <= limit for piece in found)
    assert "".join("".join(found).split()) == "".join(escape(text).split())


@given(nasty, st.integers(2, 200))
def test_a_cut_is_visible_and_leaves_no_torn_entity(text: str, limit: int) -> None:
    escaped = escape(text)
    shown = cut(escaped, limit)
    assert width(shown) <= limit
    assert shown == escaped or shown.endswith("…")
    assert re.sub(r"&(amp|lt|gt);", "", shown).count("&") == 0


@given(nasty)
def test_every_quoted_piece_is_a_quotation_within_the_limit(text: str) -> None:
    found = quoted(to_mrkdwn(text * 5, HOSTS))
    assert len(found) <= 3
    assert all(piece.startswith(">") and width(piece) <= SECTION_LIMIT for piece in found)


def test_a_long_draft_says_how_much_is_left_out() -> None:
    found = quoted("word " * 2000)
    assert len(found) == 3
    assert re.search(r"cut here, about 1\d\d\d characters more", found[-1])


def test_direction_overrides_and_control_characters_are_dropped() -> None:
    assert escape("pay\u202eelgoog\u202c\x00!") == "payelgoog!"
    assert one_line("  a\n\tb  ") == "a b"


def test_forty_kilobytes_of_brackets_are_read_quickly() -> None:
    assert to_mrkdwn("[" * 40_000, HOSTS).count("[") == 40_000
