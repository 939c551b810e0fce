"""The checkpoint file of one network: written atomically, and loaded only if its SHA-256 is the recorded one.

It is a torch file of {"architecture", "names", "values"}: the names of the parameters, separated by spaces, and the
values of all of them in that order as one float32 tensor, large ones first, so that they are aligned in memory. The
reader that runs no code (`weights_only`) interprets a file step by step in Python, and one tensor takes it a quarter of
the time of sixteen. Files of the first layout, {"architecture", "state"} with a tensor per name, are read as well.
"""

import errno
import hashlib
import io
import os
import pickle
import re
import stat
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from pydantic import ValidationError
from torch import Tensor

from ldtm_lib.atomic_io import write_whole
from ldtm_lib.errors import CheckpointNotWritten, CheckpointRefused
from ldtm_lib.models.lstm import State, parameter_shapes
from ldtm_lib.settings import ArchitectureConfig

CANDIDATE_FOLDER = "candidates"
"""The folder of candidates' files, inside the checkpoint folder."""
WRITTEN_NAME = re.compile(r"[A-Za-z0-9_%-][A-Za-z0-9_%.-]*\.pt")
"""Names of checkpoint files, in the characters of `ticker_file_name`; LDTM did not write files with other names."""
MAX_BYTES = 1 << 30
"""Largest size of a checkpoint file: about 270 million parameters, more than any network of this architecture has."""
REMEDY = "restore the file from a copy, or train the ticker again"
ARCHITECTURE_KEYS = ("num_inputs", "hidden", "num_layers", "head_hidden", "num_horizons", "residual")
"""The keys of "architecture" in the order in which files hold them: another order would change their bytes. A file
without "residual" is of a network whose heads predict the scaled price itself."""
BEFORE_RESIDUAL = {"residual": False}
LAYOUTS = ({"architecture": dict, "names": str, "values": Tensor}, {"architecture": dict, "state": dict})


def write(state: Mapping[str, Tensor], path: Path, *, architecture: ArchitectureConfig) -> str:
    """Write a network's parameters with its architecture; returns the SHA-256 of the file.

    A crash leaves the old file, or none, at the path. Raises CheckpointNotWritten.
    """
    return write_bytes(encode(state, architecture=architecture), path)


def encode(state: Mapping[str, Tensor], *, architecture: ArchitectureConfig) -> bytes:
    """The content of a checkpoint file. Equal parameters give equal bytes."""
    names = sorted(state, key=lambda name: -state[name].numel())
    values = torch.cat([state[name].detach().to("cpu").ravel() for name in names])
    shape = architecture.model_dump()
    document = {
        "architecture": {key: shape[key] for key in ARCHITECTURE_KEYS if key in shape},
        "names": " ".join(names),
        "values": values,
    }
    buffer = io.BytesIO()
    torch.save(document, buffer)
    return buffer.getvalue()


def write_bytes(content: bytes, path: Path) -> str:
    """Put bytes at a path in one step that survives a crash; returns their SHA-256.

    Raises CheckpointNotWritten when the disk is full or the folder may not be written to.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content)
    except OSError as error:
        raise CheckpointNotWritten(
            f"checkpoint {path} cannot be written: {error.strerror}; nothing was changed: free disk space, "
            f"or check the permissions of {path.parent}, and try again"
        ) from error
    return hashlib.sha256(content).hexdigest()


def file_of(folder: Path, file_name: str) -> Path:
    """The path of a file that the database names, which must be in the checkpoint folder.

    Raises CheckpointRefused for any other name, and if the folder of the candidates is a link.
    """
    parts = file_name.split("/")
    if not WRITTEN_NAME.fullmatch(parts[-1]) or parts[:-1] not in ([], [CANDIDATE_FOLDER]):
        raise CheckpointRefused(
            f"{file_name!r} is not the name of a file in {folder}; it was not recorded by LDTM: run "
            "`ldtm doctor` to check the privileges of the roles"
        )
    path = folder / file_name
    if len(parts) > 1 and path.parent.is_symlink():
        raise CheckpointRefused(f"{path.parent} is a link, but must be a folder; replace the link by a folder")
    return path


def read_regular(path: Path) -> bytes:
    """The bytes of a file that is neither a link nor a device or pipe, nor larger than MAX_BYTES. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", str(path))
        if status.st_size > MAX_BYTES:
            raise OSError(errno.EFBIG, f"it has more than {MAX_BYTES >> 20:,} MiB", str(path))
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(status.st_size)
    finally:
        os.close(descriptor)


