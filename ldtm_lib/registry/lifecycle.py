"""Lifecycle actions: rollback to an earlier network, or retirement of the active one, recorded with who and why.

A rollback activates a new version with its own copy of the file, which is on the disk before the caller's transaction
commits. A crash in between leaves at most a file without a row; the next rollback uses it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ldtm_lib.database.connection import Connection
from ldtm_lib.database.queries import query
from ldtm_lib.errors import ConfigurationError, RegistryConflict, UnknownTicker
from ldtm_lib.registry.checkpoints import CheckpointRecord, promoted_checkpoints
from ldtm_lib.registry.decommissioned import decommissioned_models
from ldtm_lib.registry.versions import FIRST_MAJOR, active_one, publish
from ldtm_lib.settings import ArchitectureConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollback:
    """A completed rollback."""

    ticker: str
    version: str
    """The new version, which is active now."""
    restores: str
    """The requested version."""
    retired_version: str | None
    """The version that was active until now."""

    @property
    def message(self) -> str:
        """One line for the people who run it."""
        return f"{self.ticker} {self.version} is active, with the network of {self.restores}" + (
            f"; {self.retired_version} is retired" if self.retired_version else ""
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Retirement:
    """A completed retirement."""

    ticker: str
    version: str

    @property
    def message(self) -> str:
        """One line for the people who run it."""
        return f"{self.ticker} {self.version} retired; the ticker abstains until another network passes the gate"


def rollback(
    conn: Connection,
    folder: Path,
    ticker: str,
    *,
    to: str | None,
    requested_by: str,
    why: str,
    architecture: ArchitectureConfig,
) -> Rollback:
    """Make the network of a retired version active again, and retire the present one, in the caller's transaction.

    `to` names the version; the default is the newest network that is older than the active one, was never
    decommissioned and whose file is kept. Raises UnknownTicker, RegistryConflict when there is no such version, it is
    active or its file was removed, CheckpointRefused when the file is not the one on record or of another
    architecture, and CheckpointNotWritten when the copy cannot be written.
    """
    _require_reason(requested_by, why)
    history = _history(conn, ticker)
    active = active_one(history)
    requested = _earlier(conn, ticker, history, active) if to is None else _named(ticker, to, history, active)
    if requested.file_removed_at:
        raise RegistryConflict(
            f"the file of {ticker} {requested.version} was removed on {requested.file_removed_at:%Y-%m-%d}, when "
            f"it was no longer needed; {_choice(history, active)}"
        )
    version = publish(
        folder, requested, major=requested.major or FIRST_MAJOR, history=history, architecture=architecture
    )
    conn.execute(query("registry.retire_checkpoints"), {"tickers": [ticker]})
    restored = conn.execute(
        query("registry.restore_checkpoint"),
        {
            "restores": requested.network_id,
            "major": version.major,
            "version": version.name,
            "file_name": version.file_name,
        },
    ).fetchone()
    assert restored is not None
    _record(conn, ticker, "rollback", restored[0], requested_by, why)
    return Rollback(
        ticker=ticker,
        version=version.name,
        restores=str(requested.version),
        retired_version=active.version if active else None,
    )


def retire(
    conn: Connection, ticker: str, *, requested_by: str, why: str, checkpoint_id: int | None = None
) -> Retirement:
    """Retire a ticker's active version without a successor, in the caller's transaction.

    With `checkpoint_id`, only that checkpoint is retired, and no other one that is active by now. The ticker abstains
    until another network passes the gate or an earlier one is restored. Raises UnknownTicker, and RegistryConflict
    when no version is active, or another one than `checkpoint_id`.
    """
    _require_reason(requested_by, why)
    history = _history(conn, ticker)
    active = active_one(history)
    if active is None:
        raise RegistryConflict(
            f"{ticker} has no active version to retire: {history[0].version}, its last one, retired before; "
            f"`ldtm registry history {ticker}` shows why"
        )
    meant = active.checkpoint_id if checkpoint_id is None else checkpoint_id
    gone = conn.execute(query("registry.retire_checkpoint"), {"checkpoint_id": meant}).rowcount == 0
    if active.checkpoint_id != meant or gone:
        version = next((record.version for record in history if record.checkpoint_id == meant), f"checkpoint {meant}")
        raise RegistryConflict(
            f"{ticker} {version} is not active any more and nothing was retired; "
            f"`ldtm registry history {ticker}` shows what happened to it"
        )
    _record(conn, ticker, "retirement", active.checkpoint_id, requested_by, why)
    return Retirement(ticker=ticker, version=str(active.version))


def _require_reason(requested_by: str, why: str) -> None:
    for name, text in (("--by", requested_by), ("--why", why)):
        if not text.strip():
            raise ConfigurationError(
                f"{name} is {text!r}: a lifecycle action is recorded with who requested it and why; give both in a few "
                "words"
            )


def _history(conn: Connection, ticker: str) -> list[CheckpointRecord]:
    """Every promotion of a ticker, the newest first; no other one is added until the transaction ends."""
    conn.execute(query("registry.lock_promotions"))
    history = promoted_checkpoints(conn, [ticker])
    if not history:
        raise UnknownTicker(
            f"the registry has no version of {ticker}: none of its networks was ever promoted; "
            "`ldtm registry list` shows the tickers that have a version"
        )
    return history


def _earlier(
    conn: Connection, ticker: str, history: Sequence[CheckpointRecord], active: CheckpointRecord | None
) -> CheckpointRecord:
    """The newest network before the active one that was never decommissioned, in its last version with a file."""
    if active is None:
        raise RegistryConflict(
            f"{ticker} has no active version to roll back; name the version to restore with --to: "
            f"{_choice(history, active)}"
        )
    decommissioned_ids = {model.network_id for model in decommissioned_models(conn, [ticker]).get(ticker, ())}
    earlier = [
        record
        for record in history
        if record.age < active.age and record.network_id not in decommissioned_ids and record.file_removed_at is None
    ]
    if not earlier:
        raise RegistryConflict(
            f"{ticker} has no version before {active.version} that has its file and was not decommissioned; "
            f"`ldtm registry retire {ticker}` retires {active.version}, or name the version to restore with --to: "
            f"{_choice(history, active)}"
        )
    return max(earlier, key=lambda record: record.age)


def _named(
    ticker: str, to: str, history: Sequence[CheckpointRecord], active: CheckpointRecord | None
) -> CheckpointRecord:
    """The version with the requested name."""
    requested = next((record for record in history if record.version == to), None)
    if requested is None:
        raise RegistryConflict(f"{ticker} has no version {to}; {_choice(history, active)}")
    if active and requested.network_id == active.network_id:
        what = (
            "is the active version"
            if requested is active
            else f"is the network of {active.version}, the active version"
        )
        raise RegistryConflict(f"{ticker} {to} {what} already; {_choice(history, active)}")
    return requested


def _choice(history: Sequence[CheckpointRecord], active: CheckpointRecord | None) -> str:
    """Versions that could be restored instead, in words."""
    others = [
        str(record.version)
        for record in history
        if record.file_removed_at is None and (active is None or record.network_id != active.network_id)
    ]
    return f"choose one of {', '.join(others)}" if others else "there is no other version to restore"


def _record(
    conn: Connection,
    ticker: str,
    action: Literal["rollback", "retirement"],
    checkpoint_id: int,
    requested_by: str,
    why: str,
) -> None:
    conn.execute(
        query("registry.record_lifecycle_action"),
        {
            "ticker": ticker,
            "action": action,
            "checkpoint_id": checkpoint_id,
            "requested_by": requested_by.strip(),
            "why": why.strip(),
        },
    )
