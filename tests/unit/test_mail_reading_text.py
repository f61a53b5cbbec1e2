"""Bodies, charsets and names: what a mail says although its sender's program was wrong about it."""

from __future__ import annotations

import base64

import pytest

from bot.channels.email.mime import read_body, read_parts
from bot.channels.email.mime_headers import decoded_words, parameters
from bot.channels.email.mime_text import clean, decoded_text, one_line, transfer_decoded, unflowed


def body(*lines: str | bytes) -> str:
    octets = b"\n".join(line.encode() if isinstance(line, str) else line for line in ("From: ana@example.org", *lines))
    return read_body(read_parts(octets)).text.strip()


def names(*lines: str | bytes) -> list[str]:
    octets = b"\n".join(line.encode() if isinstance(line, str) else line for line in ("From: ana@example.org", *lines))
    return [one.name for one in read_body(read_parts(octets)).attachments]


@pytest.mark.parametrize(
    ("octets", "declared", "text"),
    [
        ("schön".encode(), "utf-8", "schön"),
        ("schön".encode(), "iso-8859-1", "schön"),
        ("schön".encode(), "us-ascii", "schön"),
        ("schön".encode(), None, "schön"),
        ("schön".encode(), "x-unknown", "schön"),
        ("schön".encode(), "utf8", "schön"),
        ("schön".encode(), "utf8mb4", "schön"),
        ("schön".encode("latin-1"), "iso-8859-1", "schön"),
        ("schön".encode("latin-1"), "utf-8", "schön"),
        ("schön".encode("latin-1"), None, "schön"),
        ("“quoted” – 5 €".encode("cp1252"), "iso-8859-1", "“quoted” – 5 €"),
        ("“quoted” – 5 €".encode("cp1252"), "utf-8", "“quoted” – 5 €"),
        ("“quoted” – 5 €".encode("cp1252"), "windows-1252", "“quoted” – 5 €"),
        ("schön und ".encode() + "grün".encode("latin-1") + " und süß, nicht böse".encode(), "utf-8", "schön und grün und süß, nicht böse"),
        ("schön – ‘so’".encode().decode("cp1252").encode(), "utf-8", "schön – ‘so’"),
        ("â€œsoâ€\x9d".encode(), "utf-8", "“so”"),
        ("schön".encode().decode("latin-1").encode(), "iso-8859-1", "schön"),
        ("Das Zeichen Ã¼ steht für ü".encode(), "utf-8", "Das Zeichen Ã¼ steht für ü"),
        ("ağ ışık İstanbul".encode("cp1254"), "iso-8859-9", "ağ ışık İstanbul"),
        ("zażółć".encode("iso-8859-2"), "iso-8859-2", "zażółć"),
        ("zażółć".encode("cp1250"), "windows-1250", "zażółć"),
        ("привет".encode("koi8-r"), "koi8-r", "привет"),
        ("①髙橋".encode("cp932"), "shift_jis", "①髙橋"),
        ("こんにちは".encode("iso2022_jp"), "iso-2022-jp", "こんにちは"),
        ("こんにちは".encode("iso2022_jp"), None, "こんにちは"),
        ("こんにちは".encode("iso2022_jp"), "utf-8", "こんにちは"),
        ("こんにちは".encode("euc_jp"), "euc-jp", "こんにちは"),
        ("こんにちは".encode(), "iso-2022-jp", "こんにちは"),
        ("你好，世界".encode("gb18030"), "gb2312", "你好，世界"),
        ("안녕하세요".encode("cp949"), "ks_c_5601-1987", "안녕하세요"),
        ("hello".encode("utf-16"), "utf-16", "hello"),
        (b"plain", "utf-16", "plain"),
        (b"hello", "idna", "hello"),
        (b"68656c6c6f", "hex", "68656c6c6f"),
        (b"hello", "../../etc/passwd", "hello"),
    ],
)  # fmt: skip
def test_a_charset_is_repaired_where_the_declared_one_is_wrong(octets: bytes, declared: str | None, text: str) -> None:
    assert decoded_text(octets, declared).lstrip("\ufeff") == text


