"""A seal: it ends a daily run and commits to every event since the previous seal, and to that seal."""

import hashlib
from dataclasses import dataclass
from datetime import date, datetime

from ldtm_lib.audit.encoding import Field, encode

SEAL_FIELDS = (
    Field("seal_id", "int8"),
    Field("session", "date"),
    Field("first_event", "int8"),
    Field("num_events", "int8"),
    Field("merkle_root", "bytea"),
    Field("previous_sha256", "bytea"),
    Field("sealed_at", "timestamptz"),
)
GENESIS = bytes(32)
"""What stands for the seal before the first one."""
LEAF_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """One link of the chain."""

    seal_id: int
    """From 0, without gaps."""
    session: date
    """The newest session that had closed."""
    first_event: int
    num_events: int
    merkle_root: bytes
    """Of the leaves of its events, by RFC 6962."""
    previous_sha256: bytes
    """Of the seal before; 32 zero bytes for the first."""
    sealed_at: datetime
    sha256: bytes
    """As it is on record."""
    leaves: bytes
    """Of its events one after the other, 32 bytes each, as they are on record."""

    @property
    def canonical(self) -> bytes:
        """The bytes that its SHA-256 is of: what a time stamp is asked for."""
        return encode(SEAL_FIELDS, [getattr(self, field.name) for field in SEAL_FIELDS])

    @property
    def expected_sha256(self) -> bytes:
        """What its SHA-256 must be."""
        return hashlib.sha256(self.canonical).digest()

    @property
    def leaf_list(self) -> list[bytes]:
        """Its leaves one by one; where the record was altered, not as many as it has events."""
        return split_leaves(self.leaves)


def split_leaves(together: bytes) -> list[bytes]:
    """Leaves that stand one after the other, one by one."""
    return [together[at : at + LEAF_BYTES] for at in range(0, len(together), LEAF_BYTES)]
