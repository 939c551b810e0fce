"""The networks on record and their files. Every file is complete on disk before its row is written."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Literal

from psycopg.rows import class_row, dict_row
from psycopg.types.json import Jsonb

from ldtm_lib.backtest.leakage import split_leaks
from ldtm_lib.database.connection import Connection
from ldtm_lib.database.queries import query
from ldtm_lib.errors import CheckpointRefused
from ldtm_lib.file_names import ticker_file_name
from ldtm_lib.models import checkpoint
from ldtm_lib.models.checkpoint import CANDIDATE_FOLDER
from ldtm_lib.models.fit import Fit
from ldtm_lib.registry.inputs import InputKey, key_columns, recipe_fingerprint
from ldtm_lib.registry.trained_network import TrainedNetwork, network_columns, network_of_row, trained_network
from ldtm_lib.settings import ArchitectureConfig, Settings

SHA256_DIGITS_IN_NAME = 16

CheckpointStatus = Literal["candidate", "active", "retired"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointRecord:
    """One trained network as the registry has it."""

    checkpoint_id: int
    ticker: str
    status: CheckpointStatus
    trained_on: date
    architecture_sha256: str
    recipe_sha256: str
    data_sha256: str
    file_name: str
    """Relative to the checkpoint folder."""
    file_sha256: str
    seed: int
    num_training_rows: int
    num_validation_rows: int
    num_epochs: int
    best_epoch: int
    validation_loss: float
    duration_seconds: float
    device: str
    version: str | None
    """Such as `v1.2026-03-02`; None for a candidate."""
    major: int | None
    leaks: dict[str, int] | None = field(hash=False)
    """Rows of its training with look-ahead, by kind; None for a network from before they were counted."""
    restores: int | None
    """The checkpoint that passed the gate and that this one restores; None for one that restores none."""
    file_removed_at: datetime | None
    """Time since which its file is not needed any more; None while it is."""

    @property
    def key(self) -> InputKey:
        """Key of the inputs that it was trained on."""
        return InputKey(
            ticker=self.ticker,
            trained_on=self.trained_on,
            architecture_sha256=self.architecture_sha256,
            recipe_sha256=self.recipe_sha256,
            data_sha256=self.data_sha256,
        )

    @property
    def age(self) -> tuple[date, int]:
        """Sort key of one ticker's checkpoints by their training, newest last; a restored network keeps its age."""
        return self.trained_on, self.network_id

    @property
    def network_id(self) -> int:
        """Identity of a network, the same for all of its versions: its first checkpoint on record."""
        return self.restores or self.checkpoint_id


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Candidate:
    """A trained network that is to be recorded, with the key of its training inputs."""

    key: InputKey
    fit: Fit
    gpu_index: int | None = None
    """Index of the GPU that was leased for its training."""

    @property
    def network(self) -> TrainedNetwork:
        """Record of its training."""
        return trained_network(self.fit, gpu_index=self.gpu_index)

    @property
    def leaks(self) -> dict[str, int]:
        """Rows of its training with look-ahead, by kind."""
        return split_leaks(self.fit.task, None)


def record_candidates(
    conn: Connection, folder: Path, candidates: Sequence[Candidate], *, architecture: ArchitectureConfig, seed: int
) -> dict[InputKey, CheckpointRecord]:
    """Write the networks' files under a folder and put them on record as candidates.

    A network that is on record for its key adds nothing; its files that were lost or altered meanwhile are restored:
    the file of a candidate under the name that follows from the content, even if the record has another name, and the
    files of its versions. A candidate whose file was removed gets it back. Raises CheckpointNotWritten if a file cannot
    be written.
    """
    contents = {c.key: checkpoint.encode(c.fit.state, architecture=architecture) for c in candidates}
    sha256s = {key: hashlib.sha256(content).hexdigest() for key, content in contents.items()}
    conn.execute(query("registry.lock_candidate_files"))
    names = {key: candidate_name(key, sha256s[key]) for key in contents}
    names_of = {key: {name} for key, name in names.items()}
    for key, records in _of_contents(conn, sha256s).items():
        kept = [r for r in records if r.file_removed_at is None]
        versions = {r.file_name for r in kept if r.status != "candidate"}
        has_candidate = any(r.status == "candidate" for r in records)
        names_of[key] = versions | ({names[key]} if has_candidate else set())
    for key, content in contents.items():
        for path in (checkpoint.file_of(folder, name) for name in names_of[key]):
            if not is_intact(path, sha256s[key]):
                checkpoint.write_bytes(content, path)
    rows = key_columns(contents) | {
        "file_names": [names[c.key] for c in candidates],
        "file_sha256s": [sha256s[c.key] for c in candidates],
        "seeds": [seed for _ in candidates],
        "num_training_rows": [len(c.fit.task.training_rows) for c in candidates],
        "num_validation_rows": [len(c.fit.task.validation_rows) for c in candidates],
        "num_epochs": [c.fit.num_epochs for c in candidates],
        "validation_loss": [c.fit.validation_loss for c in candidates],
        "leaks": [Jsonb(c.leaks) for c in candidates],
    }
    rows |= network_columns([c.network for c in candidates])
    conn.execute(query("registry.insert_candidates"), rows)
    return {key: records[0] for key, records in _of_contents(conn, sha256s).items()}


