"""Exported ONNX files: one network, or a whole universe with one branch per ticker, in one file.

A file is written whole or not at all, and never from a checkpoint that fails its hash. Only verified bytes are read:
the opened file is hashed, and later reads go through the same descriptor.
"""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import BinaryIO, Self

from ldtm_lib.atomic_io import write_whole
from ldtm_lib.errors import ExportNotWritten, ExportRefused
from ldtm_lib.export.extras import onnx_package
from ldtm_lib.export.file_metadata import (
    IR_VERSION,
    KEY,
    OPSET,
    PRODUCER,
    ExportedNetwork,
    FileMetadata,
    decode,
    describe,
)
from ldtm_lib.export.graph import SHARED, branch_names, branch_of, shared_constants
from ldtm_lib.export.layout import GRAPH_INPUT, GRAPH_OUTPUT, ModelLayout, NotAModel, cut_out, read_layout
from ldtm_lib.models.parameters import NetworkParameters, read_parameters
from ldtm_lib.settings import WindowConfig

REMEDY = "export the networks again"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointFile:
    """A checkpoint on record."""

    path: Path
    sha256: str


def encode(networks: Mapping[str, NetworkParameters], window: WindowConfig) -> bytes:
    """The content of a file with the networks of some tickers, in the order given.

    The model is checked by `onnx.checker` with strict inference of all shapes. Raises MissingExtra, and ExportRefused
    if there is no network.
    """
    if not networks:
        raise ExportRefused("an ONNX file needs at least one network; name a ticker with a checkpoint")
    onnx = onnx_package()
    names = {ticker: branch_names(ticker) for ticker in networks}
    branches = [branch_of(networks[ticker], names[ticker], window.window_sessions) for ticker in networks]
    metadata = describe(
        tuple(
            ExportedNetwork(
                ticker=ticker,
                checkpoint_sha256=network.checkpoint_sha256,
                architecture=network.architecture.model_dump(),
                input_name=names[ticker].window,
                output_name=names[ticker].prices,
            )
            for ticker, network in networks.items()
        ),
        window,
    )
    graph = onnx.helper.make_graph(
        [node for branch in branches for node in branch.nodes],
        "ldtm",
        [branch.window for branch in branches],
        [branch.prices for branch in branches],
        [*shared_constants(window.window_sessions), *(c for branch in branches for c in branch.constants)],
    )
    model = onnx.helper.make_model(
        graph,
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name=PRODUCER,
        producer_version=metadata.ldtm_version,
    )
    onnx.helper.set_model_props(model, {KEY: metadata.encode()})
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)


def export(checkpoints: Mapping[str, CheckpointFile], path: Path, window: WindowConfig) -> str:
    """Write the networks of some tickers' checkpoints into one ONNX file; returns its SHA-256.

    Raises CheckpointRefused when a checkpoint fails its hash, in which case nothing is written, and ExportNotWritten.
    """
    networks = {t: read_parameters(file.path, sha256=file.sha256) for t, file in checkpoints.items()}
    return write(encode(networks, window), path)


def write(content: bytes, path: Path) -> str:
    """Put the content of an exported file at a path in one step; returns its SHA-256. Raises ExportNotWritten."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content)
    except OSError as error:
        raise ExportNotWritten(
            f"exported file {path} cannot be written: {error.strerror}; nothing was changed: free disk space, or check "
            f"the permissions of {path.parent}, and export again"
        ) from error
    return hashlib.sha256(content).hexdigest()


class OnnxFile:
    """An exported file whose SHA-256 and layout were verified; it stays open, so that replacing it changes nothing."""

    def __init__(self, path: Path, file: BinaryIO, *, sha256: str, metadata: FileMetadata, layout: ModelLayout) -> None:
        self.path = path
        self.sha256 = sha256
        self.metadata = metadata
        self._file = file
        self._layout = layout
        self._state = _state_of(file)

    @classmethod
    def open(cls, path: Path, *, sha256: str | None = None) -> Self:
        """Open a file, which must have the given SHA-256, if any.

        Raises ExportRefused when it is missing, truncated, altered, of another opset, or not one that LDTM writes.
        """
        try:
            file = path.open("rb")
        except OSError as error:
            raise ExportRefused(f"exported file {path} cannot be read: {error.strerror}; {REMEDY}") from None
        try:
            found = hashlib.file_digest(file, "sha256").hexdigest()
            layout = _layout_of(path, file)
            if sha256 is not None and found != sha256:
                raise ExportRefused(f"exported file {path} was altered: its SHA-256 is {found}, not {sha256}; {REMEDY}")
            metadata = _metadata_of(path, layout)
            return cls(path, file, sha256=found, metadata=metadata, layout=layout)
        except BaseException:
            file.close()
            raise

    def model_path(self) -> str:
        """A path under which a library of this process reads the verified file; valid until `close`."""
        self._require_unchanged()
        return f"/proc/self/fd/{self._file.fileno()}"

    def part(self, tickers: tuple[str, ...]) -> bytes:
        """A model of the branches of some tickers, without metadata."""
        self._require_unchanged()
        names = [branch_names(ticker) for ticker in tickers]
        exact = {name.window for name in names} | {name.prices for name in names}
        own = (SHARED, *(name.prefix for name in names))
        parts = [p for p in self._layout.parts if p.name in exact or p.name.startswith(own)]
        with mmap(self._file.fileno(), 0, access=ACCESS_READ) as content:
            return cut_out(content, self._layout, parts)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _require_unchanged(self) -> None:
        if _state_of(self._file) != self._state:
            raise ExportRefused(f"exported file {self.path} was written to while it was in use; {REMEDY}")


def _state_of(file: BinaryIO) -> tuple[int, int]:
    status = os.fstat(file.fileno())
    return status.st_size, status.st_mtime_ns


def _layout_of(path: Path, file: BinaryIO) -> ModelLayout:
    try:
        if not os.fstat(file.fileno()).st_size:
            raise NotAModel("it is empty")
        with mmap(file.fileno(), 0, access=ACCESS_READ) as content:
            return read_layout(content)
    except NotAModel as error:
        raise ExportRefused(f"exported file {path} is truncated or not an ONNX model: {error}; {REMEDY}") from None


def _metadata_of(path: Path, layout: ModelLayout) -> FileMetadata:
    """The description in a file, which must agree with its graph."""
    if layout.opsets != {"": OPSET}:
        found = ", ".join(f"{domain or 'ai.onnx'} {version}" for domain, version in layout.opsets.items())
        raise ExportRefused(f"exported file {path} has operators of opset {found}, not {OPSET}; {REMEDY}")
    if KEY not in layout.metadata:
        raise ExportRefused(f"exported file {path} was not written by LDTM: it has no metadata `{KEY}`; {REMEDY}")
    try:
        metadata = decode(layout.metadata[KEY])
    except ValueError as error:
        raise ExportRefused(f"exported file {path} has metadata that cannot be read: {error}; {REMEDY}") from None
    inputs = [network.input_name for network in metadata.networks]
    outputs = [network.output_name for network in metadata.networks]
    expected = [branch_names(ticker) for ticker in metadata.tickers]
    named = inputs == [name.window for name in expected] and outputs == [name.prices for name in expected]
    if not named or layout.names(GRAPH_INPUT) != inputs or layout.names(GRAPH_OUTPUT) != outputs:
        raise ExportRefused(f"exported file {path} describes other networks than its graph has; {REMEDY}")
    return metadata
