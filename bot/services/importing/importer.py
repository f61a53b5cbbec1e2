"""`aftercare import`: canonical files into the tables, streaming, in batches of one transaction each.

A crash leaves whole batches, and the same import run again completes them. What cannot be used is refused
with place and reason while the good rows land.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import structlog

from bot.clock import Clock
from bot.config import Settings
from bot.errors import InputError
from bot.services.importing.canonical import COLUMNS, BadRow, RowReader, header_problems
from bot.services.importing.mapping import FileMap, ShopMapping, load_mapping
from bot.services.importing.reading import ENDINGS, Record, open_records
from bot.services.importing.rejects import Rejects
from bot.store.database import Database
from bot.store.enums import Entity
from bot.store.intake import IncomingRow, land

__all__ = ["FileReport", "Importer", "Progress", "Refusal"]

# Measured on Olist: larger batches gain nothing, and each must stay a short transaction.
BATCH = 2000

# Called with the file, the bytes read of it, and its size.
Progress = Callable[[str, int, int], None]
Refusal = tuple[int, str, str]

log = structlog.get_logger(__name__)


@dataclass(kw_only=True)
class FileReport:
    """What became of one file's rows; the four kinds add up to `read`."""

    file: str
    read: int = 0
    new: int = 0
    updated: int = 0
    unchanged: int = 0
    rejected: int = 0

    def line(self) -> dict[str, Any]:
        """Return the JSON of `import --json`."""
        return asdict(self)


class Importer:
    """Brings what a shop knows into the store."""

    def __init__(self, database: Database, clock: Clock, settings: Settings) -> None:
        self._database = database
        self._clock = clock
        self._zone = settings.shop.zone
        self._currency = settings.shop.currency or None

    def import_paths(
        self,
        paths: Sequence[Path],
        source: str = "files",
        mapping: Path | None = None,
        rejects: Path | None = None,
        progress: Progress | None = None,
    ) -> list[FileReport]:
        """Import folders and files, customers first and touchpoints last.

        Parameters
        ----------
        paths : sequence of Path
            Folders (whichever canonical files are in them) or single files.
        source : str
            The name of where the rows come from; ids are unique within it.
        mapping : Path, optional
            See `bot.services.importing.mapping`.
        rejects : Path, optional
            Where refused rows are listed; without it they are only counted.

        Raises
        ------
        InputError
            A path holds nothing to import, or a header is wrong: nothing was imported then. Or a file broke
            off: the message says after which line; whole batches before it stand.
        ConfigurationError
            The mapping is wrong.
        """
        known = {entity: [column.name for column in columns] for entity, columns in COLUMNS.items()}
        told = load_mapping(mapping, known) if mapping else ShopMapping()
        files = self._files(paths, told)
        problems = [problem for entity, file in files for problem in self._header_problems(entity, file, told)]
        if problems:
            raise InputError("nothing was imported:\n" + "\n".join(problems))
        refused = Rejects(rejects) if rejects else None
        reports = []
        try:
            for entity, file in files:
                reports.append(self._import_file(entity, file, told.of(entity), source, refused, progress))
        finally:
            if refused:
                refused.close()
        return reports

    def import_rows(
        self,
        entity: Entity | str,
        rows: Iterable[Mapping[str, Any]],
        source: str = "files",
        arrived_at: datetime | None = None,
    ) -> tuple[FileReport, list[Refusal]]:
        """Import rows given as mappings (HTTP, the demo); their place is their number from 1.

        Parameters
        ----------
        arrived_at : datetime, optional
            What touchpoints without `recorded_at` were recorded at; without it, when they occurred.
        """
        entity = Entity(entity)
        report, refusals = FileReport(file=entity.value), []
        reader = RowReader(entity, self._zone, FileMap(), currency=self._currency)
        records = (Record(number, row) for number, row in enumerate(rows, 1))
        for batch, problems in _batches(records, reader.read_mapping, report):
            self._land(entity, source, batch, problems, report, arrived_at)
            refusals += sorted(problems)
        return report, refusals

    def _import_file(
        self,
        entity: Entity,
        file: Path,
        mapped: FileMap,
        source: str,
        refused: Rejects | None,
        progress: Progress | None,
    ) -> FileReport:
        report, size = FileReport(file=str(file)), file.stat().st_size
        with open_records(file) as records:
            reader = RowReader(entity, self._zone, mapped, records.header, currency=self._currency)
            read = reader.read_mapping if records.header is None else reader.read_cells
            try:
                for batch, problems in _batches(records, read, report):
                    self._land(entity, source, batch, problems, report, None)
                    if refused:
                        refused.add(str(file), ((line, mapped.theirs(name), why) for line, name, why in problems))
                    if progress:
                        progress(str(file), records.bytes_read, size)
            except InputError as error:
                log.warning("import_broke_off", file=file.name, landed=report.new + report.updated)
                raise InputError(f"{error}; {report.new:,} new rows of it landed") from error
        if progress:
            progress(str(file), size, size)
        log.debug("file_imported", source=source, entity=entity.value, **{**report.line(), "file": file.name})
        return report

    def _land(
        self,
        entity: Entity,
        source: str,
        batch: Sequence[IncomingRow],
        problems: list[Refusal],
        report: FileReport,
        arrived_at: datetime | None,
    ) -> None:
        if batch:
            with self._database.write() as connection:
                landed = land(connection, entity, source, batch, self._clock.now(), arrived_at=arrived_at)
            report.new += landed.new
            report.updated += landed.updated
            report.unchanged += landed.unchanged
            problems += landed.problems
        report.rejected += len(problems)

    def _header_problems(self, entity: Entity, file: Path, told: ShopMapping) -> list[str]:
        mapped = told.of(entity)
        try:
            with open_records(file) as records:
                problems = [] if records.header is None else header_problems(entity, mapped, records.header)
                if not problems:
                    RowReader(entity, self._zone, mapped, records.header)
        except InputError as error:
            return [str(error)]
        except ValueError as error:
            return [f"{file}: a constant of the mapping {error}"]
        return [f"{file}: {problem}" for problem in problems]

    def _files(self, paths: Sequence[Path], told: ShopMapping) -> list[tuple[Entity, Path]]:
        found: list[tuple[Entity, Path]] = []
        for path in paths:
            if path.is_dir():
                inside = [(entity, file) for file in sorted(path.iterdir()) if (entity := _entity(file, told, True))]
                if not inside:
                    raise InputError(
                        f"{path} holds no canonical file; name them {', '.join(Entity)} with .csv or .jsonl, plain or .gz"
                    )
                found += inside
            elif not path.exists():
                raise InputError(f"{path} does not exist; name a folder or a file")
            elif entity := _entity(path, told, False):
                found.append((entity, path))
            else:
                raise InputError(
                    f"{path} is no canonical file; name it {', '.join(Entity)} with .csv or .jsonl, plain or .gz, "
                    "or say under `files:` of the --map what it holds"
                )
        if not found:
            raise InputError("nothing to import; name a folder or a file")
        order = list(Entity)
        return sorted(dict.fromkeys(found), key=lambda item: order.index(item[0]))


