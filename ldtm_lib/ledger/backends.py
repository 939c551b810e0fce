"""Backends that compute the networks of a run date: PyTorch, ONNX Runtime and TensorRT.

Every row of the record names its backend. A daily run that is configured to use exported files uses those that exist
and whose certificates passed; PyTorch computes all other networks, with forecasts that are as good.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, Protocol

from ldtm_lib.errors import CertificateRefused, ExportRefused, LdtmError, WindowRefused
from ldtm_lib.export.certificate import require_certificate
from ldtm_lib.export.engine import current_gpu
from ldtm_lib.export.onnx_file import CheckpointFile, OnnxFile, export
from ldtm_lib.export.sessions import OnnxForecaster, require_windows
from ldtm_lib.models.checkpoint import file_of, load
from ldtm_lib.models.cpu import available_cores, on_all_cores
from ldtm_lib.models.forecast import Predictions, Scaled, forecast
from ldtm_lib.registry.engines import open_engine
from ldtm_lib.registry.exports import UNIVERSE, CheckpointOnRecord, certificate_path, certified_file
from ldtm_lib.settings import ArchitectureConfig, Backend, Settings, WindowConfig

BackendOnRecord = Literal["torch", "onnx", "tensorrt", "tensorrt-rtx"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NetworkInput:
    """One network, and the input window of its forecast: T sessions by I inputs."""

    checkpoint: CheckpointOnRecord
    window: Scaled

    @property
    def ticker(self) -> str:
        """Its ticker."""
        return self.checkpoint.ticker


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prediction:
    """The scaled prediction of a network for H horizons, and the backend that computed it."""

    scaled: Predictions
    backend: BackendOnRecord


Found = dict[str, Prediction | LdtmError]
"""Result by ticker; the error gives the reason why there is no prediction."""


class Networks(Protocol):
    """A backend that computes networks."""

    def predict(self, asked: Sequence[NetworkInput]) -> Found:
        """The prediction of each network, or the reason why there is none."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchNetworks:
    """Checkpoint files, computed by PyTorch on the CPU."""

    folder: Path
    architecture: ArchitectureConfig

    def predict(self, asked: Sequence[NetworkInput]) -> Found:
        """Compute one network per core. The error of a ticker is a CheckpointRefused."""
        found = on_all_cores(self._predict, asked)
        return {each.ticker: outcome for each, outcome in zip(asked, found, strict=True)}

    def _predict(self, asked: NetworkInput) -> Prediction | LdtmError:
        try:
            path = file_of(self.folder, asked.checkpoint.file_name)
            state = load(path, sha256=asked.checkpoint.file_sha256, architecture=self.architecture)
        except LdtmError as refusal:
            return refusal
        return Prediction(scaled=forecast(asked.window, state, self.architecture), backend="torch")


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxNetworks:
    """Exported files with a certificate, computed by ONNX Runtime on the CPU."""

    folder: Path
    """Folder of the exports."""

    def predict(self, asked: Sequence[NetworkInput]) -> Found:
        """Compute several networks in one pass of the universe's file, and those that it lacks from their own files.

        A single network is always computed from its own file.
        """
        found: Found = {}
        rest = list(asked)
        if len(asked) > 1:
            found |= self._by_universe(asked)
            rest = [each for each in asked if each.ticker not in found]
        for each in rest:
            try:
                with certified_file(self.folder, each.checkpoint) as file:
                    found |= _run(file, [each])
            except LdtmError as error:
                found[each.ticker] = error
        return found

    def _by_universe(self, asked: Sequence[NetworkInput]) -> Found:
        """The predictions of the universe's file, for the requested networks that it holds.

        Empty if the file cannot be used: every network has its own file as well.
        """
        path = self.folder / UNIVERSE
        try:
            with OnnxFile.open(path) as file:
                held = {network.ticker: network.checkpoint_sha256 for network in file.metadata.networks}
                served = [each for each in asked if held.get(each.ticker) == each.checkpoint.file_sha256]
                wanted = {each.ticker: each.checkpoint.file_sha256 for each in served}
                require_certificate(certificate_path(path), file, checkpoints=wanted)
                return _run(file, served)
        except (ExportRefused, CertificateRefused):
            return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxFromCheckpoints:
    """Checkpoint files that are exported when needed and computed by ONNX Runtime: replays may lack the old exports."""

    folder: Path
    """Folder of the checkpoint files."""
    window: WindowConfig

    def predict(self, asked: Sequence[NetworkInput]) -> Found:
        """Export and compute one network after the other."""
        found: Found = {}
        for each in asked:
            with TemporaryDirectory(prefix="ldtm-replay-") as temporary:
                path = Path(temporary) / "model.onnx"
                try:
                    source = file_of(self.folder, each.checkpoint.file_name)
                    checkpoint = CheckpointFile(path=source, sha256=each.checkpoint.file_sha256)
                    window = self.window.replace(window_sessions=len(each.window))
                    sha256 = export({each.ticker: checkpoint}, path, window)
                    with OnnxFile.open(path, sha256=sha256) as file:
                        found |= _run(file, [each])
                except LdtmError as error:
                    found[each.ticker] = error
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineNetworks:
    """TensorRT engines with a certificate, on the GPU that they were built for."""

    folder: Path
    """Folder of the exports."""

    def predict(self, asked: Sequence[NetworkInput]) -> Found:
        """Compute one engine after another: the GPU holds one at a time. Raises EngineRefused without a GPU."""
        gpu = current_gpu()
        found: Found = {}
        for each in asked:
            try:
                with certified_file(self.folder, each.checkpoint) as file:
                    engine = open_engine(self.folder, each.checkpoint, file, gpu)
                    scaled = engine.forecast({each.ticker: each.window})[each.ticker]
            except LdtmError as error:
                found[each.ticker] = error
                continue
            found[each.ticker] = Prediction(scaled=scaled, backend=engine.record.flavour)
        return found


