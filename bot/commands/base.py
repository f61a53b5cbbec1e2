"""What the commands share: the wired application, `--config`, `--json`, and how things are printed."""

from __future__ import annotations

import getpass
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO, Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bot.clock import parse_instant
from bot.config import Settings
from bot.wiring import App

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON Lines instead of a table.")


def config_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let a command take `--config PATH` after its name too."""

    def remember(ctx: click.Context, _parameter: click.Parameter, value: Path | None) -> None:
        if value is not None:
            ctx.ensure_object(dict)["config_path"] = value

    return click.option(
        "--config",
        type=click.Path(path_type=Path),
        expose_value=False,
        callback=remember,
        is_eager=True,
        help="The configuration file.",
    )(function)


@contextmanager
def application() -> Iterator[App]:
    """Wire the application that the command line asked for; close it at the end."""
    app = App.from_config(click.get_current_context().ensure_object(dict).get("config_path"))
    try:
        yield app
    finally:
        app.close()


def instant_argument(text: str | None, settings: Settings) -> datetime | None:
    """Read an instant given on the command line; a naive one is in `shop.timezone`."""
    if text is None:
        return None
    try:
        return parse_instant(text, settings.shop.zone)
    except ValueError:
        raise click.BadParameter(f"{text!r} is no ISO 8601 time; write 2018-02-01 or 2018-02-01T09:00:00Z") from None


def cli_actor() -> str:
    """Name who acts at this command line, as decisions and the audit log keep it."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):  # a container's user may have no name
        return "cli:unknown"


def print_json(rows: Iterable[Mapping[str, Any]], file: IO[str] | None = None) -> int:
    """Print one JSON object a line to stdout or a file; return how many."""
    file, count = file or sys.stdout, 0
    for row in rows:
        file.write(json.dumps(row, ensure_ascii=False, default=_plain) + "\n")
        count += 1
    file.flush()
    return count


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print a table for people; nothing in it is taken for markup, and nothing is cut off."""
    # Without a style of its own a title given as text would lose the one that titles have.
    table = Table(title=Text(title, style="table.title"), title_justify="left")
    for column in columns:
        table.add_column(Text(column), overflow="fold")
    for row in rows:
        table.add_row(*(Text("" if cell is None else str(cell)) for cell in row))
    Console().print(table)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} is not JSON")
