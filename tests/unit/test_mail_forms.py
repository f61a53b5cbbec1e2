"""A mail's frame is read once and filled in, and every mail is exactly what MJML would have made of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from messages import mail, render
from messages.catalogue import Catalogue
from tests.unit.test_words_to_html import PIECES

CATALOGUE = Catalogue.load()
FRAME = CATALOGUE._templates["_frame", "email.mjml"]
MARKED = st.sampled_from(["**a** *b*", "`x` `y`", "`a > < b`", "*a*  \n*b*", "&nbsp;", "- *a* *b*\n- c", "<https://a.example/?a=1&b=2>", "\ue000body\ue000", "1. `  `", "**a**&nbsp;**b**", "{{ body }}", "]]>", "<!-- x -->"])  # fmt: skip
WORDS = st.lists(st.lists(PIECES | MARKED, max_size=4).map("\n".join), max_size=6).map("\n\n".join) | st.text(
    max_size=80
)


def content(text: str, subject: str, url: str | None, proactive: bool, locale: str = "en") -> mail.MailContent:
    return mail.MailContent(
        locale=locale, shop_name="Tea & Mugs", subject=subject, text=text, unsubscribe_url=url,
        shop_url="https://shop.example", proactive=proactive,
    )  # fmt: skip


@given(
    WORDS,
    st.text(max_size=30) | st.just("Your parcel & <you>"),
    st.sampled_from([None, "https://a.example/u/x?a=1&b='"]),
    st.booleans(),
)
@example("**a** *b*", "x", None, True)
@example("", "", None, False)
@example("- `  `", "{{ body }}", None, False)
def test_a_form_that_is_filled_in_is_what_mjml_makes_of_the_mail(
    text: str, subject: str, url: str | None, proactive: bool
) -> None:
    words = CATALOGUE._frame_words("en")
    proof = content("Hello", "Hello", url and "https://a.example/", proactive)
    for _ in range(2):  # proved by another mail
        mail.to_html(FRAME, words, proof, fillable=True)
    given_mail = content(text, subject, url, proactive)
    assert mail.to_html(FRAME, words, given_mail, fillable=True) == mail.to_html(FRAME, words, given_mail)


@given(
    st.lists(
        st.sampled_from(
            ["word ", "*", "#_", "[a](", "[a](https://a.example/)", ")", " \n", "x" * 90, "y" * 300, "<b>", "ü"]
        ),
        max_size=60,
    ).map("".join)
)
@example("x" * 100 + "[a](https://a.example/" + "y" * 400 + ") and so on")
@example("* " * 400 + "the words come late, but they come, and they are long enough to be cut " * 2)
def test_a_preview_is_the_beginning_of_the_words_without_marks(text: str) -> None:
    flat = " ".join(render.line_value(re.sub(r"[*_#]|\]\([^)]*\)", "", text[:1000])).split())
    assert mail._preview(text) == (flat if len(flat) <= 110 else flat[:110].rsplit(" ", 1)[0] + "…")


def test_the_shipped_frame_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert FRAME in CATALOGUE._fillable
    words = CATALOGUE._frame_words("de")
    read: list[object] = []
    real = mail._from_mjml

    def counted(frame: Any, values: Any) -> str:
        read.append(values)
        return real(frame, values)

    monkeypatch.setattr(mail, "_from_mjml", counted)
    for number in range(5):
        given_mail = content(
            f"Hallo {number}\n\n- *x* y", f"Ihr Päckchen {number}", "https://a.example/", True, "de-XX"
        )
        mail.to_html(FRAME, words, given_mail, fillable=True)
    assert len(read) == 2  # for the form, and to prove it


@pytest.mark.parametrize(
    ("source", "only"),
    [
        ("{{ subject }}{% if subject and not preview %}{{ body }}{% endif %}", True),
        ("{{ shop_name|upper }}{{ subject }}", True),
        ("{{ subject|upper }}", False),
        ("{% if subject == 'x' %}y{% endif %}", False),
        ("{{ 'a' if subject else 'b' }}", False),
        ("{{ subject or 'b' }}", False),
    ],
)
def test_a_frame_that_does_more_with_a_value_than_show_it_is_no_form(source: str, only: bool) -> None:
    sandbox = render.environment()
    render.check_source(sandbox, source, "email.mjml")
    assert render.only_shown(sandbox, source, mail.OWN_VALUES) is only


def test_a_frame_in_which_filling_in_would_show_is_rendered_each_time(tmp_path: Path) -> None:
    frame = tmp_path / "_frame" / "email.mjml"
    frame.parent.mkdir()
    source = "<mjml><mj-body><mj-section><mj-column><mj-text>Hello {{ body }} <b>x</b></mj-text></mj-column></mj-section></mj-body></mjml>"
    frame.write_text(source, encoding="utf-8")
    catalogue = Catalogue.load(tmp_path)
    made = [
        catalogue.render_email_html(locale="en", shop_name="Shop", subject="x", text=text)
        for text in ("one", "two", "*three* *four*")
    ]
    template = catalogue._templates["_frame", "email.mjml"]
    words = catalogue._frame_words("en")
    for text, html in zip(("one", "two", "*three* *four*"), made, strict=True):
        plain = mail.MailContent(
            locale="en", shop_name="Shop", subject="x", text=text, unsubscribe_url=None, shop_url=None, proactive=True
        )
        assert html == mail.to_html(template, words, plain)