def read_verified(path: Path, *, sha256: str) -> bytes:
    """The bytes of a file that must have a SHA-256.

    Raises CheckpointRefused when the file is missing, unreadable, a link, special, too large, truncated or altered.
    """
    try:
        content = read_regular(path)
    except FileNotFoundError:
        raise CheckpointRefused(f"checkpoint {path} is missing; {REMEDY}") from None
    except OSError as error:
        raise CheckpointRefused(f"checkpoint {path} cannot be read: {error.strerror}; {REMEDY}") from None
    found = hashlib.sha256(content).hexdigest()
    if found == sha256:
        return content
    if not _is_whole(content):
        raise CheckpointRefused(
            f"checkpoint {path} is truncated: its {len(content)} bytes are not a complete archive; {REMEDY}"
        )
    raise CheckpointRefused(f"checkpoint {path} was altered: its SHA-256 is {found}, not {sha256}; {REMEDY}")


def _is_whole(content: bytes) -> bool:
    """True if bytes have the end record of an archive, damaged or not."""
    try:
        return zipfile.is_zipfile(io.BytesIO(content))
    except zipfile.BadZipFile:
        return True


def load(path: Path, *, sha256: str, architecture: ArchitectureConfig) -> State:
    """The parameters in a file whose SHA-256 and architecture must be the given ones; on the CPU.

    The bytes that are verified are the ones that are read. Raises CheckpointRefused otherwise.
    """
    document = _read_document(path, sha256=sha256)
    _require_architecture(path, document["architecture"], architecture)
    return _parameters(path, document, architecture)


def read_architecture(path: Path, *, sha256: str) -> ArchitectureConfig:
    """The architecture that a file states, whose SHA-256 must be the given one.

    Meant for networks that were trained before the settings changed. Raises CheckpointRefused.
    """
    found = _read_document(path, sha256=sha256)["architecture"]
    try:
        fields = BEFORE_RESIDUAL | {k: v for k, v in found.items() if k not in ("num_inputs", "num_horizons")}
        architecture = ArchitectureConfig(**fields)
    except ValidationError:
        architecture = None
    if architecture is None or architecture.model_dump() != found:
        raise CheckpointRefused(f"checkpoint {path} is of an architecture that LDTM does not know: {found}; {REMEDY}")
    return architecture


def _read_document(path: Path, *, sha256: str) -> dict[str, Any]:
    """Content of a verified file, in one of the two layouts; its consistency has not been checked yet."""
    content = read_verified(path, sha256=sha256)
    try:
        document = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise CheckpointRefused(f"checkpoint {path} does not hold plain weights: {reason}; {REMEDY}") from None
    if isinstance(document, dict):
        found = cast(dict[str, Any], document)
        if {name: type(value) for name, value in found.items()} in LAYOUTS:
            return found
    raise CheckpointRefused(f"checkpoint {path} is not one that LDTM writes; {REMEDY}")


def _parameters(path: Path, document: dict[str, Any], architecture: ArchitectureConfig) -> State:
    """The parameters of a document, which must fit its architecture; those of the newer layout are not copied."""
    shapes = parameter_shapes(architecture)
    if "state" in document:
        state = cast(State, document["state"])
        if {name: getattr(tensor, "shape", None) for name, tensor in state.items()} == shapes:
            return state
    else:
        names, values = cast(list[str], document["names"].split()), cast(Tensor, document["values"])
        sizes = [shapes[name].numel() for name in names if name in shapes]
        fits = values.dtype == torch.float32 and values.shape == (sum(sizes),)
        if fits and sorted(names) == sorted(shapes):
            parts = dict(zip(names, torch.split(values, sizes), strict=True))
            return {name: parts[name].view(shape) for name, shape in shapes.items()}
    raise CheckpointRefused(f"checkpoint {path} holds other parameters than its architecture has; {REMEDY}")


def _require_architecture(path: Path, found: dict[str, Any], expected: ArchitectureConfig) -> None:
    wanted = BEFORE_RESIDUAL | expected.model_dump()
    found = BEFORE_RESIDUAL | found
    if found == wanted:
        return
    names = sorted(name for name in wanted | found if wanted.get(name) != found.get(name))
    differences = ", ".join(f"{name} is {found.get(name)}, not {wanted.get(name)}" for name in names)
    raise CheckpointRefused(
        f"checkpoint {path} is of another architecture: {differences}; "
        "set [architecture] back, or train the ticker again"
    )
