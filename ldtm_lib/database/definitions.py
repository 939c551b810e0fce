"""Functions, triggers, constraints, columns and views of a schema, compared with those that the migrations create.

Migrations are recorded by name and hash, which does not show later changes of their objects. `sql/definitions.json`
holds a hash per object of a fresh schema; PostgreSQL 15 to 18 write the same definitions, except that some versions
name the table before a view's column.
"""

import hashlib
import json
import re
from collections.abc import Mapping

from ldtm_lib.database.connection import Connection
from ldtm_lib.database.queries import SQL_FOLDER, query

DEFINITIONS_FILE = SQL_FOLDER / "definitions.json"
OF_VIEWS = re.compile(r"\b[a-z_][a-z_0-9]*\.| AS text\b")
"""Parts of a view's definition that PostgreSQL may state or leave out: the table before a column, which version 16 and
later leave out, and the name of a constant's column, which is stated after a dump was restored."""
DIGITS = 16


def read_definitions(conn: Connection) -> dict[str, str]:
    """The first digits of the SHA-256 of each object's definition, by the object's kind and name, sorted."""
    found: dict[str, str] = {}
    for name, definition in conn.execute(query("definitions.read")):
        text = OF_VIEWS.sub("", definition) if name.startswith("view ") else definition
        found[name] = hashlib.sha256(" ".join(text.split()).encode()).hexdigest()[:DIGITS]
    return dict(sorted(found.items()))


def altered_definitions(conn: Connection) -> list[str]:
    """Differences from the migrations, one clause per object, such as `the trigger t of snapshot is missing`.

    Objects that the owner added are not differences, unless they are triggers on LDTM's tables, or functions that have
    the name of a function of LDTM.
    """
    return differences(read_definitions(conn), json.loads(DEFINITIONS_FILE.read_text(encoding="utf-8")))


def differences(found: Mapping[str, str], expected: Mapping[str, str]) -> list[str]:
    """Differences between found and expected definitions, as clauses like those of `altered_definitions`."""
    clauses = [
        f"the {name} is {'missing' if name not in found else 'not the one that the migrations create'}"
        for name, sha256 in expected.items()
        if found.get(name) != sha256
    ]
    tables = {_owner(name) for name in expected if name.startswith("column ")}
    functions = {_stem(name) for name in expected if name.startswith("function ")}
    for name in found.keys() - expected.keys():
        if name.startswith("trigger ") and _owner(name) in tables:
            clauses.append(f"the {name} is not one of LDTM's")
        elif name.startswith("function ") and _stem(name) in functions:
            clauses.append(f"the {name} has the name of one of LDTM's functions but other arguments")
    return sorted(clauses)


def _owner(name: str) -> str:
    return name.rpartition(" of ")[2]


def _stem(name: str) -> str:
    return name.partition("(")[0]
