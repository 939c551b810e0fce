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
"""The previous SHA-256 of the first seal, which has no seal before it."""
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
    """Root of the leaves of its events, by RFC 6962."""
    previous_sha256: bytes
    """SHA-256 of the seal before; 32 zero bytes for the first."""
    sealed_at: datetime
    sha256: bytes
    """The SHA-256 on record."""
    leaves: bytes
    """Leaves of its events one after the other, 32 bytes each, as they are on record."""

    @property
    def canonical(self) -> bytes:
        """The bytes that its SHA-256 is computed from, for which a time stamp is requested."""
        return encode(SEAL_FIELDS, [getattr(self, field.name) for field in SEAL_FIELDS])

    @property
    def expected_sha256(self) -> bytes:
        """The SHA-256 that the seal must have."""
        return hashlib.sha256(self.canonical).digest()

    @property
    def leaf_list(self) -> list[bytes]:
        """Its leaves one by one; if the record was altered, their number may differ from that of its events."""
        return split_leaves(self.leaves)


def split_leaves(together: bytes) -> list[bytes]:
    """Split concatenated leaves into single ones."""
    return [together[at : at + LEAF_BYTES] for at in range(0, len(together), LEAF_BYTES)]
