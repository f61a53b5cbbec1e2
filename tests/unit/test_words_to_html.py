"""Plain paragraphs are written without Markdown's help, and exactly as it would write them."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from messages import mail, render

PIECES = st.sampled_from(
    ["Hello Ana,", "your parcel is late.", "*soon*", "- one", "+ two", "1. first", "  indented", "    code", "a_b_c", "<b>",
     "https://shop.example/x", "[page](https://shop.example)", "&amp;", "Grüße", "", " ", "\n", "`x`", "trailing ", "\ttab", "# no",
     "> quoted", "---", "===", "a  b", "日本", "\u00a0x", "'quotes'", "12) twelve", "mailto:a@b.example", "!", "x\\"]
)  # fmt: skip


@given(st.lists(st.lists(PIECES, max_size=4).map("\n".join), max_size=8).map("\n\n".join))
@example("- one\n\nplain\n\n- two")
@example("- one\n\n- two\n\nplain")
@example("1. one\n\n   within\n\nplain")
@example("plain\n \nplain\n\n\n\nplain")
@example('say "yes"')
def test_plain_paragraphs_read_as_markdown_writes_them(text: str) -> None:
    assert mail.words_to_html(text) == mail._MARKDOWN.render(render.text_value(text))


@given(st.text(max_size=200))
def test_any_words_read_as_markdown_writes_them(text: str) -> None:
    assert mail.words_to_html(text) == mail._MARKDOWN.render(render.text_value(text))
