"""Slots of training jobs as advisory locks of PostgreSQL: they end with the session that holds them.

A key is made from the UUID of the GPU, not from the machine's name or the schema: several machines, containers and
configurations may share one database, and all of them must get the same key for a GPU.
"""

import hashlib
from collections.abc import Sequence

from ldtm_lib.database.connection import Connection, Database
from ldtm_lib.database.queries import query
from ldtm_lib.gpu.devices import Gpu, GpuInventory
from ldtm_lib.gpu.slots import Occupancy

MOST_SLOTS = 64
"""Number of slots of a GPU that are read, whatever the limit of this configuration: others may have a higher one."""


def slot_key(place: str, slot: int) -> int:
    """The key of the lock on one slot of a GPU, named by its UUID, or of the CPU of a host."""
    return _key(f"ldtm slot {slot} of {place}")


def settled_key(place: str, slot: int) -> int:
    """The key of the lock that states that the slot's job has taken its memory."""
    return _key(f"ldtm settled in slot {slot} of {place}")


def grant_key(place: str, slot: int) -> int:
    """The first half of the lock whose second half is the memory that the slot's job may take, in MiB."""
    return _key(f"ldtm memory of slot {slot} of {place}") >> 32


def occupancies(conn: Connection, gpus: Sequence[Gpu]) -> tuple[Occupancy, ...]:
    """The occupancy of some GPUs at this moment, in their order."""
    held = {(gpu.uuid, slot): slot_key(gpu.uuid, slot) for gpu in gpus for slot in range(MOST_SLOTS)}
    settled = {(gpu.uuid, slot): settled_key(gpu.uuid, slot) for gpu in gpus for slot in range(MOST_SLOTS)}
    rows = conn.execute(query("gpu.held_keys"), {"keys": [*held.values(), *settled.values()]}).fetchall()
    locked = {key for (key,) in rows}
    grants = {grant_key(gpu.uuid, slot): (gpu.uuid, slot) for gpu in gpus for slot in range(MOST_SLOTS)}
    rows = conn.execute(query("gpu.grants"), {"keys": list(grants)}).fetchall()
    granted = {grants[key]: mib for key, mib in rows}

    def slots_of(gpu: Gpu, keys: dict[tuple[str, int], int]) -> frozenset[int]:
        return frozenset(slot for slot in range(MOST_SLOTS) if keys[gpu.uuid, slot] in locked)

    return tuple(
        Occupancy(
            gpu=gpu,
            held=slots_of(gpu, held),
            settled=slots_of(gpu, settled),
            granted_mib={slot: mib for (uuid, slot), mib in granted.items() if uuid == gpu.uuid},
        )
        for gpu in gpus
    )


def occupancies_now(database: Database, inventory: GpuInventory) -> tuple[Occupancy, ...]:
    """The occupancy of the GPUs of an inventory, queried on a connection of its own."""
    if not inventory.gpus:
        return ()
    with database.transaction() as conn:
        return occupancies(conn, inventory.gpus)


def _key(name: str) -> int:
    """64 bits of a SHA-256, as PostgreSQL's signed bigint."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], signed=True)
