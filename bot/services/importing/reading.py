"""Reading CSV and JSON Lines files record by record, each with the physical line it starts at.

A record that cannot be read is returned with the reason, and reading goes on with the next line. What the
columns mean is `bot.services.importing.canonical`'s business.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from bot.errors import InputError

__all__ = ["ENDINGS", "CsvRecords", "JsonRecords", "Record", "RecordFile", "open_records"]

ENDINGS = (".csv", ".jsonl", ".ndjson")
# A line longer than this is no row of a shop; without a limit one would fill the memory.
LONGEST_LINE = 4 * 1024 * 1024
# csv's own limit for a field; it also ends the search for a quote that is never closed.
LONGEST_FIELD = 131_072


class Record(NamedTuple):
    """One record of a file: its content, or why it cannot be read."""

    line: int
    content: Any
    problem: tuple[str, str] | None = None


class RecordFile:
    """An open file of records."""

    header: list[str] | None = None

    def __init__(self, lines: io.BufferedIOBase, raw: io.BufferedIOBase, path: Path) -> None:
        self._lines = lines
        self._raw = raw
        self.path = path
        self.line = 0  # the last physical line that was read

    @property
    def bytes_read(self) -> int:
        """How far the file itself (compressed or not) was read."""
        return self._raw.tell()

    def __iter__(self) -> Iterator[Record]:
        raise NotImplementedError

    def _read_line(self) -> bytes:
        try:
            raw = self._lines.readline(LONGEST_LINE)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise InputError(
                f"{self.path}: the compressed file breaks off or is damaged after line {self.line} ({error}); "
                "get the whole file and import it again: what landed stays and is not doubled"
            ) from error
        except OSError as error:
            raise InputError(f"{self.path}: cannot be read after line {self.line} ({error})") from error
        if len(raw) >= LONGEST_LINE and not raw.endswith(b"\n"):
            raise InputError(f"{self.path}: line {self.line + 1} is longer than {LONGEST_LINE:,} bytes")
        return raw


class CsvRecords(RecordFile):
    """UTF-8 CSV with a header; a quoted field may hold line breaks."""

    def __init__(self, lines: io.BufferedIOBase, raw: io.BufferedIOBase, path: Path) -> None:
        super().__init__(lines, raw, path)
        self._again: deque[bytes] = deque()  # lines to read once more after a broken quote
        self._taken: list[bytes] = []  # the lines of the present record
        self._bad: list[str] = []  # what is wrong with the bytes of the present record
        self._records = iter(self._read())
        first = next(self._records, None)
        if first is None:
            raise InputError(f"{path}: is empty; the first line must be the header")
        if first.problem:
            raise InputError(f"{path}: the header {first.problem[1]}")
        self.header = [name.strip() for name in first.content]

    def __iter__(self) -> Iterator[Record]:
        return self._records

    def _text(self) -> Iterator[str]:
        taken, bad, again = self._taken, self._bad, self._again
        while True:
            raw = again.popleft() if again else self._read_line()
            if not raw:
                return
            taken.append(raw)
            if self.line == 0 and len(taken) == 1:
                raw = raw.removeprefix(b"\xef\xbb\xbf")
            if b"\0" in raw:
                bad.append("holds a NUL byte (is the file UTF-16? save it as UTF-8)")
            try:
                yield raw.decode()
            except UnicodeDecodeError as error:
                bad.append(f"is not UTF-8 (byte 0x{raw[error.start]:02x} at position {error.start + 1} of the line)")
                yield raw.decode(errors="replace")

    def _read(self) -> Iterator[Record]:
        taken, bad = self._taken, self._bad
        rows = csv.reader(self._text(), strict=True)
        while True:
            start = self.line + 1
            try:
                cells = next(rows)
            except StopIteration:
                return
            except csv.Error as error:
                # Only the first line is given up; a quote that is never closed must not swallow the rows after it.
                self._again.extendleft(reversed(taken[1:]))
                self.line += 1
                reason = bad[0] if bad else _csv_reason(str(error))
                taken.clear()
                bad.clear()
                rows = csv.reader(self._text(), strict=True)
                yield Record(start, None, ("", reason))
                continue
            self.line += len(taken)
            taken.clear()
            if bad:
                yield Record(start, None, ("", bad[0]))
                bad.clear()
            elif cells:
                yield Record(start, cells)


class JsonRecords(RecordFile):
    """JSON Lines: one object a line."""

    def __iter__(self) -> Iterator[Record]:
        while raw := self._read_line():
            self.line += 1
            if self.line == 1:
                raw = raw.removeprefix(b"\xef\xbb\xbf")
            if raw.strip():
                yield self._record(raw)

    def _record(self, raw: bytes) -> Record:
        try:
            content = json.loads(raw.decode(), parse_constant=_no_constant)
        except UnicodeDecodeError as error:
            return Record(self.line, None, ("", f"is not UTF-8 (byte 0x{raw[error.start]:02x})"))
        except RecursionError:
            return Record(self.line, None, ("", "is nested too deeply"))
        except ValueError as error:
            return Record(self.line, None, ("", f"is no valid JSON: {error}"))
        if not isinstance(content, dict):
            return Record(self.line, None, ("", "is no JSON object"))
        if b"\\u" in raw or b"e" in raw or b"E" in raw:
            for name, value in content.items():
                if reason := _unstorable(name) or _unstorable(value):
                    return Record(self.line, None, (name if name.isprintable() else "", reason))
        return Record(self.line, content)


@contextmanager
def open_records(path: Path) -> Iterator[RecordFile]:
    """Open a file of records by its name: `.csv`, `.jsonl` or `.ndjson`, plain or `.gz`.

    Raises
    ------
    InputError
        The file cannot be opened, or has no readable header.
    """
    name = path.name.lower()
    packed = name.endswith(".gz")
    kind = CsvRecords if name.removesuffix(".gz").endswith(".csv") else JsonRecords
    try:
        raw = path.open("rb")
    except OSError as error:
        raise InputError(f"{path}: cannot be opened ({error.strerror})") from error
    with raw:
        lines = io.BufferedReader(gzip.GzipFile(fileobj=raw), 1 << 16) if packed else raw
        yield kind(lines, raw, path)


def _csv_reason(message: str) -> str:
    if "unexpected end of data" in message:
        return "has a quote that is never closed"
    if "field larger" in message:
        return f"has a field of over {LONGEST_FIELD:,} characters, or a quote that is never closed"
    if "expected after" in message:
        return "has a quote inside a quoted field; double it"
    return f"is no valid CSV: {message}"


def _unstorable(value: Any) -> str | None:
    """Say why a JSON value cannot be stored: PostgreSQL takes no NUL, UTF-8 no lone surrogate, nobody infinity."""
    if isinstance(value, str):
        if "\0" in value:
            return "holds a NUL character"
        return "holds half of a surrogate pair" if any("\ud800" <= c <= "\udfff" for c in value) else None
    if isinstance(value, float):
        return None if value - value == 0 else "is no finite number"
    parts = [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else []
    return next((reason for part in parts if (reason := _unstorable(part))), None)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")
