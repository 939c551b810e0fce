"""The file of one network: written whole or not at all, and never read unless it is the one that was written."""

import dataclasses
import hashlib
import io
import os
import pickle
import uuid
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from ldtm_lib.config import ArchitectureConfig
from ldtm_lib.errors import CheckpointRefused
from ldtm_lib.models.lstm import State, parameter_shapes

REMEDY = "restore the file from a copy, or train the ticker again"


def write(state: Mapping[str, Tensor], path: Path, *, architecture: ArchitectureConfig) -> str:
    """Write a network's parameters with its architecture; returns the SHA-256 of the file.

    A crash leaves the old file, or none, at the path.
    """
    return write_bytes(encode(state, architecture=architecture), path)


def encode(state: Mapping[str, Tensor], *, architecture: ArchitectureConfig) -> bytes:
    """The content of a checkpoint file. Equal parameters give equal bytes."""
    own = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in state.items()}
    buffer = io.BytesIO()
    torch.save({"architecture": dataclasses.asdict(architecture), "state": own}, buffer)
    return buffer.getvalue()


def write_bytes(content: bytes, path: Path) -> str:
    """Put bytes at a path in one step that survives a crash; returns their SHA-256.

    A temporary file beside the path is synced and renamed, then the folder itself is synced.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return hashlib.sha256(content).hexdigest()


def read_verified(path: Path, *, sha256: str) -> bytes:
    """The bytes of a file that must have a SHA-256.

    Raises CheckpointRefused when the file is missing, unreadable, cut or altered.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise CheckpointRefused(f"checkpoint {path} is missing; {REMEDY}") from None
    except OSError as error:
        raise CheckpointRefused(f"checkpoint {path} cannot be read: {error.strerror}; {REMEDY}") from None
    found = hashlib.sha256(content).hexdigest()
    if found == sha256:
        return content
    if not zipfile.is_zipfile(io.BytesIO(content)):
        raise CheckpointRefused(f"checkpoint {path} is cut: its {len(content)} bytes are no whole archive; {REMEDY}")
    raise CheckpointRefused(f"checkpoint {path} was altered: its SHA-256 is {found}, not {sha256}; {REMEDY}")


def load(path: Path, *, sha256: str, architecture: ArchitectureConfig) -> State:
    """The parameters in a file whose SHA-256 and architecture must be the given ones; on the CPU.

    The bytes that are verified are the ones that are read. Raises CheckpointRefused otherwise.
    """
    content = read_verified(path, sha256=sha256)
    try:
        document = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise CheckpointRefused(f"checkpoint {path} does not hold plain weights: {reason}; {REMEDY}") from None
    if not isinstance(document, dict) or set(cast(dict[str, Any], document)) != {"architecture", "state"}:
        raise CheckpointRefused(f"checkpoint {path} is not one that LDTM writes; {REMEDY}")
    contents = cast(dict[str, dict[str, Any]], document)
    _require_architecture(path, contents["architecture"], architecture)
    state = cast(State, contents["state"])
    shapes = parameter_shapes(architecture)
    if {name: tensor.shape for name, tensor in state.items()} != shapes:
        raise CheckpointRefused(f"checkpoint {path} holds other parameters than its architecture has; {REMEDY}")
    return state


def _require_architecture(path: Path, found: dict[str, Any], expected: ArchitectureConfig) -> None:
    wanted = dataclasses.asdict(expected)
    if found == wanted:
        return
    names = sorted(name for name in wanted | found if wanted.get(name) != found.get(name))
    differences = ", ".join(f"{name} is {found.get(name)}, not {wanted.get(name)}" for name in names)
    raise CheckpointRefused(
        f"checkpoint {path} is of another architecture: {differences}; "
        "set [architecture] back, or train the ticker again"
    )