def _entity(file: Path, told: ShopMapping, exactly: bool) -> Entity | None:
    """Say what a file holds by its name; one named on purpose may go on, as in `orders-2018.csv`."""
    name = file.name.removesuffix(".gz").removesuffix(".GZ")
    ending = next((ending for ending in ENDINGS if name.lower().endswith(ending)), None)
    if ending is None or not file.is_file():
        return None
    stem = name[: -len(ending)]
    if stem in told.files:
        return told.files[stem]
    for entity in sorted(Entity, key=len, reverse=True):
        if stem == entity or (not exactly and stem.startswith(entity) and stem[len(entity)] in "-_. "):
            return entity
    return None


def _batches(
    records: Iterable[Record], read: Callable[[int, Any], IncomingRow], report: FileReport
) -> Iterator[tuple[list[IncomingRow], list[Refusal]]]:
    """Group good rows so that no key stands twice in a batch; yield them with the rows refused so far."""
    batch: list[IncomingRow] = []
    keys: set[Any] = set()
    problems: list[Refusal] = []
    for line, content, problem in records:
        report.read += 1
        if len(problems) >= BATCH:
            yield batch, problems
            batch, keys, problems = [], set(), []
        if problem is not None:
            problems.append((line, *problem))
            continue
        try:
            row = read(line, content)
        except BadRow as bad:
            problems.append((line, bad.column, bad.reason))
            continue
        if row.key in keys or len(batch) >= BATCH:
            yield batch, problems
            batch, keys, problems = [], set(), []
        batch.append(row)
        keys.add(row.key)
    if batch or problems:
        yield batch, problems
