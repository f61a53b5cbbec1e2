"""The sender's own new words: a corpus of replies as programs write them, the rules one by one, what always holds."""

from __future__ import annotations

import email
import sys
import textwrap
from email import policy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from messages.html_text import html_to_text
from messages.replies import CAP_OCTETS, MAX_LINES, own_words

CORPUS = Path(__file__).parents[1] / "data" / "replies"
TOKEN = "k7m2qd4xw9tz5v3nh6r8"
LINK = f"https://hilfe.kaffeehaus-nord.example/o/{TOKEN}"
ADDRESS = f"hilfe+{TOKEN}@kaffeehaus-nord.example"
HEADER = f"On Mon, Jan 5, 2026 at 10:12 AM Kaffeehaus Nord <{ADDRESS}> wrote:"


def shapes(folder: str) -> dict[str, dict[str, Any]]:
    tree: dict[str, dict[str, Any]] = yaml.safe_load((CORPUS / folder / "expected.yaml").read_text(encoding="utf-8"))
    return tree


def text_of(file: Path) -> str:
    """Return what the email channel would hand to the scanner: the text part, else the HTML part as text."""
    message = email.message_from_bytes(file.read_bytes(), policy=policy.default)
    body = message.get_body(("plain", "html"))
    assert body is not None
    content: str = body.get_content()
    return html_to_text(content) if body.get_content_subtype() == "html" else content


def wrong_shapes(folder: str, markers: tuple[str, ...]) -> list[str]:
    wrong = []
    for name, wanted in shapes(folder).items():
        found = own_words(text_of(CORPUS / folder / f"{name}.eml"), markers=markers)
        if found.text.strip() != wanted["text"].strip():
            wrong.append(name)
    return wrong


def test_the_corpus_is_large_and_each_file_has_its_expected_words():
    for folder, least in (("main", 60), ("held_out", 20), ("held_out_later", 20), ("held_out_third", 20)):
        files = {file.stem for file in (CORPUS / folder).glob("*.eml")}
        assert files == set(shapes(folder))
        assert len(files) >= least


@pytest.mark.parametrize("markers", [(TOKEN, LINK), ()], ids=["with our markers", "without"])
@pytest.mark.parametrize(
    ("folder", "may_fail"), [("main", 3), ("held_out", 1), ("held_out_later", 1), ("held_out_third", 1)]
)
def test_the_own_words_of_the_corpus_are_exact(folder: str, may_fail: int, markers: tuple[str, ...]):
    wrong = wrong_shapes(folder, markers)
    assert len(wrong) <= may_fail, f"wrong: {', '.join(wrong)}"


@pytest.mark.parametrize("folder", ["main", "held_out", "held_out_later", "held_out_third"])
def test_language_and_first_line_of_the_corpus_are_exact_where_they_are_given(folder: str):
    wrong = []
    for name, wanted in shapes(folder).items():
        found = own_words(text_of(CORPUS / folder / f"{name}.eml"), markers=(TOKEN, LINK))
        for what, value in (("language", found.language), ("first_line", found.first_line)):
            if what in wanted and wanted[what] != value:
                wrong.append(f"{name}: {what} {value!r}")
    assert not wrong


# -- Markers ------------------------------------------------------------------------------------------------------


def test_unquoted_text_with_an_unknown_header_ends_at_our_marker():
    text = f"Nie wieder.\n\nKaffeehaus Nord {ADDRESS} xyz 5\n\nHello Anna\n"
    assert own_words(text, markers=[TOKEN]).text == "Nie wieder."
    assert "Hello Anna" in own_words(text).text


def test_markers_are_found_whatever_their_case_is():
    assert own_words(f"No.\n{LINK.upper()}\nfoot", markers=[LINK]).text == "No."


def test_a_doubtful_header_counts_when_our_marker_stands_below_it():
    text = f"No.\n\nOn 5/1/26 10:12, Kaffeehaus Nord wrote:\nHello Anna,\n\nUnsubscribe: {LINK}\n"
    assert own_words(text, markers=[LINK]).text == "No."
    assert own_words(text).text.startswith("No.\n\nOn 5/1/26")


def test_a_marker_within_quoted_lines_does_not_end_the_mail():
    text = f"{HEADER}\n> Hello\n> Unsubscribe:\n> {LINK}\n\nMy own words.\n"
    assert own_words(text, markers=[TOKEN]).text == "My own words."


