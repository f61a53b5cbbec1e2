"""HTML mails as text: structure, what programs mark as quotation, hostile HTML."""

from __future__ import annotations

import html as entities

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from messages.html_text import MAX_HTML_CHARACTERS, html_to_text
from messages.quoting import SEPARATOR
from messages.replies import own_words
from tests.unit.test_replies import steps

LINK = "https://shop.example/o?token=k7m2qd4x&x=1"


def test_paragraphs_breaks_and_lists_become_lines():
    html = "<p>Hello&nbsp;Anna,</p><p>one<br>two <b>bold</b></p><ul><li>a</li><li>b</li></ul><ol><li>c<li>d</ol>end"
    assert html_to_text(html) == "Hello Anna,\n\none\ntwo bold\n\n- a\n- b\n1. c\n2. d\nend\n"


def test_divisions_are_lines_and_an_empty_one_is_an_empty_line():
    assert html_to_text("<div>a</div><div><br></div><div>b</div><div>&nbsp;</div><div>c</div>") == "a\n\nb\n\nc\n"


def test_spaces_collapse_but_not_in_preformatted_text():
    assert html_to_text("<div> a \n  b </div><pre>c\n  d\n</pre>") == "a b\nc\n  d\n"


def test_cells_of_a_row_stay_apart():
    assert html_to_text("<table><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></table>") == "a b\nc\n"


def test_a_link_keeps_its_target_unless_its_words_name_it():
    assert html_to_text(f'<a href="{LINK.replace("&", "&amp;")}">Unsubscribe</a>') == f"Unsubscribe <{LINK}>\n"
    assert html_to_text('<a href="https://shop.example">https://shop.example</a>') == "https://shop.example\n"
    assert html_to_text('<a href="mailto:a@b.example?subject=x">a@b.example</a>') == "a@b.example\n"
    assert html_to_text('<a href="javascript:alert(1)">x</a><a href="#y">y</a>') == "xy\n"


def test_head_styles_scripts_comments_and_hidden_parts_are_dropped():
    html = (
        "<html><head><title>t</title><style>p { }</style></head><body>a<!-- b --><script>c('<p>')</script>"
        "<style>d</style><div style='display: none'>preview<div>e</div></div><!--[if mso]><p>f</p><![endif]-->g</body>"
    )
    assert html_to_text(html) == "a\ng\n"


def test_an_unclosed_head_ends_at_the_body():
    assert html_to_text("<html><head><meta charset=utf-8><body>words</body>") == "words\n"


def test_entities_are_read_and_senseless_ones_harm_nobody():
    assert html_to_text("&lt;3 &auml; &#8364; &#x20ac; &amp;amp; &nosuch; AT&T &#0; " + "&#" + "9" * 5000).startswith(
        "<3 ä € € &amp; &nosuch; AT&T "
    )


def test_smaller_than_signs_of_the_customer_are_kept():
    assert html_to_text("I <3 it, 2 < 3 and 3 <4") == "I <3 it, 2 < 3 and 3 <4\n"


def test_quotations_get_their_marks_and_depth():
    html = "a<blockquote type='cite'>b<p>c</p><blockquote>d</blockquote></blockquote>e"
    assert html_to_text(html).split("\n") == ["a", "> b", "> ", "> c", "> > ", "> > d", "e", ""]


@pytest.mark.parametrize(
    "html",
    [
        "<div class=gmail_quote><div class=gmail_attr>pe 5.1.2026 10.12 Shop &lt;a@b.example&gt; kirjoitti:<br></div>quoted",
        '<div id="appendonsend"></div><hr><div id="divRplyFwdMsg"><b>Lähettäjä:</b> Shop</div><div>quoted</div>',
        '<div id="mail-editor-reference-message-container"><p>quoted</p></div>',
        '<div id="x_divRplyFwdMsg">Shop</div>quoted',
        '<div style="border:none; border-top:solid #E1E1E1 1.0pt; padding:3.0pt 0cm 0cm 0cm">Shop</div><p>quoted</p>',
        '<div id="ydp77yahoo_quoted_1" class="ydp77yahoo_quoted">quoted<div>quoted</div>quoted</div>',
        '<div name="quote" style="margin:10px"><div>quoted</div></div>',
        '<div class="protonmail_quote">quoted<blockquote>quoted</blockquote></div>',
        '<div class="moz-cite-prefix">Am 05.01.26 um 10:12 schrieb Shop:</div><blockquote type=cite>quoted</blockquote>',
        '<hr id="zwchr" data-marker="__DIVIDER__"><div>quoted</div>',
    ],
)
def test_what_programs_mark_as_quotation_is_no_own_word(html: str):
    found = own_words(html_to_text(f"<html><body><div>My words.</div>{html}</body></html>"))
    assert found.text == "My words."


