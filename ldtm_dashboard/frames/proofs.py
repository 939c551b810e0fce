"""A proof that a visitor uploads, checked by `verify_proof.py` and compared with the seals of this record."""

import importlib.util
import json
import struct
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any

from ldtm_dashboard.frames.record import hashes_on_record
from ldtm_lib.database.connection import Connection
from ldtm_lib.installation import FILES
from ldtm_lib.wording import counted

MAX_BYTES = 2_000_000
"""A proof of one forecast takes some thousands of bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofResult:
    """Result of verifying a file."""

    is_proven: bool
    """True if its events lead to its seals, and these are the seals of this record."""
    message: str
    events: tuple[str, ...] = ()
    """The events that it proves, each in a sentence."""
    seals: tuple[str, ...] = ()
    """Its seals with their SHA-256."""


def verify_upload(conn: Connection, content: bytes) -> ProofResult:
    """Check the bytes of an uploaded file; never raises because of their content."""
    if len(content) > MAX_BYTES:
        return ProofResult(is_proven=False, message=f"the file has {len(content):,} bytes, too many for a proof")
    verifier = _verifier()
    try:
        proof: dict[str, Any] = json.loads(content.decode(), object_pairs_hook=verifier.without_repetition)
        seals: dict[int, dict[str, Any]] = verifier.check(proof)
        events = tuple(_event(event["says"]) for event in proof["events"])
    except verifier.NotProven as reason:
        return ProofResult(is_proven=False, message=f"not proven: {reason}")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, struct.error) as error:
        return ProofResult(is_proven=False, message=f"this file is not a proof of LDTM ({type(error).__name__})")
    own = hashes_on_record(conn, [number for number in seals if 0 <= number < 2**63])
    shown = tuple(f"seal {number} of {seal['session']}: {seal['sha256']}" for number, seal in sorted(seals.items()))
    foreign = [number for number, seal in seals.items() if own.get(number) != seal["sha256"]]
    if foreign:
        message = f"the proof is consistent, but its seal {foreign[0]} is not a seal of this record"
        return ProofResult(is_proven=False, message=message, events=events, seals=shown)
    found = f"{counted(len(events), 'event')} in {counted(len(seals), 'seal')} of this record"
    message = f"proven: {proof['ticker']} on {proof['run_date']}, {found}"
    return ProofResult(is_proven=True, message=message, events=events, seals=shown)


def _event(says: dict[str, Any]) -> str:
    kept = [(name, value) for name, value in says.items() if value is not None and name not in ("event", "event_id")]
    return f"{says['event']}: " + ", ".join(f"{name} {value}" for name, value in kept)


@cache
def _verifier() -> ModuleType:
    """The program that third parties use, as a module."""
    spec = importlib.util.spec_from_file_location("ldtm_verify_proof", FILES / "verify_proof.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
