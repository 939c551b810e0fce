"""The named statements of sql/queries: how a file is read, and that names in the code and in the files agree."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from ldtm_lib.database.queries import SQL_FOLDER, query, read_queries
from ldtm_lib.errors import QueryError
from tests.repository import REPOSITORY

SOURCES = [
    REPOSITORY / folder for folder in ("ldtm_lib", "ldtm_cli", "ldtm_assets", "ldtm_dashboard", "tests", "benchmarks")
]
SHIPPED = SOURCES[:4]


def calls(folders: list[Path]) -> Iterator[tuple[str, str | None]]:
    """Each call of `query` outside of this file: where it stands, and the name where it is written out."""
    for path in (path for folder in folders for path in sorted(folder.rglob("*.py")) if path != Path(__file__)):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "query":
                name = node.args[0].value if isinstance(node.args[0], ast.Constant) else None
                yield f"{path.relative_to(REPOSITORY)}:{node.lineno}", name if isinstance(name, str) else None


def test_every_query_that_the_code_names_exists() -> None:
    for place, name in calls(SOURCES):
        assert name is not None, f"{place} does not write the name of its query out"
        assert query(name), place


def test_every_query_of_the_files_is_used() -> None:
    used = {name for _, name in calls(SHIPPED)}
    files = sorted((SQL_FOLDER / "queries").glob("*.sql"))
    assert len(files) >= 12
    assert {f"{path.stem}.{name}" for path in files for name in read_queries(path)} == used


def test_a_file_is_read_statement_by_statement(tmp_path: Path) -> None:
    file = tmp_path / "trips.sql"
    file.write_text(
        "-- name: newest\n-- The newest one.\nselect 1;\n\n-- name: of_day\nselect x[a:b - 1], '%%', %(day)s;\n"
    )
    assert read_queries(file) == {
        "newest": b"-- The newest one.\nselect 1;",
        "of_day": b"select x[a:b - 1], '%%', %(day)s;",
    }


def test_an_unknown_name_is_answered_with_the_file_and_its_names() -> None:
    with pytest.raises(
        QueryError, match=r"sql/queries/gpu\.sql has no query 'fill'; it has grants, held_keys, is_held_here"
    ):
        query("gpu.fill")
    with pytest.raises(
        QueryError, match=r"no file .*sql/queries/trips\.sql; the packages with queries are alerts, audit"
    ):
        query("trips.newest")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("-- name: a\nselect 1;\n-- name: a\nselect 2;\n", r"q\.sql names two queries 'a'; rename one"),
        ("-- name: a\n\n-- name: b\nselect 2;\n", r"the query 'a' in .*q\.sql has no text"),
        ("select 1;\n-- name: a\nselect 2;\n", r"q\.sql has text before its first `-- name:` line"),
        ("-- name: a-b\nselect 2;\n", r"q\.sql names a query 'a-b'; a name consists of letters"),
        ("-- name:\nselect 2;\n", r"q\.sql names a query ''; a name consists of letters"),
    ],
)
def test_a_file_that_is_not_plain_is_refused(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "q.sql"
    file.write_text(text)
    with pytest.raises(QueryError, match=message):
        read_queries(file)
