"""Rows of the record as PostgreSQL sends them in binary form, with their leaves computed by this program.

The server sends values and computes no hashes, so altered functions of the server have no effect. Rows whose fields
have the same lengths have one layout: their bytes form a table, whose columns are cut, joined and converted all at
once.
"""

import hashlib
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus

from ldtm_lib.audit.encoding import DAY_ZERO, LEAF, OIDS, Field, Type
from ldtm_lib.database.connection import Connection
from ldtm_lib.wording import counted

BATCH = 1 << 15
"""Rows that are held in memory in binary form; 32,768 forecasts take 20 MB."""
SIGNATURE = b"PGCOPY\n\xff\r\n\x00"
SIZES: dict[Type, int] = {"int8": 8, "date": 4, "timestamptz": 8, "float8": 8, "bool": 1}
LEAF_BYTES = 32
NULL = -1
DAYS_OF_EPOCH = DAY_ZERO.toordinal() - 719163
"""Days between 1970-01-01, from which polars counts, and 2000-01-01, from which PostgreSQL counts."""

Bytes = npt.NDArray[np.uint8]


class UnreadableRows(Exception):
    """The server sent data that are not the binary form of rows; the message describes them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HashedSelect:
    """A statement whose columns are: the leaf on record, the version of its format, `beside`, and the hashed fields."""

    statement: bytes
    beside: tuple[Field, ...]
    fields: Mapping[int, tuple[Field, ...]]
    """By version, head included; each version has the fields of the one before it and more."""
    kept: frozenset[str]
    """Hashed fields that the result has as columns, `event_id` among them."""

    @property
    def columns(self) -> tuple[Field, ...]:
        """All columns behind the leaf, in the order of the statement."""
        return (Field("version", "int8"), *self.beside, *self.fields[max(self.fields)])

    @property
    def wanted(self) -> dict[int, Field]:
        """The columns of the result, by their places in a row."""
        num_own = 1 + len(self.beside)
        return {at + 1: field for at, field in enumerate(self.columns) if at < num_own or field.name in self.kept}


def read_hashed(conn: Connection, select: HashedSelect) -> pl.DataFrame:
    """The rows of a statement by `event_id`, with a column `is_right`, true if the leaf on record is that of the row.

    Dates are dates, moments are microseconds since 2000-01-01 UTC; an infinite moment is the largest or smallest
    integer. Raises UnreadableRows.
    """
    schema = {"is_right": pl.Boolean} | {field.name: POLARS[field.type] for field in select.wanted.values()}
    parts = [pl.DataFrame(schema=schema)]
    for table, places in _tables(conn, select.statement):
        _require_fields(places, 1 + len(select.columns))
        columns = {field.name: _column(table, places[at], field.type) for at, field in select.wanted.items()}
        parts.append(pl.DataFrame({"is_right": _leaves_are_right(table, places, select)} | columns))
    return pl.concat(parts).sort("event_id", nulls_last=True)


def read_rows(conn: Connection, statement: bytes, fields: Sequence[Field]) -> pl.DataFrame:
    """The rows of a statement with these columns, in any order and with moments as in `read_hashed`."""
    parts = [pl.DataFrame(schema={field.name: POLARS[field.type] for field in fields})]
    for table, places in _tables(conn, statement):
        _require_fields(places, len(fields))
        parts.append(
            pl.DataFrame({f.name: _column(table, place, f.type) for f, place in zip(fields, places, strict=True)})
        )
    return pl.concat(parts)


def _tables(conn: Connection, statement: bytes) -> Iterator[tuple[Bytes, list[tuple[int, int]]]]:
    """The rows of a statement, grouped by layout, with the first byte and the length of their fields."""
    for rows in _batches(conn, statement):
        by_length: dict[int, list[bytes]] = {}
        for row in rows:
            by_length.setdefault(len(row), []).append(row)
        for length, group in by_length.items():
            yield from _layouts(np.frombuffer(b"".join(group), dtype=np.uint8).reshape(len(group), length))


def _batches(conn: Connection, statement: bytes) -> Iterator[list[bytes]]:
    """The rows of a COPY, which PostgreSQL sends as one message per row.

    They are read from libpq directly: psycopg's own reader takes several times as long per row.
    """
    libpq = conn.pgconn
    result = libpq.exec_(b"copy (" + statement.rstrip(b";") + b") to stdout (format binary)")
    if result.status != ExecStatus.COPY_OUT:
        raise error_from_result(result)
    size, message = libpq.get_copy_data(0)
    try:
        header = len(SIGNATURE) + 8
        if size > 0 and bytes(message[: len(SIGNATURE)]) != SIGNATURE:
            raise UnreadableRows("a COPY with an unknown signature")
        rows = [bytes(message[header:])] if size > header + 2 else []
        while size > 0:
            size, message = libpq.get_copy_data(0)
            if size > 2:
                rows.append(bytes(message))
                if len(rows) == BATCH:
                    yield rows
                    rows = []
        yield rows
    finally:
        while size > 0:
            size, _ = libpq.get_copy_data(0)
        while (result := libpq.get_result()) is not None:
            if result.status != ExecStatus.COMMAND_OK:
                raise error_from_result(result)


def _layouts(table: Bytes) -> Iterator[tuple[Bytes, list[tuple[int, int]]]]:
    """Groups of rows with equal lengths of all fields, and the first byte and the length of each field in them."""
    while len(table):
        places = _places(table[0].tobytes())
        sizes = np.array([0, 1, *(at for start, _ in places for at in range(start - 4, start))])
        alike = (table[:, sizes] == table[0, sizes]).all(axis=1)
        yield table[alike], places
        table = table[~alike]


def _places(row: bytes) -> list[tuple[int, int]]:
    places: list[tuple[int, int]] = []
    try:
        (num_fields,) = struct.unpack_from(">h", row)
        at = 2
        for _ in range(num_fields):
            (length,) = struct.unpack_from(">i", row, at)
            places.append((at + 4, length))
            at += 4 + max(length, 0)
    except struct.error:
        raise UnreadableRows("a row that ends within a field") from None
    if at != len(row):
        raise UnreadableRows(f"a row of {counted(len(row), 'byte')} whose fields take {at}")
    return places


def _require_fields(places: Sequence[tuple[int, int]], expected: int) -> None:
    if len(places) != expected:
        raise UnreadableRows(f"a row of {counted(len(places), 'field')} instead of {expected}")


def _leaves_are_right(table: Bytes, places: Sequence[tuple[int, int]], select: HashedSelect) -> pl.Series:
    """True for each leaf on record that equals the leaf of its row, in the version that the row names."""
    right = np.zeros(len(table), dtype=bool)
    if places[0][1] == LEAF_BYTES:
        versions = _column(table, places[1], "int8").to_numpy()
        for version in np.unique(versions):
            of_version = versions == version
            right[of_version] = _is_right(table[of_version], places, select, int(version))
    return pl.Series(right)


def _is_right(
    table: Bytes, places: Sequence[tuple[int, int]], select: HashedSelect, version: int
) -> npt.NDArray[np.bool_]:
    """The result of `_leaves_are_right` for rows of one version; fields that a version does not have must be NULL."""
    hashed = places[len(select.beside) + 2 :]
    fields = select.fields.get(version)
    if fields is None or any(length != NULL for _, length in hashed[len(fields) :]):
        return np.zeros(len(table), dtype=bool)
    template = bytearray(LEAF + struct.pack(">i", len(fields)))
    copied: list[tuple[int, int, int]] = []
    for field, (start, length) in zip(fields, hashed, strict=False):
        template += struct.pack(">I", OIDS[field.type])
        size = 4 + max(length, 0)
        copied.append((len(template), start - 4, size))
        template += bytes(size)
    canonical = np.tile(np.frombuffer(bytes(template), dtype=np.uint8), (len(table), 1))
    for to, start, size in copied:
        canonical[:, to : to + size] = table[:, start : start + size]
    content, size = memoryview(canonical.tobytes()), len(template)
    leaves = b"".join(hashlib.sha256(content[at : at + size]).digest() for at in range(0, len(content), size))
    start, _ = places[0]
    found = np.frombuffer(leaves, dtype=np.uint8).reshape(len(table), LEAF_BYTES)
    return (found == table[:, start : start + LEAF_BYTES]).all(axis=1)


POLARS: dict[Type, pl.DataType | type[pl.DataType]] = {
    "int8": pl.Int64,
    "text": pl.String,
    "utf8": pl.String,
    "date": pl.Date,
    "timestamptz": pl.Int64,
    "float8": pl.Float64,
    "bool": pl.Boolean,
    "bytea": pl.Binary,
}


def _column(table: Bytes, place: tuple[int, int], of_type: Type) -> pl.Series:
    start, length = place
    dtype = POLARS[of_type]
    if length == NULL:
        return pl.Series(values=[None], dtype=dtype).new_from_index(0, len(table))
    if of_type in SIZES and length != SIZES[of_type]:
        raise UnreadableRows(f"a value of {counted(length, 'byte')} that should be {of_type}")
    cut = np.ascontiguousarray(table[:, start : start + length])
    match of_type:
        case "int8" | "timestamptz":
            return pl.Series(cut.view(">i8")[:, 0].astype(np.int64))
        case "float8":
            return pl.Series(cut.view(">f8")[:, 0].astype(np.float64))
        case "bool":
            return pl.Series(cut[:, 0] != 0)
        case "date":
            days = cut.view(">i4")[:, 0].astype(np.int64) + DAYS_OF_EPOCH
            return pl.Series(days.clip(-(2**31), 2**31 - 1).astype(np.int32)).cast(pl.Date)
        case "bytea":
            return pl.Series([bytes(row) for row in cut], dtype=pl.Binary)
        case "text" | "utf8":
            if length == 0:
                return pl.Series(values=[""], dtype=pl.String).new_from_index(0, len(table))
            texts, found = np.unique(cut.view(f"S{length}")[:, 0], return_inverse=True)
            return pl.Series([text.decode(errors="replace") for text in texts.tolist()], dtype=pl.String).gather(found)
