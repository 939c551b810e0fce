"""Merkle trees as in RFC 6962, section 2.1: one hash for many leaves, and a short proof that a leaf is among them."""

import hashlib
from collections.abc import Sequence

from ldtm_lib.audit.encoding import NODE


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    """The tree's hash, level by level: an odd last node moves up unchanged, which gives the tree of the definition."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    sha256, level = hashlib.sha256, list(leaves)
    while len(level) > 1:
        odd = level[-1:] if len(level) % 2 else []
        level = [sha256(NODE + left + right).digest() for left, right in zip(level[::2], level[1::2], strict=False)]
        level += odd
    return level[0]


def merkle_root_by_definition(leaves: Sequence[bytes]) -> bytes:
    """The same by the recursive definition of the RFC."""
    if len(leaves) < 2:
        return leaves[0] if leaves else hashlib.sha256(b"").digest()
    split = _largest_power_of_two_below(len(leaves))
    left, right = merkle_root_by_definition(leaves[:split]), merkle_root_by_definition(leaves[split:])
    return hashlib.sha256(NODE + left + right).digest()


def audit_path(leaves: Sequence[bytes], at: int) -> list[bytes]:
    """The hashes that lead from a leaf to the root, the leaf's neighbour first (RFC 6962, section 2.1.1)."""
    if len(leaves) < 2:
        return []
    split = _largest_power_of_two_below(len(leaves))
    if at < split:
        return [*audit_path(leaves[:split], at), merkle_root(leaves[split:])]
    return [*audit_path(leaves[split:], at - split), merkle_root(leaves[:split])]


def _largest_power_of_two_below(number: int) -> int:
    return 1 << ((number - 1).bit_length() - 1)
