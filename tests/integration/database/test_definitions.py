"""What became of the objects that the migrations create."""

import json

import pytest

from ldtm_lib.database.connection import Connection, Database
from ldtm_lib.database.definitions import DEFINITIONS_FILE, altered_definitions, read_definitions
from ldtm_lib.database.migrate import migrate
from ldtm_lib.sessions import Calendar


def test_the_file_holds_the_definitions_of_a_fresh_schema(conn: Connection) -> None:
    stored = json.loads(DEFINITIONS_FILE.read_text())
    assert read_definitions(conn) == stored, "`make definitions` writes it after a new migration"
    assert altered_definitions(conn) == []


def test_the_name_of_the_schema_is_in_no_definition(empty_database: Database, calendar: Calendar) -> None:
    named = empty_database.with_schema("another_name")
    migrate(named, calendar)
    with named.transaction() as conn:
        assert altered_definitions(conn) == []


def test_a_view_that_was_made_again_from_its_own_definition_is_the_same(conn: Connection) -> None:
    """As a restored dump makes it."""
    views = conn.execute(
        "select relname, pg_get_viewdef(oid) from pg_class"
        " where relnamespace = current_schema()::regnamespace and relkind = 'v'"
    ).fetchall()
    assert views
    for name, definition in views:
        conn.execute(f"create or replace view {name} as {definition}".encode())
    assert altered_definitions(conn) == []


@pytest.mark.parametrize(
    ("change", "clause"),
    [
        (
            "create or replace function wilson_low(successes bigint, trials bigint) returns double precision"
            " immutable return 0.98",
            "the function wilson_low(successes bigint, trials bigint) is not the one that the migrations create",
        ),
        (
            "drop trigger snapshot_is_written_once on snapshot",
            "the trigger snapshot_is_written_once of snapshot is missing",
        ),
        (
            "create or replace trigger snapshot_is_written_once after update on snapshot for each row"
            " execute function snapshot_is_written_once()",
            "the trigger snapshot_is_written_once of snapshot is not the one that the migrations create",
        ),
        (
            "create trigger helper before insert on snapshot for each row execute function snapshot_is_written_once()",
            "the trigger helper of snapshot is not one of LDTM's",
        ),
        (
            "alter table snapshot drop constraint snapshot_intervals_are_nested",
            "the constraint snapshot_intervals_are_nested of snapshot is missing",
        ),
        (
            "alter table snapshot alter recorded_at set default '2013-01-02'",
            "the column recorded_at of snapshot is not the one that the migrations create",
        ),
        (
            "create or replace view current_bar as select * from bar",
            "the view current_bar is not the one that the migrations create",
        ),
        (
            "create function wilson_low(k numeric, n numeric) returns double precision immutable return 0.98",
            "the function wilson_low(k numeric, n numeric) has the name of one of LDTM's functions but other arguments",
        ),
    ],
)
def test_an_altered_object_is_named(conn: Connection, change: str, clause: str) -> None:
    conn.execute(change.encode())
    assert altered_definitions(conn) == [clause]


def test_objects_of_the_owners_own_are_no_difference(conn: Connection) -> None:
    conn.execute("create view mine as select ticker from snapshot")
    conn.execute("create function mine() returns integer immutable return 1")
    conn.execute("create table mine_too (a integer check (a > 0))")
    assert altered_definitions(conn) == []
