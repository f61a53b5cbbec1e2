"""Records, the physical lines they start at, and going on after one that cannot be read."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.errors import InputError
from bot.services.importing.reading import Record, open_records


def read(tmp_path: Path, content: bytes, name: str = "orders.csv") -> list[Record]:
    file = tmp_path / name
    file.write_bytes(content)
    with open_records(file) as records:
        return list(records)


def test_a_record_starts_at_the_physical_line_also_after_quoted_line_breaks(tmp_path: Path) -> None:
    found = read(tmp_path, b'id,text\n1,"two\nlines"\n\n2,"a\r\nb\r\nc"\n3,x\n')
    assert [(record.line, record.content) for record in found] == [
        (2, ["1", "two\nlines"]),
        (5, ["2", "a\r\nb\r\nc"]),
        (8, ["3", "x"]),
    ]


def test_a_quote_that_is_never_closed_costs_one_row_only(tmp_path: Path) -> None:
    found = read(tmp_path, b'id,text\n1,a\n2,"oops\n3,c\n4,d\n')
    assert [record.line for record in found] == [2, 3, 4, 5]
    assert [record.problem is not None for record in found] == [False, True, False, False]
    assert "never closed" in (found[1].problem or ("", ""))[1]


def test_a_quote_that_is_closed_rows_later_costs_one_row_only(tmp_path: Path) -> None:
    found = read(tmp_path, b'id,text\n2,"oops\n3,c\n4,"d"\n5,"e"\n')
    assert [record.line for record in found if record.problem] == [2]
    assert [record.content for record in found if not record.problem] == [["3", "c"], ["4", "d"], ["5", "e"]]


def test_an_unclosed_quote_before_a_very_long_rest_costs_one_row_only(tmp_path: Path) -> None:
    rest = b"".join(b"%d,%s\n" % (number, b"x" * 90) for number in range(3000))
    found = read(tmp_path, b'id,text\n1,"oops\n' + rest)
    assert [record.line for record in found if record.problem] == [2]
    assert len(found) == 3001


def test_a_row_that_is_not_utf8_is_named_and_the_next_is_read(tmp_path: Path) -> None:
    found = read(tmp_path, "id,text\n1,Zoë\n".encode() + b"2,Zo\xeb\n3,x\0y\n4,z\n")
    assert [record.line for record in found if record.problem] == [3, 4]
    assert "0xeb at position 5" in (found[1].problem or ("", ""))[1]
    assert [record.content[0] for record in found if not record.problem] == ["1", "4"]


def test_a_byte_order_mark_is_no_part_of_the_header(tmp_path: Path) -> None:
    file = tmp_path / "orders.csv"
    file.write_bytes(b"\xef\xbb\xbfid,text\n1,a\n")
    with open_records(file) as records:
        assert records.header == ["id", "text"]


@pytest.mark.parametrize("content", [b"", "id,text\n".encode("utf-16"), b"id,t\xebxt\n1,2\n"])
def test_a_file_without_a_readable_header_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(InputError, match=r"orders\.csv"):
        read(tmp_path, content)


def test_a_packed_file_that_breaks_off_says_after_which_line(tmp_path: Path) -> None:
    packed = gzip.compress(b"id,text\n" + b"".join(b"%d,abc%d\n" % (n, n * 7919) for n in range(20_000)))
    with pytest.raises(InputError, match=r"breaks off or is damaged after line \d+"):
        read(tmp_path, packed[: len(packed) // 2], "orders.csv.gz")


def test_what_only_says_that_it_is_packed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="compressed"):
        read(tmp_path, b"id,text\n1,a\n", "orders.csv.gz")


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"[1]",
        b'"text"',
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b'{"a": 1e999}',
        b'{"a": {"b": [1e999]}}',
        b'{"a": "\\u0000"}',
        b'{"a": "\\ud800"}',
        b'{"a": "\xff"}',
        b"[" * 100_000,
        b'{"a": ' + b"9" * 5000 + b"}",
    ],
)
def test_a_bad_json_line_is_named_and_the_next_is_read(tmp_path: Path, line: bytes) -> None:
    found = read(tmp_path, b'\n{"a": 1}\n' + line + b'\n{"a": 2}', "orders.jsonl")
    assert [record.line for record in found] == [2, 3, 4]
    assert found[1].problem
    assert [found[0].content, found[2].content] == [{"a": 1}, {"a": 2}]


cells = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), max_size=8)


@given(st.lists(st.lists(cells, min_size=2, max_size=2), max_size=8))
def test_every_csv_row_comes_back_with_its_line(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]]
) -> None:
    folder = tmp_path_factory.mktemp("csv")
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerow(["a", "b"])
    lines = []
    for row in rows:
        lines.append(written.getvalue().count("\n") + 1)
        writer.writerow(row)
    found = read(folder, written.getvalue().encode())
    assert [(record.line, record.content) for record in found] == list(zip(lines, rows, strict=True))


@given(st.binary(max_size=200))
def test_any_bytes_are_either_read_or_refused_by_line(tmp_path_factory: pytest.TempPathFactory, noise: bytes) -> None:
    folder = tmp_path_factory.mktemp("noise")
    for name in ("orders.csv", "orders.jsonl"):
        found = read(folder, b"a,b\n" + noise, name)
        lines = [record.line for record in found]
        assert lines == sorted(set(lines))
        assert all(record.content is not None or record.problem for record in found)
        assert all(json.dumps(record.content) for record in found)
