"""The two layouts of tables that commands print: rows below headings, and facts next to their names."""

from rich import box
from rich.table import Table


def rows_table(title: str | None = None, *, is_dense: bool = False) -> Table:
    """Create a table of rows below headings; `is_dense` leaves one space between columns instead of two."""
    return Table(
        title=title,
        title_justify="left",
        title_style="bold",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, 0 if is_dense else 1, 0, 0),
    )


def facts_table() -> Table:
    """Create a table of names and facts, without headings and lines."""
    return Table(box=None, show_header=False, pad_edge=False, padding=(0, 1, 0, 0))
