"""Chains of seals made without a database."""

import dataclasses
import hashlib
from datetime import UTC, date, datetime, timedelta
from typing import Any

from ldtm_lib.audit.merkle import merkle_root
from ldtm_lib.audit.seal import GENESIS, Seal


def resealed(seal: Seal, **changes: Any) -> Seal:
    """The seal with other fields and the SHA-256 and Merkle root that belong to them."""
    changed = dataclasses.replace(seal, **changes)
    leaves = changed.leaf_list
    changed = dataclasses.replace(changed, merkle_root=merkle_root(leaves), num_events=len(leaves))
    return dataclasses.replace(changed, sha256=changed.expected_sha256)


def chain(num_seals: int, *, num_events: int = 3, world: str = "") -> list[Seal]:
    """Seals that follow each other; another world has other events."""
    seals: list[Seal] = []
    for seal_id in range(num_seals):
        leaves = [hashlib.sha256(f"{world} {seal_id} {at}".encode()).digest() for at in range(num_events)]
        seals.append(
            resealed(
                Seal(
                    seal_id=seal_id,
                    session=date(2026, 1, 2) + timedelta(days=seal_id),
                    first_event=seal_id * num_events,
                    num_events=num_events,
                    merkle_root=b"",
                    previous_sha256=seals[-1].sha256 if seals else GENESIS,
                    sealed_at=datetime(2026, 1, 2, 23, 15, 0, 123, tzinfo=UTC) + timedelta(days=seal_id),
                    sha256=b"",
                    leaves=b"".join(leaves),
                )
            )
        )
    return seals