def test_a_text_that_was_cut_within_a_character_keeps_the_rest() -> None:
    assert decoded_text("schöne Grüße".encode()[:-3], "utf-8").startswith("schöne Gr")


@pytest.mark.parametrize(
    ("octets", "encoding", "decoded"),
    [
        (b"a=20b=C3=BC", "quoted-printable", "a bü".encode()),
        (b"a=ZZ=\nb=4", "Quoted-Printable", b"a=ZZb=4"),
        (base64.b64encode(b"hello!"), "base64", b"hello!"),
        (b"aGVs\nbG8h", "BASE64", b"hello!"),
        (b"aGVsbG8", " base64 ", b"hello"),
        (b"aGVsbG8hQ", "base64", b"hello!"),
        (b"aGVsbG8=\n-- \nA footer", "base64", b"hello"),
        (b"hello", "x-unknown", b"hello"),
    ],
)
def test_a_transfer_encoding_is_undone_as_far_as_it_goes(octets: bytes, encoding: str, decoded: bytes) -> None:
    assert transfer_decoded(octets, encoding) == decoded


def test_line_ends_become_line_feeds_and_control_characters_go() -> None:
    assert clean("a\r\nb\rc\u2028d\x00\x1b[31m\ufeff") == "a\nb\nc\nd[31m"
    assert one_line("a\r\n b\u202egnp.exe", 50) == "a b gnp.exe"


def test_flowed_lines_are_joined_within_their_depth_of_quoting() -> None:
    text = "one \ntwo\n> three \n> four\nfive \n\n-- \nAna \nLopez"
    assert unflowed(text) == "one two\n> three four\nfive \n-- \nAna Lopez"
    assert unflowed("to \ngether", delete_space=True) == "together"
    assert unflowed(" From here\n >x") == "From here\n>x"


def test_plain_text_is_preferred_and_html_read_where_there_is_none() -> None:
    both = ['Content-Type: multipart/alternative; boundary="b"', "", "--b", "Content-Type: text/plain", ""]
    html = ["", "--b", "Content-Type: text/html", "", "<p>from <b>HTML</b></p>", "--b--"]
    assert body(*both, "from plain", *html) == "from plain"
    assert body(*both, "  \u200b ", *html) == "from HTML"
    assert body("Content-Type: text/html", "", "<p>from <b>HTML</b></p>") == "from HTML"


def test_html_may_say_its_charset_itself() -> None:
    page = '<html><head><meta charset="windows-1251"></head><body>привет</body></html>'
    assert body("Content-Type: text/html", "", page.encode("cp1251")) == "привет"


def test_a_text_in_pieces_is_one_text() -> None:
    lines = [
        "Content-Type: multipart/mixed; boundary=b",
        "",
        "preamble",
        "--b",
        "",
        "one",
        "--b",
        "Content-Type: text/plain",
        "",
        "two",
        "--b--",
        "epilogue",
    ]
    assert body(*lines).split() == ["one", "two"]


def test_a_text_file_is_an_attachment_unless_it_is_all_there_is() -> None:
    mixed = ["Content-Type: multipart/mixed; boundary=b", "", "--b"]
    note = ["Content-Type: text/plain; name=note.txt", "", "a note", "--b--"]
    assert body(*mixed, "", "the text", "--b", *note) == "the text"
    assert names(*mixed, "", "the text", "--b", *note) == ["note.txt"]
    assert body(*mixed, *note) == "a note"
    assert names(*mixed, *note) == []
    assert body(*mixed, "Content-Disposition: attachment", *note) == ""


