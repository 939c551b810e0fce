"""The layouts of tables that commands print (rows below headings, facts next to their names)."""

from collections.abc import Iterable
from typing import Any

from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.markup import escape
from rich.table import Table
from rich.text import Text


class FoldingTable(Table):
    """A table that folds words that are longer than their column, such as paths, instead of cutting them.

    Its title is wrapped at the width of the console, not of the table.
    """

    def add_column(self, *arguments: Any, **named: Any) -> None:
        """Add a column."""
        super().add_column(*arguments, **{"overflow": "fold", **named})

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Render the title, which may be wider than the table, then the table."""
        title, self.title = self.title, None
        if title is not None:
            yield Text.from_markup(str(title), style="bold")
        yield from super().__rich_console__(console, options)
        self.title = title


def rows_table(title: str | None = None, *, is_dense: bool = False) -> Table:
    """Create a table of rows below headings; `is_dense` leaves one space between columns instead of two."""
    return FoldingTable(
        title=title,
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, 0 if is_dense else 1, 0, 0),
    )


def bullets(lines: Iterable[str]) -> Table:
    """Create a list of lines, each of which is wrapped behind its bullet."""
    table = FoldingTable(box=None, show_header=False, pad_edge=False, padding=(0, 1, 0, 0))
    for line in lines:
        table.add_row("·", escape(line))
    return table


def facts_table(*, num_names: int = 1) -> Table:
    """Create a table of facts after one or more names, without headings and lines."""
    table = FoldingTable(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for _ in range(num_names):
        table.add_column(no_wrap=True)
    table.add_column()
    return table
