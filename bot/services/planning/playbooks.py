"""Reading playbooks from YAML: the shipped ones and a shop's own, each mistake with file and line.

A shop's file with the id of a shipped playbook takes its place. What a playbook may say is
`bot.decide.playbook_reading`'s business.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from bot.config import Settings
from bot.decide.playbook import Playbook
from bot.decide.playbook_reading import PlaybookError, Problem, read_playbook
from bot.errors import ConfigurationError, InputError, NotFound

__all__ = ["SHIPPED", "PlaybookFile", "Playbooks", "load_playbooks", "read_file", "read_text"]

SHIPPED = Path(__file__).parents[2] / "playbooks"
# No playbook for people needs more; it keeps a file of nested aliases from growing without end.
MOST_NODES = 5000


@dataclass(frozen=True, kw_only=True)
class PlaybookFile:
    """A playbook and where it stands.

    Attributes
    ----------
    text : str
        What the file says; empty where it was read from none.
    enabled : bool
        Whether it is in force: as its file says, unless the shop's settings say otherwise.
    """

    playbook: Playbook
    path: Path
    shipped: bool
    text: str = ""
    enabled: bool = True


class Playbooks:
    """All playbooks that there are, by id, and which of them are in force."""

    def __init__(self, files: Collection[PlaybookFile]) -> None:
        self._files = {one.playbook.id: one for one in files}

    @property
    def files(self) -> list[PlaybookFile]:
        """The playbooks with their files, by id, also those that are not in force."""
        return [self._files[name] for name in sorted(self._files)]

    @property
    def all(self) -> list[Playbook]:
        """The playbooks that are in force, by id."""
        return [one.playbook for one in self.files if one.enabled]

    @property
    def known(self) -> list[Playbook]:
        """The playbooks, by id, also those that are not in force."""
        return [one.playbook for one in self.files]

    def text(self, playbook_id: str, version: str) -> str | None:
        """Return what the file of a version says; None where that version is not read."""
        found = self._files.get(playbook_id)
        return found.text if found is not None and found.playbook.version == version else None

    def get(self, playbook_id: str) -> PlaybookFile:
        """Return one playbook.

        Raises
        ------
        NotFound
            There is none with this id.
        """
        if playbook_id not in self._files:
            raise NotFound(f"there is no playbook {playbook_id!r}; known: {', '.join(sorted(self._files))}")
        return self._files[playbook_id]


def load_playbooks(settings: Settings, templates: Collection[str] | None = None) -> Playbooks:
    """Read the shipped playbooks and those in `playbooks.dir`.

    Raises
    ------
    ConfigurationError
        The folder of `playbooks.dir` does not exist, or `playbooks.enable` or `playbooks.disable` names no playbook.
    InputError
        With every mistake of every file.
    """
    folders = [(SHIPPED, True)]
    if settings.playbooks.dir:
        own = settings.path(settings.playbooks.dir)
        if not own.is_dir():
            raise ConfigurationError([("playbooks.dir", f"{own} is no folder; create it or leave the setting empty")])
        folders.append((own, False))
    found: dict[str, PlaybookFile] = {}
    mistakes: list[str] = []
    for folder, shipped in folders:
        for path in sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")]):
            try:
                text = _text(path)
                playbook = read_text(text, str(path), templates)
            except InputError as error:
                mistakes.append(str(error))
                continue
            other = found.get(playbook.id)
            if other is not None and other.shipped == shipped:
                mistakes.append(f"{path}:1: id: {playbook.id} is already the id of {other.path}; choose another")
            found[playbook.id] = PlaybookFile(
                playbook=playbook,
                path=path,
                shipped=shipped,
                text=text,
                enabled=_in_force(playbook, settings),
            )
    if mistakes:
        raise InputError("\n".join(mistakes))
    _check_named(settings, found)
    return Playbooks(list(found.values()))


def _in_force(playbook: Playbook, settings: Settings) -> bool:
    if playbook.id in settings.playbooks.disable:
        return False
    return playbook.enabled or playbook.id in settings.playbooks.enable


def _check_named(settings: Settings, found: Collection[str]) -> None:
    named = {"enable": settings.playbooks.enable, "disable": settings.playbooks.disable}
    wrong = [
        (f"playbooks.{key}", f"there is no playbook {name!r}; known: {', '.join(sorted(found))}")
        for key, names in named.items()
        for name in names
        if name not in found
    ]
    if wrong:
        raise ConfigurationError(wrong)


def read_file(path: Path, templates: Collection[str] | None = None) -> Playbook:
    """Read one file.

    Raises
    ------
    InputError
        The file cannot be read, is no YAML, or (PlaybookError) is no proper playbook.
    """
    return read_text(_text(path), str(path), templates)


def read_text(text: str, file: str, templates: Collection[str] | None = None) -> Playbook:
    """Read what a file says; raises PlaybookError as `read_file` does."""
    tree, lines, duplicates = _parse(file, text)
    version = hashlib.sha256(text.encode()).hexdigest()[:12]
    return read_playbook(tree, lines, file=file, version=version, templates=templates, duplicates=duplicates)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as UTF-8 text ({type(error).__name__})") from error


def _parse(path: str, text: str) -> tuple[Any, dict[tuple[str | int, ...], int], list[Problem]]:
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        walk = _Walk(loader)
        tree = None if node is None else walk.value(node, ())
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark is not None else 1
        what = getattr(error, "problem", None) or str(error).splitlines()[0]
        problem = Problem(path="the file", line=line, message=f"is no valid YAML: {what}")
        raise PlaybookError(path, [problem]) from error
    finally:
        loader.dispose()
    return tree, walk.lines, walk.problems


class _Walk:
    """Turns parsed nodes into plain values and remembers on which line each stands."""

    def __init__(self, loader: yaml.SafeLoader) -> None:
        self.lines: dict[tuple[str | int, ...], int] = {}
        self.problems: list[Problem] = []
        self._loader = loader
        self._seen = 0

    def value(self, node: yaml.Node, here: tuple[str | int, ...]) -> Any:
        self._seen += 1
        if self._seen > MOST_NODES:
            raise ValueError(f"more than {MOST_NODES} values")
        self.lines.setdefault(here, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, here)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(child, (*here, index)) for index, child in enumerate(node.value)]
        return self._loader.construct_object(node, deep=True)

    def _mapping(self, node: yaml.MappingNode, here: tuple[str | int, ...]) -> dict[Any, Any]:
        found: dict[Any, Any] = {}
        for key_node, child in node.value:
            # `on`, `no` and `yes` are words here, whatever YAML 1.1 says.
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else str(key_node.tag)
            path = (*here, key)
            line = key_node.start_mark.line + 1
            if key in found:
                name = ".".join(str(part) for part in path)
                self.problems.append(Problem(path=name, line=line, message="is written twice; keep one"))
                continue
            self.lines[path] = line
            found[key] = self.value(child, path)
        return found