def existing(conn: Connection, folder: Path, keys: Collection[InputKey]) -> dict[InputKey, CheckpointRecord]:
    """The networks that need not be trained again: they are on record for a key, with an intact file.

    A retired network whose file was removed because it is not needed need not be trained again either. An active one
    that lost its file must be.
    """
    found: dict[InputKey, CheckpointRecord] = {}
    damaged: set[InputKey] = set()
    for record in _of_inputs(conn, keys):
        if record.file_removed_at is not None:
            if record.status == "retired":
                found.setdefault(record.key, record)
        elif _has_file(folder, record):
            found.setdefault(record.key, record)
        elif record.status == "active":
            damaged.add(record.key)
    return {key: record for key, record in found.items() if key not in damaged}


def networks(conn: Connection, records: Collection[CheckpointRecord]) -> dict[int, TrainedNetwork]:
    """Records of the training of the networks of some checkpoints, by checkpoint id."""
    parameters = {"checkpoint_ids": [record.checkpoint_id for record in records]}
    with conn.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(query("registry.networks_of_checkpoints"), parameters).fetchall()
    return {row.pop("checkpoint_id"): network_of_row(row) for row in rows}


def newest_checkpoints(
    conn: Connection, tickers: Collection[str], *, of: tuple[date, Settings] | None = None
) -> dict[str, CheckpointRecord]:
    """Each ticker's newest network, whatever its status; `of` restricts them to a last session and its settings."""
    asked = {
        "tickers": list(tickers),
        "trained_on": of and of[0],
        "architecture_sha256": of and of[1].architecture.fingerprint(),
        "recipe_sha256": of and recipe_fingerprint(of[1]),
    }
    return _by_ticker(conn, query("registry.newest_checkpoints"), asked)


def promoted_checkpoints(conn: Connection, tickers: Collection[str]) -> list[CheckpointRecord]:
    """Every network of some tickers that is or was active, the newest promotion first."""
    with conn.cursor(row_factory=class_row(CheckpointRecord)) as cursor:
        return cursor.execute(query("registry.promoted_checkpoints"), {"tickers": list(tickers)}).fetchall()


def candidate_name(key: InputKey, file_sha256: str) -> str:
    """The name of a candidate's file under the checkpoint folder, by its content."""
    return f"{CANDIDATE_FOLDER}/{ticker_file_name(key.ticker)}_{file_sha256[:SHA256_DIGITS_IN_NAME]}.pt"


def is_intact(path: Path, sha256: str) -> bool:
    """True if a file exists and has the content that is on record."""
    try:
        checkpoint.read_verified(path, sha256=sha256)
    except CheckpointRefused:
        return False
    return True


def _has_file(folder: Path, record: CheckpointRecord) -> bool:
    """True if the file that a row names exists and has the content that is on record."""
    try:
        return is_intact(checkpoint.file_of(folder, record.file_name), record.file_sha256)
    except CheckpointRefused:
        return False


def _of_contents(conn: Connection, sha256s: Mapping[InputKey, str]) -> dict[InputKey, list[CheckpointRecord]]:
    """Every row of the networks with some keys and contents, the newest first."""
    rows: dict[InputKey, list[CheckpointRecord]] = {}
    for record in _of_inputs(conn, sha256s):
        if record.file_sha256 == sha256s[record.key]:
            rows.setdefault(record.key, []).append(record)
    return rows


def _of_inputs(conn: Connection, keys: Collection[InputKey]) -> list[CheckpointRecord]:
    with conn.cursor(row_factory=class_row(CheckpointRecord)) as cursor:
        return cursor.execute(query("registry.checkpoints_of_inputs"), key_columns(keys)).fetchall()


def _by_ticker(conn: Connection, statement: bytes, parameters: Mapping[str, object]) -> dict[str, CheckpointRecord]:
    with conn.cursor(row_factory=class_row(CheckpointRecord)) as cursor:
        return {record.ticker: record for record in cursor.execute(statement, parameters)}
