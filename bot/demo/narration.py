"""Tells a person at a terminal what happens, and keeps account of what had to be seen and was not.

The tour checks itself: each `expect` is one thing that its step must show. Words only; nothing here calls the product.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich import box
from rich.console import Console, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Column, Table


class Narrator:
    """Prints numbered steps and remembers each expectation that was not met.

    Parameters
    ----------
    console : Console, optional
        Where to print; a plain one of at most 110 columns otherwise.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or _console()
        self.unmet: list[str] = []
        self.met = 0
        self._steps = 0
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds since the beginning, in real time."""
        return time.monotonic() - self._began

    def title(self, text: str, *lines: str) -> None:
        """Open with what this is."""
        self.console.print(Panel("\n".join(escape(line) for line in lines), title=escape(text), box=box.ROUNDED))

    def step(self, text: str) -> None:
        """Begin the next step."""
        self._steps += 1
        self.console.print()
        self.console.rule(f"[bold]{self._steps}. {escape(text)}[/bold] [dim]{self.seconds:.1f} s[/dim]", align="left")

    def say(self, *lines: str) -> None:
        """Say what happened, a sentence a line."""
        for line in lines:
            words = line.lstrip(" ") or " "
            self.console.print(Padding(escape(words), (0, 0, 0, 2 + len(line) - len(words)), expand=False))

    def event(self, when: str, words: str, *, ahead: bool = False) -> None:
        """Say what happened at a time of the day, or (`ahead`) what will."""
        row = Table.grid(Column(width=11), Column())
        row.add_row(f"  {escape(when)}", f"[dim]{escape(words)}[/dim]" if ahead else escape(words))
        self.console.print(row)

    def quote(self, who: str, text: str) -> None:
        """Show words as a person sees them."""
        self.console.print(Panel(escape(text.strip()), title=escape(who), title_align="left", box=box.SQUARE, width=96))

    def show(self, what: RenderableType) -> None:
        """Show a card, a table or anything else that rich can draw."""
        self.console.print(what)

    def table(self, title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Show a small table."""
        table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
        for column in columns:
            table.add_column(column)
        for row in rows:
            table.add_row(*("" if cell is None else escape(str(cell)) for cell in row))
        self.console.print(table)

    def expect(self, holds: bool, claim: str) -> bool:
        """Note one thing that must be so; say whether it is."""
        if holds:
            self.met += 1
            self.console.print(f"  [green]✓[/green] {escape(claim)}")
        else:
            self.unmet.append(claim)
            self.console.print(f"  [bold red]✗ not so:[/bold red] {escape(claim)}")
        return holds

    def close(self) -> bool:
        """Say how it ended; return whether all was as it must be."""
        self.console.print()
        total = self.met + len(self.unmet)
        if self.unmet:
            self.console.print(f"[bold red]{len(self.unmet)} of {total} checks did not hold:[/bold red]")
            for claim in self.unmet:
                self.console.print(f"  ✗ {escape(claim)}")
        else:
            self.console.print(f"[bold green]All {total} checks held, in {self.seconds:.0f} s.[/bold green]")
        return not self.unmet


def file_link(path: Path) -> str:
    """Return a path as short as it can be typed from here."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path.resolve())


def _console() -> Console:
    console = Console(highlight=False)
    if not console.is_terminal:
        return Console(highlight=False, width=110)
    return console if console.width <= 110 else Console(highlight=False, width=110)