def test_own_words_between_and_below_gmails_quotations_are_kept():
    html = (
        '<div class="gmail_quote"><blockquote class="gmail_quote">q</blockquote><div>one</div>'
        '<blockquote class="gmail_quote">q</blockquote></div><div>two</div>'
    )
    assert own_words(html_to_text(html)).text == "one\n\ntwo"


def test_an_own_indented_paragraph_is_no_quotation():
    html = '<blockquote style="margin:0 0 0 40px;border:none;padding:0px"><div>mine</div></blockquote>'
    assert html_to_text(html) == "mine\n"


def test_outlooks_container_around_the_whole_mail_hides_nothing():
    assert own_words(html_to_text('<div id="mail-editor-reference-message-container"><p>mine</p></div>')).text == "mine"


def test_signatures_that_a_program_marks_are_dropped():
    for mark in ('class="gmail_signature"', 'class="moz-signature"', 'class="protonmail_signature_block"'):
        assert html_to_text(f"<div>mine</div><div {mark}>Anna<div>Ltd.</div></div>") == "mine\n"


def test_a_signature_mark_keeps_its_space_and_a_drawn_line_gets_none():
    assert html_to_text("a<br>-- <br>b") == "a\n-- \nb\n"
    assert html_to_text("<div>a</div><div>--&nbsp;</div><div>b</div>") == "a\n-- \nb\n"
    assert html_to_text("a<br>--<br>b") == "a\n--\nb\n"


def test_the_opt_out_link_of_our_own_mail_is_a_marker_although_only_its_words_are_shown():
    html = f'<p>mine</p><p>Unknown header</p><p><a href="{LINK}">Unsubscribe from check-ins</a></p><p>foot</p>'
    assert own_words(html_to_text(html), markers=[LINK]).text == "mine\n\nUnknown header"


def test_html_and_text_are_capped():
    assert html_to_text("<p>a</p>" + "<!-- -->" * MAX_HTML_CHARACTERS + "<p>b</p>") == "a\n"
    assert len(html_to_text("word " * 100_000)) <= MAX_HTML_CHARACTERS + 1
    assert own_words(html_to_text("<p>word " * 50_000)).truncated


@pytest.mark.parametrize("end", ["<a href='", '<a b="x', "<!-- ", "<style>", "<script>", "<div ", "</", "<", "<!"])
def test_html_that_never_ends_does_not_take_the_words_before_it(end: str):
    assert html_to_text(f"<p>mine</p>{end}").startswith("mine\n")


UNITS = [
    "<a ",
    '<a b="',
    "<a b='\" c=\"'",
    "<",
    "<!--",
    "<!---->",
    "&",
    "<div>",
    "</div>",
    "<div><td></div></td>",
    "<br>",
]
UNITS += [
    "<div><ul>x</div>",
    "<blockquote>x",
    "<a href=https://a.example/>x</a>",
    "<ol><li>",
    "<div id=appendonsend></div>",
]
UNITS += ["<style></style", "<p>&nbsp;", "<pre>\n\n", "<div style='display:none'>x"]


@pytest.mark.parametrize("unit", UNITS)
def test_twice_the_html_takes_at_most_twice_the_work(unit: str):
    once, twice = steps(html_to_text, unit * 500), steps(html_to_text, unit * 1000)
    assert twice <= 2.1 * once + 100


PIECES = st.sampled_from([*UNITS, "words", " ", "\xa0", "</a>", "</blockquote>", "</pre>", "<body>", "</head>", "&#1;"])
PAGES = st.lists(PIECES | st.text(max_size=12), max_size=30).map("".join)


@given(PAGES | st.text())
@settings(max_examples=300, deadline=None)
def test_it_never_raises_and_invents_no_characters(html: str):
    text = html_to_text(html)
    assert set(text) <= set(entities.unescape(html)) | set(SEPARATOR + "0123456789. <>\n")
    own_words(text)


@given(st.lists(st.text(alphabet="abcXYZ .,!?äß", min_size=1), min_size=1, max_size=8))
def test_plain_paragraphs_come_back_word_by_word(paragraphs: list[str]):
    html = "".join(f"<p>{paragraph}</p>" for paragraph in paragraphs)
    assert html_to_text(html).split() == " ".join(paragraphs).split()
    assert SEPARATOR not in html_to_text(html)
