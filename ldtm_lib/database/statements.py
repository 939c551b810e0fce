"""The texts of sql/: one statement a file, found by its path, never formatted."""

from functools import cache
from pathlib import Path

SQL_FOLDER = Path(__file__).parents[2] / "sql"


@cache
def statement(name: str) -> bytes:
    """The text of sql/<name>.sql, for example `prices/current_bars`."""
    return (SQL_FOLDER / f"{name}.sql").read_bytes()
