"""The statements of sql/queries: one file per package, with several named statements that are sent unchanged.

A line `-- name: fill` begins a statement in `ledger.sql`; `query("ledger.fill")` is its text, with psycopg's named
parameters (`%(ticker)s`). No statement is ever formatted or composed.
"""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from ldtm_lib.errors import QueryError
from ldtm_lib.installation import FILES

SQL_FOLDER = FILES / "sql"
NAME_LINE = re.compile(r"^-- name: *(\S*) *\n", re.MULTILINE)


@cache
def query(name: str) -> bytes:
    """The text of one statement by `package.name`, for example `prices.current_bars`.

    Raises QueryError when the package has no file or the file has no statement of that name.
    """
    package, _, key = name.partition(".")
    path = SQL_FOLDER / "queries" / f"{package}.sql"
    statements = read_queries(path)
    if key not in statements:
        raise QueryError(f"{path} has no query {key!r}; it has {', '.join(sorted(statements))}")
    return statements[key]


@cache
def read_queries(path: Path) -> Mapping[str, bytes]:
    """Every statement of a file by its name, in the order of the file.

    Raises QueryError for a missing file, a name that is not an identifier or is used twice, a statement without text,
    and text before the first name.
    """
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in path.parent.glob("*.sql")))
        raise QueryError(f"there is no file {path}; the packages with queries are {known}")
    before, *parts = NAME_LINE.split(path.read_text(encoding="utf-8"))
    if before.strip():
        raise QueryError(f"{path} has text before its first `-- name:` line; move it below one")
    statements: dict[str, bytes] = {}
    for name, text in zip(parts[::2], parts[1::2], strict=True):
        if not name.isidentifier():
            raise QueryError(f"{path} names a query {name!r}; a name consists of letters, digits and underscores")
        if name in statements:
            raise QueryError(f"{path} names two queries {name!r}; rename one of them")
        if not text.strip():
            raise QueryError(f"the query {name!r} in {path} has no text; write its statement or remove its name")
        statements[name] = text.strip().encode()
    return statements
