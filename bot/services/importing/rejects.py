"""The list of rows that an import refused: file, physical line, column, reason, as CSV.

The file is made when the first row is refused; one that an earlier import left is removed where nothing was.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

from bot.errors import InputError, UsageError

__all__ = ["Rejects"]

HEADER = ("file", "line", "column", "reason")


class Rejects:
    """Writes refused rows as they come.

    Raises
    ------
    UsageError
        The folder of the list does not exist, or something else stands under its name.
    """

    def __init__(self, path: Path) -> None:
        if not path.parent.is_dir() or path.is_dir():
            raise UsageError(f"{path} cannot be written; pass --rejects FILE in an existing folder")
        self.path = path
        self._file: IO[str] | None = None
        self._writer: Any = None
        self.count = 0

    def add(self, file: str, problems: Iterable[tuple[int, str, str]]) -> None:
        """Write the refused rows of a file, in the order of their lines."""
        for line, column, reason in sorted(problems):
            if self._writer is None:
                self._open()
            self._writer.writerow((file, line, column, reason))
            self.count += 1
        if self._file is not None:
            self._file.flush()

    def close(self) -> None:
        """Close the list; remove an older one where nothing was refused."""
        if self._file is not None:
            self._file.close()
        elif self.path.is_file() and self._is_ours():
            self.path.unlink()

    def _open(self) -> None:
        try:
            self._file = self.path.open("w", encoding="utf-8", newline="")
        except OSError as error:
            raise InputError(f"{self.path} cannot be written ({error.strerror}); pass --rejects FILE") from error
        self._writer = csv.writer(self._file, lineterminator="\n")
        self._writer.writerow(HEADER)

    def _is_ours(self) -> bool:
        with self.path.open("rb") as file:
            return file.readline().strip() == ",".join(HEADER).encode()