def test_a_link_wrapped_out_of_its_quoted_line_does_not_end_the_mail():
    assert own_words(f"> Unsubscribe:\n{LINK}\n> bye\n\nMine.", markers=[LINK]).text == "Mine."
    assert own_words("> see https://shop.example/a/long\n/link/of/ours\n> bye\n\nMine.").text == "Mine."


def test_one_word_below_a_quoted_link_is_an_answer():
    assert own_words("> Unsubscribe: https://shop.example/o/1\nStop\n> bye").text == "Stop"
    assert own_words("> Unsubscribe: https://shop.example/o/1\nStop").text == "Stop"


def test_a_line_wrapped_out_of_its_quoted_line_is_no_own_word_but_an_answer_is():
    quoted = "> We would rather tell you now than have you wait and wonder about it,"
    assert own_words(f"{quoted}\nwhich nobody likes.\n> Bye\n\nMine.").text == "Mine."
    assert own_words(f"{quoted[:-1]}.\nyes, thanks\n> Bye\n\nMine.").text == "yes, thanks\n\nMine."
    assert own_words(f"{quoted}\nYes, thanks\n> Bye\n\nMine.").text == "Yes, thanks\n\nMine."


def test_one_marker_given_as_text_is_one_marker():
    assert own_words("All of this is mine.", markers="ours").text == "All of this is mine."


# -- Headers ------------------------------------------------------------------------------------------------------

SENTENCES = [
    "On Monday he wrote: nothing",
    "On 5 January 2026 your colleague wrote:\nit will come on Friday.\nIt did not.",
    "Am 5.1.2026 schrieb ich an info@shop.example:\nBitte stornieren Sie.",
    "Am 5.1.2026 schrieb ich an info@shop.example: Bitte stornieren Sie.",
    "From: Leipzig\nTo: Berlin\nDate: 12 January\nWhen will it come?",
    "From: my point of view this is fine.\nTo: be fair, it was quick.",
    "This email is the third about the same thing, please answer me at last or I cancel.",
    "It is 3 > 2.\nYes.",
    "Order 1042\n--\nplease cancel it, and the other one too.",
    "Sent from my old address in May, the parcel never arrived and nobody knows where it is.",
    "What I need:\n- the invoice of 05.01.2026 10:12:\n- a label",
    "Thanks,\nSTOP",
    "Best regards\nAnna",
    "Yes.\n\nBest wishes\nAnna\n\nPS: please stop.",
    "Yes.\n\nThanks",
    "Yes.\n\nKind regards\nplease call me",
]


@pytest.mark.parametrize("text", SENTENCES)
def test_a_customers_sentence_that_looks_like_a_header_or_a_signature_is_kept(text: str):
    assert own_words(text).text == text


HEADERS = {
    "en": HEADER,
    "en, Apple": f"On Jan 5, 2026, at 10:12 AM, Shop <{ADDRESS}> wrote:",
    "de": f"Am Mo., 5. Jan. 2026 um 10:12 Uhr schrieb Shop <{ADDRESS}>:",
    "de, app": f"Shop <{ADDRESS}> schrieb am Mo., 5. Jan. 2026, 10:12:",
    "de, Yahoo": f"Am Montag, 5. Januar 2026 um 10:12:44 MEZ hat Shop <{ADDRESS}> Folgendes geschrieben:",
    "fr": f"Le lun. 5 janv. 2026 à 10:12, Shop <{ADDRESS}> a écrit\u00a0:",
    "es": f"El lun, 5 ene 2026 a las 10:12, Shop (<{ADDRESS}>) escribió:",
    "pt": f"Em seg., 5 de jan. de 2026 às 10:12, Shop <{ADDRESS}> escreveu:",
    "pt, Portugal": f"Shop <{ADDRESS}> escreveu (segunda, 5/01/2026 à(s) 10:12):",
    "it": f"Il giorno lun 5 gen 2026 alle ore 10:12 Shop <{ADDRESS}> ha scritto:",
    "nl": f"Op ma 5 jan 2026 om 10:12 schreef Shop <{ADDRESS}>:",
    "nl, Apple": f"Op 5 jan 2026, om 10:12 heeft Shop <{ADDRESS}> het volgende geschreven:",
    "pl": f"pon., 5 sty 2026 o 10:12 Shop <{ADDRESS}> napisał(a):",
    "pl, day first": f"W dniu 5.01.2026 o 10:12 Shop <{ADDRESS}> pisze:",
    "pl, Apple": f"Wiadomość napisana przez Shop <{ADDRESS}> w dniu 5 sty 2026, o godz. 10:12:",
    "tr": f"Shop <{ADDRESS}>, 5 Oca 2026 Pzt, 10:12 tarihinde şunu yazdı:",
    "tr, Apple": f"Shop <{ADDRESS}> şunları yazdı (5 Oca 2026 10:12):",
    "ja": f"2026年1月5日(月) 10:12 Shop <{ADDRESS}>:",
    "ja, Apple": f"2026/01/05 10:12、Shop <{ADDRESS}>のメール：",
    "ja, written": f"2026/01/05 10:12 に Shop <{ADDRESS}> さんが書きました:",
}


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS.keys())
@pytest.mark.parametrize("above", ["\n", "\n\n"], ids=["below the words", "after an empty line"])
def test_a_header_ends_the_own_words_in_each_language_quoted_or_not(header: str, above: str):
    for below in ("\n\n> quoted\n", "\n\nnot quoted\n"):
        assert own_words(f"Mine.{above}{header}{below}").text == "Mine."


