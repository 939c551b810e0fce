"""One canonical encoding, worked out three times: by PostgreSQL, by the library, by the stand-alone verifier."""

import hashlib
from datetime import UTC

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ldtm_lib.audit.encoding import Field, Type, Value, encode
from ldtm_lib.audit.events import FIELDS, FORECASTS, HEAD
from ldtm_lib.audit.seal import SEAL_FIELDS
from ldtm_lib.database.connection import Connection
from tests.integration.audit.verifier import verifier
from tests.repository import REPOSITORY

TEXTS = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=40)
MOMENTS = st.datetimes(timezones=st.just(UTC))
VALUES: dict[Type, st.SearchStrategy[Value]] = {
    "int8": st.integers(-(2**63), 2**63 - 1),
    "text": st.text(st.characters(min_codepoint=1, max_codepoint=126), max_size=40),
    "utf8": TEXTS,
    "date": st.dates(),
    "timestamptz": MOMENTS,
    "float8": st.floats(allow_nan=False),
    "bool": st.booleans(),
    "bytea": st.binary(max_size=40),
}
TYPES: list[Type] = list(VALUES)
ROWS = st.lists(
    st.sampled_from(TYPES).flatmap(lambda of: st.tuples(st.just(of), st.none() | VALUES[of])), min_size=1, max_size=8
)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(row=ROWS)
def test_the_librarys_bytes_are_those_that_postgresql_sends(conn: Connection, row: list[tuple[Type, Value]]) -> None:
    fields = [Field(f"f{n}", of) for n, (of, _) in enumerate(row)]
    columns = ", ".join(
        f"convert_to(%(f{n})s::text, 'UTF8')" if of == "utf8" else f"%(f{n})s::{of}" for n, (of, _) in enumerate(row)
    )
    query = f"select record_send(row({columns}))"
    (sent,) = conn.execute(query.encode(), {f"f{n}": value for n, (_, value) in enumerate(row)}).fetchone() or (None,)
    assert encode(fields, [value for _, value in row]) == sent


def test_the_stand_alone_verifier_knows_the_same_fields() -> None:
    for kind, named in verifier.FIELDS.items():
        known = SEAL_FIELDS if kind == "seal" else (*HEAD, *FIELDS[kind])
        assert [tuple(field.split(":")) for field in named.split()] == [(f.name, f.type) for f in known], kind
    for version, fields in FORECASTS.items():
        listed = [tuple(field.split(":")) for field in verifier.FORECASTS[f"LDTM proof {version}"].split()]
        assert listed == [(f.name, f.type) for f in (*HEAD, *fields)], version
    assert len(verifier.FORECASTS) == len(FORECASTS)
    assert verifier.FORECASTS["LDTM proof 1"] == verifier.FIELDS["forecast"]
    proven = {"seal", "forecast", "fill", "void", "restatement", "configuration"}
    assert set(verifier.FIELDS) == proven, "what a proof can hold"


def test_the_document_lists_every_field_of_every_kind_of_event() -> None:
    text = " ".join((REPOSITORY / "docs" / "record-format.md").read_text().split())
    for kind, fields in FIELDS.items():
        listed = ", ".join(f"{field.name} {field.type}" for field in fields)
        assert f"- **{kind}**: {listed}" in text, kind
    for version in (2, 3):
        new = FORECASTS[version][len(FORECASTS[version - 1]) :]
        added = ", ".join(f"{field.name} {field.type}" for field in new)
        assert f"- **forecast**, version {version}: the fields of version {version - 1}, then {added}" in text
    assert text.count("- **") >= len(FIELDS)


def test_every_column_of_a_forecast_and_of_its_fills_is_in_an_event(conn: Connection) -> None:
    columns = {
        name
        for (name,) in conn.execute(
            "select column_name from information_schema.columns where table_schema = 'ldtm' and table_name = 'snapshot'"
        )
    }
    covered = {"ticker"} | {field.name for field in FORECASTS[max(FORECASTS)]}
    for horizon in ("next_day", "next_monday", "one_month"):
        covered |= {f"{horizon}_{field.name}" for field in FIELDS["fill"]} & columns
    assert covered == columns, "a new column must go into the events"


def test_a_leaf_and_a_node_cannot_be_mistaken_for_each_other() -> None:
    left, right = b"l" * 32, b"r" * 32
    node = hashlib.sha256(b"\x01" + left + right).digest()
    assert hashlib.sha256(b"\x00" + left + right).digest() != node