@pytest.mark.parametrize("content_type", ["multipart/mixed", 'multipart/mixed; boundary="other"'])
def test_a_multipart_whose_boundary_was_lost_is_read(content_type: str) -> None:
    lines = [f"Content-Type: {content_type}", "", "--lost", "Content-Type: text/plain", "", "hello", "--lost--"]
    assert body(*lines) == "hello"


def test_a_body_without_an_empty_line_before_it_is_read() -> None:
    assert body("Subject: x", "hello there") == "hello there"


def test_a_mail_with_old_line_ends_or_a_mailbox_line_is_read() -> None:
    assert read_body(read_parts(b"From: a@b.example\r\rhello\r")).text == "hello\n"
    assert read_body(read_parts(b"From a@b Mon Mar  9 10:00:00 2026\nFrom: a@b.example\n\nhello\n")).text == "hello\n"
    assert read_body(read_parts(b"\r\n\r\nFrom: a@b.example\r\r\n\r\r\nhello\r\r\n")).text.strip() == "hello"


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ('attachment; filename="invoice.pdf"', "invoice.pdf"),
        ("attachment; filename=invoice.pdf", "invoice.pdf"),
        ("attachment; filename*=utf-8''R%C3%A9sum%C3%A9.pdf", "Résumé.pdf"),
        ('attachment; filename*0="a long "; filename*1="name.pdf"', "a long name.pdf"),
        ("attachment; filename*1*=%BC.pdf; filename*0*=utf-8''f%C3", "fü.pdf"),
        ('attachment; filename="=?utf-8?b?UsOpc3Vtw6kucGRm?="', "Résumé.pdf"),
        ('attachment; filename="=?iso-8859-1?q?R=E9sum=E9?= =?iso-8859-1?q?=2Epdf?="', "Résumé.pdf"),
        ('attachment; filename="a\r\n\tb.pdf"', "a b.pdf"),
        ('attachment; filename="evil\u202efdp.exe"', "evil fdp.exe"),
        ('attachment; filename="with \\"quotes\\"; and more.pdf"', 'with "quotes"; and more.pdf'),
        (f'attachment; filename="{"x" * 500}"', "x" * 200),
        ("attachment", ""),
    ],
)
def test_the_name_of_an_attachment_is_decoded_onto_one_line(value: str, name: str) -> None:
    lines = ["Content-Type: multipart/mixed; boundary=b", "", "--b", "Content-Type: application/pdf"]
    assert names(*lines, f"Content-Disposition: {value}", "", "x", "--b--") == [name]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("=?utf-8?q?sch=C3=B6n?=", "schön"),
        ("=?UTF-8?B?c2Now7Zu?= und gut", "schön und gut"),
        ("=?utf-8?q?a?= =?utf-8?q?b?=", "ab"),
        ("=?utf-8?q?sch=C3?=\r\n =?utf-8?q?=B6n?=", "schön"),
        ("=?iso-8859-1?q?a?=\t=?utf-8?q?b?= c", "ab c"),
        ("=?utf-8*de?q?a_b?=", "a b"),
        ("=?x-unknown?q?sch=F6n?=", "schön"),
        ("=?utf-8?q?no end", "=?utf-8?q?no end"),
        ("100 % =? sure", "100 % =? sure"),
    ],
)
def test_encoded_words_are_decoded(value: str, text: str) -> None:
    assert decoded_words(value) == text


def test_parameters_are_read_however_they_are_written() -> None:
    assert parameters('text/plain; Charset = "utf-8" ; format=flowed;; x') == {"charset": "utf-8", "format": "flowed"}
    assert parameters("text/plain;charset=utf-8;charset=latin-1") == {"charset": "utf-8"}


def test_the_mails_of_a_digest_are_files() -> None:
    lines = [
        "Content-Type: multipart/digest; boundary=b",
        "",
        "--b",
        "",
        "From: eva@example.org",
        "",
        "not mine",
        "--b--",
    ]
    assert body(*lines) == ""
    assert names(*lines) == [""]