@pytest.mark.parametrize("width", [62, 66, 70, 72, 76, 78])
@pytest.mark.parametrize("name", HEADERS)
def test_a_header_tells_the_language_wherever_it_is_wrapped(name: str, width: int):
    header = textwrap.fill(
        HEADERS[name].replace("Shop", "Kaffeehaus Nord, Rösterei und Versand"),
        width,
        break_long_words=False,
        break_on_hyphens=False,
    )
    for below in ("\n> quoted\n", "\n\nnot quoted\n"):
        found = own_words(f"Mine.\n\n{header}{below}")
        assert (found.text, found.language) == ("Mine.", name[:2]), header


def test_a_header_that_several_languages_share_tells_none():
    assert own_words("Ja.\n\nDen 5. januar 2026 kl. 10.12 skrev Shop <a@b.example>:\n> x").language is None


def test_own_words_below_and_between_quoted_blocks_are_kept():
    found = own_words(f"First.\n{HEADER}\n> a\n>\n> b\n\nSecond.\n\n> c\nThird.\n")
    assert found.text == "First.\n\nSecond.\n\nThird."


def test_words_below_an_unquoted_quotation_are_part_of_it():
    assert own_words(f"First.\n\n{HEADER}\n\nHello\n\nwho knows whose words\n").text == "First."


def test_forwarding_without_own_words_gives_none():
    for separator in ("---------- Forwarded message ---------", "-------- Weitergeleitete Nachricht --------"):
        found = own_words(f"\n{separator}\nFrom: Shop <{ADDRESS}>\nSubject: x\n\nHello\n")
        assert (found.text, found.first_line) == ("", "")


# -- Signatures and first lines -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        "Sent from my iPhone",
        "Sent from Yahoo Mail on Android",
        "Get Outlook for iOS<https://aka.ms/o0ukef>",
        "Von meinem iPhone gesendet",
        "Gesendet von Outlook für Android<https://aka.ms/AAb9ysg>",
        "Envoyé de mon iPhone",
        "Enviado desde mi iPad",
        "Enviado do meu Galaxy",
        "Inviato da iPhone",
        "Verstuurd vanaf mijn iPhone",
        "Wysłane z iPhone’a",
        "iPhone’umdan gönderildi",
        "iPhoneから送信",
    ],
)
def test_the_footer_of_an_app_is_no_own_word(line: str):
    assert own_words(f"Yes.\n\n{line}\n").text == "Yes."
    assert own_words(f"{line}\n\n{HEADER}\n> x\n").text == ""


def test_all_below_the_signature_mark_is_dropped_but_not_beyond_the_quotation():
    assert own_words("Mine.\n-- \nplease buy at example.com\n> quoted\nMine, too.").text == "Mine.\n\nMine, too."


def test_a_closing_greeting_goes_where_other_words_stay():
    assert own_words("Mine.\n\nViele Grüße\nAnna von Beispiel\nEinkauf\nTel. 0341 555 01 02").text == "Mine."
    assert own_words("Mine.\n\nThanks and kind regards, \nAnna").text == "Mine."
    assert own_words("Mine.\n\nLG Anna").text == "Mine."
    assert own_words("Hallo,\n\nViele Grüße\nAnna").text == "Hallo,\n\nViele Grüße\nAnna"


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("Hello,\n\nunsubscribe", "unsubscribe"),
        ("Hi Anna\nstop", "stop"),
        ("Sehr geehrte Damen und Herren,\nbitte abmelden.", "bitte abmelden."),
        ("Hi Stop\nmore", "Hi Stop"),
        ("Hello, please cancel\nmore", "Hello, please cancel"),
        ("Hello,", "Hello,"),
        ("  Stop it  \nmore", "Stop it"),
        ("> quoted\n\nStop", "Stop"),
        ("", ""),
    ],
)
def test_the_first_line_says_more_than_a_greeting_where_there_is_one(text: str, first: str):
    assert own_words(text).first_line == first