class PreferredNetworks:
    """Networks of an export where it can be used, and of PyTorch otherwise."""

    def __init__(self, preferred: Networks, otherwise: Networks, *, backend: Backend) -> None:
        self._preferred, self._otherwise, self._backend = preferred, otherwise, backend
        self.notes: list[str] = []
        """Reasons why PyTorch computed forecasts instead of the export, one line per call."""

    def predict(self, asked: Sequence[NetworkInput]) -> Found:
        """The predictions of the export, and of PyTorch for those that it refuses."""
        try:
            found = self._preferred.predict(asked)
        except LdtmError as error:
            found: Found = dict.fromkeys((each.ticker for each in asked), error)
        refused = {ticker: outcome for ticker, outcome in found.items() if isinstance(outcome, LdtmError)}
        if not refused or self._preferred is self._otherwise:
            return found
        ticker, reason = next(iter(refused.items()))
        what = "forecasts was" if len(refused) == 1 else "forecasts were"
        self.notes.append(
            f"{len(refused)} of {len(asked)} {what} computed by PyTorch, not by {self._backend}; {ticker}: {reason}"
        )
        return found | self._otherwise.predict([each for each in asked if each.ticker in refused])


def networks_of(backend: Backend, *, folder: Path, exports: Path, architecture: ArchitectureConfig) -> Networks:
    """The networks of a backend. `folder` holds the checkpoint files, `exports` the exported files and engines."""
    match backend:
        case "torch":
            return TorchNetworks(folder=folder, architecture=architecture)
        case "onnx":
            return OnnxNetworks(folder=exports)
        case "tensorrt":
            return EngineNetworks(folder=exports)


def networks_of_daily_run(settings: Settings, folder: Path, exports: Path | None) -> PreferredNetworks:
    """The networks of the configured backend, with PyTorch as fallback; PyTorch alone without a folder of exports."""
    backend = settings.forecast.backend
    torch = TorchNetworks(folder=folder, architecture=settings.architecture)
    if exports is None or backend == "torch":
        return PreferredNetworks(torch, torch, backend=backend)
    preferred = networks_of(backend, folder=folder, exports=exports, architecture=settings.architecture)
    return PreferredNetworks(preferred, torch, backend=backend)


def _run(file: OnnxFile, asked: Sequence[NetworkInput]) -> Found:
    """The predictions of a file; a window that it does not accept is an error of its ticker alone."""
    found: Found = {}
    windows: dict[str, Scaled] = {}
    for each in asked:
        try:
            windows[each.ticker] = require_windows(each.ticker, each.window, file.metadata, num_axes=2)
        except WindowRefused as error:
            found[each.ticker] = error
    if not windows:
        return found
    try:
        with OnnxForecaster([file], num_threads=min(available_cores(), len(windows))) as forecaster:
            scaled = forecaster.forecast(windows)
    except LdtmError as error:
        return found | dict.fromkeys(windows, error)
    return found | {ticker: Prediction(scaled=rows, backend="onnx") for ticker, rows in scaled.items()}
