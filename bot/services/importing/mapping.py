"""The mapping of a shop's own export to the canonical columns: `import --map mapping.yaml`.

Our column names theirs; a column may be a constant, and its values may be replaced::

    files: {Bestellungen: orders}         # a file's name, without its endings: what it holds
    orders:
      order_id: Nummer                    # ours: theirs
      customer_id: Kunde
      placed_at: Datum
      currency: {constant: EUR}
      status: {column: Stand, values: {versandt: shipped, "9": cancelled}}

Columns that are not named here keep their names. What a good value is, `bot.services.importing.canonical` says.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from bot.errors import ConfigurationError
from bot.store.enums import Entity

__all__ = ["FileMap", "ShopMapping", "load_mapping"]

Problems = list[tuple[str, str]]


@dataclass(frozen=True, kw_only=True)
class FileMap:
    """How the columns of one kind of file are found."""

    columns: Mapping[str, str] = field(default_factory=dict)
    constants: Mapping[str, Any] = field(default_factory=dict)
    values: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def theirs(self, ours: str) -> str:
        """Return the name that a column of ours has in the file."""
        return self.columns.get(ours, ours)


@dataclass(frozen=True, kw_only=True)
class ShopMapping:
    """How one shop's files become canonical ones."""

    files: Mapping[str, Entity] = field(default_factory=dict)
    maps: Mapping[Entity, FileMap] = field(default_factory=dict)

    def of(self, entity: Entity) -> FileMap:
        """Return the map of one kind of file; an empty one where nothing was said."""
        return self.maps.get(entity, FileMap())


def load_mapping(path: Path, known: Mapping[Entity, Collection[str]]) -> ShopMapping:
    """Read and check a mapping.

    Parameters
    ----------
    known : mapping
        The canonical columns of each kind of file.

    Raises
    ------
    ConfigurationError
        With all that is wrong, each under its place in the file.
    """
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError([(str(path), f"cannot be read ({error}); pass --map FILE")]) from error
    except yaml.YAMLError as error:
        raise ConfigurationError([(str(path), f"is no valid YAML: {' '.join(str(error).split())}")]) from error
    problems: Problems = []
    sections = _mapping(tree, str(path), "write sections such as `orders:`", problems)
    files = _files(sections.pop("files", None) or {}, problems)
    maps: dict[Entity, FileMap] = {}
    for name, section in sections.items():
        if name not in set(Entity):
            problems.append((str(name), f"unknown section; {_hint(str(name), [*Entity, 'files'])}"))
            continue
        columns = _mapping(section or {}, str(name), "write `our_column: their column`", problems)
        maps[Entity(name)] = _file_map(Entity(name), columns, known[Entity(name)], problems)
    if problems:
        raise ConfigurationError([(f"{path}: {place}", advice) for place, advice in problems])
    return ShopMapping(files=files, maps=maps)


def _files(tree: Any, problems: Problems) -> dict[str, Entity]:
    found = {}
    for stem, entity in _mapping(tree, "files", "write `FILE NAME: orders`", problems).items():
        if entity in set(Entity):
            found[str(stem)] = Entity(entity)
        else:
            problems.append((f"files.{stem}", f"{entity!r} is no kind of file; {_hint(str(entity), list(Entity))}"))
    return found


def _file_map(entity: Entity, tree: Mapping[Any, Any], known: Collection[str], problems: Problems) -> FileMap:
    columns: dict[str, str] = {}
    constants: dict[str, Any] = {}
    values: dict[str, Mapping[str, Any]] = {}
    for ours, told in tree.items():
        place = f"{entity}.{ours}"
        if ours not in known:
            problems.append((place, f"no column of ours; {_hint(str(ours), list(known))}"))
        elif isinstance(told, str) and told:
            columns[ours] = told
        elif isinstance(told, dict) and told:
            _one_column(ours, told, place, (columns, constants, values), problems)
        else:
            problems.append((place, "write the name of their column, or {constant: …}, or {column: …, values: {…}}"))
    return FileMap(columns=columns, constants=constants, values=values)


def _one_column(
    ours: str,
    told: Mapping[Any, Any],
    place: str,
    found: tuple[dict[str, str], dict[str, Any], dict[str, Mapping[str, Any]]],
    problems: Problems,
) -> None:
    columns, constants, values = found
    for key in told:
        if key not in ("column", "constant", "values"):
            problems.append((f"{place}.{key}", "unknown key; known here: column, constant, values"))
    if "constant" in told:
        if "column" in told or "values" in told:
            problems.append((place, "write either a constant or a column with values"))
        if isinstance(told["constant"], str | int | float) and not isinstance(told["constant"], bool):
            constants[ours] = told["constant"]
        else:
            problems.append((f"{place}.constant", "write a text or a number; a time in quotes"))
        return
    if "column" in told:
        if isinstance(told["column"], str) and told["column"]:
            columns[ours] = told["column"]
        else:
            problems.append((f"{place}.column", "write the name of their column"))
    if "values" in told:
        if isinstance(told["values"], dict) and told["values"]:
            values[ours] = {str(theirs): mine for theirs, mine in told["values"].items()}
        else:
            problems.append((f"{place}.values", "write their values and ours, such as {versandt: shipped}"))


def _mapping(tree: Any, place: str, advice: str, problems: Problems) -> dict[Any, Any]:
    if isinstance(tree, dict):
        return dict(tree)
    problems.append((place, f"must be a mapping; {advice}"))
    return {}


def _hint(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, 1)
    return f"did you mean {close[0]}?" if close else f"known here: {', '.join(known)}"
