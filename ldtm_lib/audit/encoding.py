"""The canonical bytes of recorded rows, from which their hashes are computed. docs/record-format.md describes them.

A row is encoded as PostgreSQL sends a composite value (`record_send`): the number of fields, then for each field its
type's number, its length in bytes (-1 for NULL) and its value; whole numbers are big-endian. Every value has one
encoding, and no two rows share one.
"""

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Literal

Type = Literal["int8", "text", "utf8", "date", "timestamptz", "float8", "bool", "bytea"]
"""`utf8` is text that may hold more than ASCII: it is sent as its UTF-8 bytes, so that no connection converts it."""
Value = int | str | date | datetime | float | bool | bytes | None

OIDS: dict[Type, int] = {
    "int8": 20,
    "text": 25,
    "utf8": 17,
    "date": 1082,
    "timestamptz": 1184,
    "float8": 701,
    "bool": 16,
    "bytea": 17,
}
"""The numbers of PostgreSQL's built-in types, the same in every database."""
DAY_ZERO = date(2000, 1, 1)
MOMENT_ZERO = datetime(2000, 1, 1, tzinfo=UTC)
LEAF, NODE = b"\x00", b"\x01"
"""Prefixes of RFC 6962 to the bytes of a leaf and of an inner node, so that neither can pass for the other."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of an encoded row."""

    name: str
    type: Type


def encode(fields: Sequence[Field], values: Sequence[Value]) -> bytes:
    """The canonical bytes of a row."""
    parts = [struct.pack(">i", len(fields))]
    for field, value in zip(fields, values, strict=True):
        encoded = None if value is None else _encode_value(field.type, value)
        parts.append(struct.pack(">Ii", OIDS[field.type], -1 if encoded is None else len(encoded)))
        parts.append(encoded or b"")
    return b"".join(parts)


def leaf_sha256(canonical: bytes) -> bytes:
    """The leaf of an event in the Merkle tree of its seal (RFC 6962, section 2.1)."""
    return hashlib.sha256(LEAF + canonical).digest()


def _encode_value(of_type: Type, value: Value) -> bytes:
    match of_type, value:
        case "int8", int():
            return struct.pack(">q", value)
        case (("text" | "utf8"), str()):
            return value.encode()
        case "date", date():
            return struct.pack(">i", value.toordinal() - DAY_ZERO.toordinal())
        case "timestamptz", datetime():
            since = value - MOMENT_ZERO
            return struct.pack(">q", (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds)
        case "float8", float() | int():
            return struct.pack(">d", value)
        case "bool", bool():
            return b"\x01" if value else b"\x00"
        case "bytea", bytes():
            return value
        case _:
            raise TypeError(f"{value!r} is not of the type {of_type}")