# -- Hostile text -----------------------------------------------------------------------------------------------------


def test_text_beyond_the_cap_is_not_read_and_said_to_be_missing():
    assert own_words("x" * CAP_OCTETS).truncated is False
    found = own_words("日" * CAP_OCTETS)
    assert found.truncated
    assert CAP_OCTETS - 3 < len(found.text.encode()) <= CAP_OCTETS


def test_more_lines_than_a_mail_has_are_not_read_and_said_to_be_missing():
    assert own_words("x\n" * (MAX_LINES - 1)).truncated is False
    found = own_words("x\n" * (MAX_LINES + 9))
    assert found.truncated
    assert found.text.count("x") == MAX_LINES


def test_broken_surrogates_and_control_characters_pass():
    assert own_words("\ud800\x00 stop\x1b").text == "\ud800\x00 stop\x1b"


UNITS = ["a ", ">", "> a\nb\n", "From: a\nTo: b\nCc: c\nCc: d\n", "a\na\na:\n", "On 5.1.2026 he wrote:\nx\n", "a@b.c:"]
UNITS += ["On 5.1.2026 10:12 <x@y.example>\nand\nand\nwrote to:\n", "_____\nFrom: a\n", "Dear Anna,\n", "--\nAnna\n"]
UNITS += ["Best regards,\nAnna\n> x\n", "Sent from my iPhone\n", "this e-mail is confidential\n", "\u200b\n", "a:\n"]


def steps(function: Any, argument: str) -> int:
    """Count the calls that a function makes, of Python and of C: its work without a clock."""
    counted = 0

    def count(frame: Any, event: str, value: Any) -> None:
        nonlocal counted
        counted += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        function(argument)
    finally:
        sys.setprofile(before)
    return counted


@pytest.mark.parametrize("unit", UNITS)
def test_twice_the_text_takes_at_most_twice_the_work(unit: str):
    own_words("The phrases are loaded by the first call.")
    lines = max(1, unit.count("\n"))
    once, twice = steps(own_words, unit * (1000 // lines)), steps(own_words, unit * (2000 // lines))
    assert twice <= 2.1 * once + 100


# -- What always holds ------------------------------------------------------------------------------------------------

FRAGMENTS = st.sampled_from(
    [
        *(line for text in SENTENCES for line in text.split("\n")),
        *HEADERS.values(),
        *["", "> quoted", ">> deeper", "-- ", "--", "From: a <b@c.example>", "Sent: Monday", "To: d", "Subject: e"],
        *["-----Original Message-----", "________", "Sent from my iPhone", "Kind regards,", "Anna", "Hello,", "\u200b"],
        *["View ticket https://a.example/b", "/c", "-----8<-----", "\r"],
    ]
)
MAILS = st.lists(FRAGMENTS | st.text(max_size=60), max_size=25).map("\n".join)
WORDS = st.text(alphabet="abcdefghij ABCDEFÄß.,!?", min_size=1, max_size=60)


@given(MAILS | st.text(), st.sets(st.text(max_size=8), max_size=3))
@settings(max_examples=300, deadline=None)
def test_it_never_raises_and_says_only_what_was_in_the_mail(text: str, markers: set[str]):
    found = own_words(text, markers=markers)
    lines = {line.strip() for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n")}
    assert {line.strip() for line in found.text.split("\n")} <= lines | {""}
    assert found.first_line in lines | {""}
    assert bool(found.first_line) <= bool(found.text)
    assert found.language is None or len(found.language) == 2


@given(st.lists(WORDS, min_size=1, max_size=12))
def test_plain_words_are_found_once_and_for_all(lines: list[str]):
    once = own_words("\n".join(lines)).text
    assert own_words(once).text == once


@given(st.lists(WORDS, max_size=6), MAILS)
@settings(deadline=None)
def test_nothing_unquoted_below_our_marker_is_an_own_word(above: list[str], below: str):
    text = "\n".join([*above, "", f"Abmelden: {LINK}", "zzz unquoted zzz", below.replace(">", ""), "zzz end zzz"])
    found = own_words(text, markers=[LINK])
    assert TOKEN not in found.text
    assert "zzz" not in found.text


@given(MAILS)
@settings(deadline=None)
def test_no_line_with_our_marker_is_ever_an_own_word(text: str):
    assert TOKEN not in own_words(text, markers=[TOKEN]).text
