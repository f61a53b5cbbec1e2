"""The catalogue: every message renders everywhere, no template can do harm, customer text stays data."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from messages import render
from messages.catalogue import CHANNELS, LOCALES, SHIPPED, Catalogue
from messages.errors import TemplateError

CATALOGUE = Catalogue.load()
FULL = {
    "line": "Anna",
    "text": "First line.\n\nSecond line.",
    "url": "https://shop.example/help?a=1&b=2",
}
PLAYBOOKS = Path(__file__).parents[2] / "bot" / "playbooks"


def values_of(name: str, *, optional: bool) -> dict[str, str]:
    meta = CATALOGUE.meta(name)
    return {value: FULL[kind] for value, kind in meta.values.items() if optional or value not in meta.optional}


@pytest.mark.parametrize("optional", [True, False])
@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize("name", CATALOGUE.names)
def test_every_message_renders_on_every_channel_and_in_every_language(
    name: str, channel: str, locale: str, optional: bool
) -> None:
    draft = CATALOGUE.render_draft(name, locale, channel, values_of(name, optional=optional))
    assert draft.text.strip()
    assert "None" not in draft.text + draft.subject
    assert bool(draft.subject) == (channel == "email")
    html = CATALOGUE.render_email_html(locale=locale, shop_name="S", subject=draft.subject, text=draft.text)
    assert "<html" in html


@pytest.mark.parametrize("name", CATALOGUE.names)
@pytest.mark.parametrize("locale", LOCALES[1:])
def test_every_message_is_written_in_every_language(name: str, locale: str) -> None:
    assert (SHIPPED / name / f"slack.{locale}.md").is_file()
    assert (SHIPPED / name / f"subject.{locale}.txt").is_file()


def test_every_playbooks_template_exists() -> None:
    files = sorted(PLAYBOOKS.glob("*.yaml"))
    assert files
    for file in files:
        for step in yaml.safe_load(file.read_text())["steps"]:
            assert CATALOGUE.meta(step["template"]).proactive, f"{file.name}: {step['template']}"


@pytest.mark.parametrize("name", [name for name in CATALOGUE.names if CATALOGUE.meta(name).proactive])
@pytest.mark.parametrize("locale", LOCALES)
def test_a_check_in_asks_exactly_one_question_and_sells_nothing(name: str, locale: str) -> None:
    text = CATALOGUE.render_draft(name, locale, "slack", values_of(name, optional=True)).text
    assert text.replace(FULL["url"], "").count("?") == 1
    assert "!" not in text
    assert not re.search(r"(?i)discount|offer|rabatt|angebot|sale\b", text)


@pytest.mark.parametrize(
    "attack",
    [
        "{{ 'a' * 10**9 }}",
        "{{ 'a' * 9 }}",
        "{{ 10 ** 10 }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ shop_name.__class__ }}",
        "{{ shop_name['__class__'] }}",
        "{{ shop_name.upper() }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ range(999999999) }}",
        "{% for i in shop_name %}{{ i }}{% endfor %}",
        "{% set x = 1 %}",
        "{% macro m() %}{% endmacro %}",
        "{% include '/etc/passwd' %}",
        "{% import 'x' as y %}",
        "{{ shop_name|center(1000000000) }}",
        "{{ shop_name|attr('__class__') }}",
        "{{ shop_name|replace('', 'aaaaaaaaaa') }}",
        "{{ self }}{{ self.x }}",
        "{{ 1 + 1 }}",
        "{{ 'a' ~ 'b' }}",
        "{{ [1] }}",
        "{% if",
    ],
)
def test_a_template_that_could_do_harm_is_refused(attack: str, tmp_path: Path) -> None:
    folder = tmp_path / "answer"
    folder.mkdir()
    (folder / "slack.md").write_text(attack)
    with pytest.raises(TemplateError) as refused:
        Catalogue.load(tmp_path)
    assert "slack.md" in str(refused.value)


def test_the_sandbox_itself_refuses_repetition_and_attributes() -> None:
    sandbox = render.environment()
    for source in ("{{ 'a' * x }}", "{{ x.__class__ }}"):
        with pytest.raises(Exception, match=r"not allowed|unsafe"):
            sandbox.from_string(source).render(x=3)


def test_an_endless_message_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render, "MAX_OUTPUT_CHARACTERS", 100)
    with pytest.raises(TemplateError, match="longer than"):
        CATALOGUE.render_draft("answer", "en", "slack", {"shop_name": "S", "quote": "x" * 200, "article_title": "T"})


def test_a_missing_value_is_named() -> None:
    with pytest.raises(TemplateError, match="article_title"):
        CATALOGUE.render_draft("answer", "en", "slack", {"shop_name": "S", "quote": "q"})


def test_a_value_that_meta_does_not_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "answer").mkdir()
    (tmp_path / "answer" / "slack.md").write_text("{{ secret }}")
    with pytest.raises(TemplateError, match="secret"):
        Catalogue.load(tmp_path)


def test_a_shops_own_words_go_before_the_shipped_ones(tmp_path: Path) -> None:
    (tmp_path / "smalltalk").mkdir()
    (tmp_path / "smalltalk" / "slack.md").write_text("Ahoy from {{ shop_name }}.")
    own = Catalogue.load(tmp_path)
    assert own.render_draft("smalltalk", "en", "slack", {"shop_name": "S"}).text == "Ahoy from S."
    assert own.render_draft("smalltalk", "de", "slack", {"shop_name": "S"}).text.startswith("Danke")


def test_an_unknown_language_falls_back_to_its_family_then_to_english() -> None:
    assert CATALOGUE.render_draft("smalltalk", "de-AT", "slack", {"shop_name": "S"}).text.startswith("Danke")
    assert CATALOGUE.render_draft("smalltalk", "fi", "slack", {"shop_name": "S"}).text.startswith("Thank")


@given(st.text())
def test_customer_text_is_never_a_template_and_stays_one_harmless_line(text: str) -> None:
    values = {"shop_name": "S", "first_name": text + "{{ 7*7 }}<!channel>[x](http://e.vil)\nBcc: x"}
    draft = CATALOGUE.render_draft("how_to_start", "en", "email", values)
    greeting = draft.text.split("\n\n")[0]
    assert "\n" not in draft.subject
    assert not set("<>[]`") & set(greeting)


@given(st.text())
def test_an_edited_draft_can_never_put_markup_into_a_mail(text: str) -> None:
    html = CATALOGUE.render_email_html(locale="en", shop_name=text, subject=text, text=text)
    plain = CATALOGUE.render_email_html(locale="en", shop_name="S", subject="s", text="x")
    for tag in ("<script", "<img", "<iframe", "<style", "javascript:", "<svg"):
        assert html.lower().count(tag) == plain.lower().count(tag)


def test_html_and_unsafe_links_in_a_draft_are_shown_as_words() -> None:
    text = "<script>alert(1)</script> <img src=x onerror=y> [go](javascript:alert(1)) [ok](https://a.example/?x=1&y=2)"
    html = CATALOGUE.render_email_html(locale="en", shop_name="S", subject="s", text=text)
    assert "<script" not in html
    assert "<img" not in html
    assert 'href="javascript' not in html
    assert 'href="https://a.example/?x=1&amp;y=2"' in html


def test_a_mail_says_why_it_came_and_how_to_end_it() -> None:
    url = "https://care.example/u/TOKEN?a=1&b=2"
    html = CATALOGUE.render_email_html(
        locale="en", shop_name="K & S", subject="s", text="Hello", unsubscribe_url=url, shop_url="https://shop.example"
    )
    assert 'href="https://care.example/u/TOKEN?a=1&amp;b=2"' in html
    assert "Unsubscribe" in html
    assert "K &amp; S" in html
    assert "ordered from" in html
    plain = CATALOGUE.render_email_text(locale="en", shop_name="K & S", text="Hello", unsubscribe_url=url)
    assert url in plain
    assert "K & S" in plain


def test_a_mail_loads_nothing_from_the_network() -> None:
    html = CATALOGUE.render_email_html(locale="de", shop_name="S", subject="s", text="Hallo")
    assert not re.search(r"@import|<link|src=|url\(", html)


def test_the_frame_is_well_formed() -> None:
    source = (SHIPPED / "_frame" / "email.mjml").read_text()
    ElementTree.fromstring(re.sub(r"\{%.*?%\}|\{\{.*?\}\}", "", source))


@pytest.mark.parametrize(
    "source",
    [
        "{{ quote" + "|e" * 300 + " }}",
        "{{ quote" + "|upper" * 10_000 + " }}",
        "{% if quote %}" * 150 + "x" + "{% endif %}" * 150,
        "{% if quote %}" * 2_000 + "x" + "{% endif %}" * 2_000,
        "{{ " + "not " * 12_000 + "quote }}",
        "{{ " + "(" * 12_000 + "quote" + ")" * 12_000 + " }}",
        "{{ " + "9" * 60_000 + " }}",
    ],
    ids=["escapes", "filters", "deep conditions", "deeper conditions", "nots", "brackets", "a number"],
)
def test_a_template_that_is_too_deep_is_refused_by_name(source: str, tmp_path: Path) -> None:
    (tmp_path / "answer").mkdir()
    (tmp_path / "answer" / "slack.md").write_text(source)
    with pytest.raises(TemplateError, match=r"slack\.md"):
        Catalogue.load(tmp_path)
