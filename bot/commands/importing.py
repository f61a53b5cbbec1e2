"""`aftercare import`."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

from bot.commands.base import application, config_option, json_option, print_json, print_table

DONE_WITH_REJECTS = 3


@click.command("import")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="PATH…")
@click.option("--source", default="files", show_default=True, help="Where the rows come from; ids are unique within.")
@click.option("--map", "mapping", type=click.Path(path_type=Path), help="A YAML file: our column: theirs.")
@click.option(
    "--rejects",
    type=click.Path(path_type=Path),
    default=Path("rejects.csv"),
    show_default=True,
    help="Where refused rows are listed.",
)
@config_option
@json_option
def import_command(paths: tuple[Path, ...], source: str, mapping: Path | None, rejects: Path, as_json: bool) -> int:
    """Read customers, products, orders, order_lines and touchpoints (CSV or JSON Lines, plain or .gz).

    PATH is a folder with any of these files, or single files. What cannot be used is listed with place and
    reason, the rest lands, and the exit status is 3. Importing the same file again changes nothing.
    """
    with application() as app, _bar() as bar:
        tasks: dict[str, TaskID] = {}

        def advance(file: str, done: int, size: int) -> None:
            if file not in tasks:
                tasks[file] = bar.add_task(Path(file).name, total=size)
            bar.update(tasks[file], completed=done)

        reports = app.importer.import_paths(paths, source=source, mapping=mapping, rejects=rejects, progress=advance)
    if as_json:
        print_json(report.line() for report in reports)
    else:
        counts = ("read", "new", "updated", "unchanged", "rejected")
        rows = ([Path(report.file).name, *(f"{report.line()[name]:,}" for name in counts)] for report in reports)
        print_table("Imported", ("file", *counts), rows)
    refused = sum(report.rejected for report in reports)
    if not refused:
        return 0
    click.echo(f"{refused:,} rows were refused; {rejects} names each with its line and the reason.", err=True)
    return DONE_WITH_REJECTS


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
