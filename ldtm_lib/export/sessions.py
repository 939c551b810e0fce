"""Forecasts of many tickers by ONNX Runtime, from a file of the universe or from files of single tickers.

Axes: T sessions of a window, I inputs, H horizons, n windows of one ticker.
"""

import os
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ldtm_lib.errors import ExportRefused, WindowRefused
from ldtm_lib.export.extras import onnxruntime_package
from ldtm_lib.export.file_metadata import ExportedNetwork, FileMetadata
from ldtm_lib.export.onnx_file import REMEDY, OnnxFile
from ldtm_lib.models.forecast import Predictions, Scaled

FEW_TICKERS = 8
"""Largest number of tickers of a larger file that are forecast by sessions of their own: a session computes all of its
branches, which takes 41 ms for 103 of them and 0.3 ms for one."""
KEPT_SESSIONS = 16
"""Number of sessions of single tickers that stay open in addition to that of the universe; each takes about 2 MB."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Group:
    """Tickers of one file that share a session."""

    file: OnnxFile
    tickers: tuple[str, ...]
    session: Any


class OnnxForecaster:
    """Networks of exported files, ready to forecast; not safe for use by several threads of the caller."""

    def __init__(self, files: Sequence[OnnxFile], *, num_threads: int = 1) -> None:
        """Load every file into one session, or into one per thread, each with a share of the tickers.

        The files must stay open. With one thread, the default, a single session serves all tickers of a file. Raises
        ExportRefused when a file cannot be loaded or two files hold one ticker, and MissingExtra.
        """
        if num_threads < 1:
            raise ExportRefused(f"num_threads is {num_threads}; give at least 1")
        self.num_threads = num_threads
        self._closed = False
        self._networks: dict[str, tuple[OnnxFile, ExportedNetwork]] = {}
        for file in files:
            for network in file.metadata.networks:
                if network.ticker in self._networks:
                    other = self._networks[network.ticker][0].path
                    raise ExportRefused(f"{network.ticker} is in {other} and in {file.path}; open one of the two")
                self._networks[network.ticker] = file, network
        self._groups = [group for file in files for group in _groups(file, num_threads)]
        self._single: OrderedDict[str, _Group] = OrderedDict()
        self._threads = ThreadPoolExecutor(num_threads) if num_threads > 1 else None

    @property
    def tickers(self) -> tuple[str, ...]:
        """The tickers that can be forecast."""
        return tuple(self._networks)

    def checkpoint_sha256(self, ticker: str) -> str:
        """The SHA-256 of the checkpoint that a ticker's network comes from."""
        return self._network(ticker)[1].checkpoint_sha256

    def forecast(self, windows: Mapping[str, Scaled]) -> dict[str, Predictions]:
        """Scaled predictions (H,) by ticker from one window (T, I) each, in the order given.

        Raises WindowRefused; nothing is computed then.
        """
        batches = {ticker: self._checked(ticker, window, num_axes=2)[None] for ticker, window in windows.items()}
        return {ticker: rows[0] for ticker, rows in self._run(batches).items()}

    def forecast_batches(self, windows: Mapping[str, Scaled]) -> dict[str, Predictions]:
        """Scaled predictions (n, H) by ticker from its windows (n, T, I); n may differ between tickers.

        Raises WindowRefused; nothing is computed then.
        """
        return self._run({ticker: self._checked(ticker, batch, num_axes=3) for ticker, batch in windows.items()})

    def close(self) -> None:
        """End the threads and drop the sessions."""
        if self._threads is not None:
            self._threads.shutdown()
        self._closed = True
        self._groups.clear()
        self._single.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self, batches: Mapping[str, Scaled]) -> dict[str, Predictions]:
        if self._closed:
            raise WindowRefused("the forecaster is closed; open the files again")
        groups: list[_Group] = []
        for group in self._groups:
            wanted = [ticker for ticker in group.tickers if ticker in batches]
            if len(group.tickers) > 1 and len(wanted) <= min(FEW_TICKERS, len(group.tickers) - 1):
                groups += [self._single_session(ticker) for ticker in wanted]
            elif wanted:
                groups.append(group)
        found: dict[str, Predictions] = {}
        parts = self._threads.map(_outputs, groups, [batches] * len(groups)) if self._threads else None
        for part in parts or (_outputs(group, batches) for group in groups):
            found |= part
        return {ticker: found[ticker] for ticker in batches}

    def _single_session(self, ticker: str) -> _Group:
        if ticker not in self._single:
            self._single[ticker] = _group_of_part(self._networks[ticker][0], (ticker,))
            if len(self._single) > KEPT_SESSIONS:
                self._single.popitem(last=False)
        self._single.move_to_end(ticker)
        return self._single[ticker]

    def _network(self, ticker: str) -> tuple[OnnxFile, ExportedNetwork]:
        if ticker not in self._networks:
            raise WindowRefused(f"{ticker} has no network in the loaded files; export it, or leave it out")
        return self._networks[ticker]

    def _checked(self, ticker: str, windows: Scaled, *, num_axes: int) -> Scaled:
        metadata = self._network(ticker)[0].metadata
        return require_windows(ticker, windows, metadata, num_axes=num_axes)


def require_windows(ticker: str, windows: Scaled, metadata: FileMetadata, *, num_axes: int = 3) -> Scaled:
    """The windows of a ticker, contiguous, after a check of their type, shape and values; raises WindowRefused.

    An empty batch is refused because ONNX Runtime ends the whole process on an LSTM without rows.
    """
    expected = (metadata.window_sessions, len(metadata.inputs))
    shape = np.shape(windows)
    batch = "batch, " if num_axes == 3 else ""
    if len(shape) != num_axes or shape[-2:] != expected or 0 in shape:
        raise WindowRefused(
            f"the windows of {ticker} have shape {shape}; give ({batch}{expected[0]}, {expected[1]}), at least one row"
        )
    if windows.dtype != np.float32:
        raise WindowRefused(f"the windows of {ticker} are {windows.dtype}; give float32, scaled as the file describes")
    if not (finite := np.isfinite(windows)).all():
        place = ", ".join(str(at) for at in np.argwhere(~finite)[0])
        raise WindowRefused(
            f"the windows of {ticker} have {windows[~finite][0]} at ({place}); leave the ticker out or correct its bars"
        )
    return np.ascontiguousarray(windows)


def _groups(file: OnnxFile, num_threads: int) -> list[_Group]:
    tickers = file.metadata.tickers
    if num_threads == 1 or len(tickers) == 1:
        return [_Group(file=file, tickers=tickers, session=_session(file, file.model_path(), tickers))]
    shares = [tickers[start::num_threads] for start in range(min(num_threads, len(tickers)))]
    return [_group_of_part(file, share) for share in shares]


def _group_of_part(file: OnnxFile, tickers: tuple[str, ...]) -> _Group:
    """A session over some branches of a file.

    Its model is passed as a file in memory: a session that is made from bytes keeps them as long as it lives.
    """
    memory = os.memfd_create("ldtm-onnx")
    try:
        with os.fdopen(os.dup(memory), "wb") as file_in_memory:
            file_in_memory.write(file.part(tickers))
        return _Group(file=file, tickers=tickers, session=_session(file, f"/proc/self/fd/{memory}", tickers))
    finally:
        os.close(memory)


def _session(file: OnnxFile, model_path: str, tickers: Iterable[str]) -> Any:
    """A session that computes on the calling thread alone, whose inputs have the shapes that the file describes."""
    runtime = onnxruntime_package()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.execution_mode = runtime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 4  # problems are raised, and not printed as well
    try:
        session = runtime.InferenceSession(model_path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the exceptions of ONNX Runtime have no base class of their own
        reason = str(error).partition("\n")[0]
        raise ExportRefused(f"exported file {file.path} cannot be loaded: {reason}; {REMEDY}") from None
    wanted, metadata = set(tickers), file.metadata
    expected = {
        network.input_name: (["batch", metadata.window_sessions, len(metadata.inputs)], "tensor(float)")
        for network in metadata.networks
        if network.ticker in wanted
    }
    found = {value.name: (value.shape, value.type) for value in session.get_inputs()}
    if found != expected:
        name = next(name for name in found | expected if found.get(name) != expected.get(name))
        raise ExportRefused(
            f"exported file {file.path} has the input {name} as {found.get(name)}, but describes {expected.get(name)}; "
            f"{REMEDY}"
        )
    return session


def _outputs(group: _Group, batches: Mapping[str, Scaled]) -> dict[str, Predictions]:
    """The predictions for the tickers of a group that have windows; the others get a window of zeros."""
    metadata = group.file.metadata
    nothing: npt.NDArray[np.float32] = np.zeros((1, metadata.window_sessions, len(metadata.inputs)), dtype=np.float32)
    networks = [network for network in metadata.networks if network.ticker in group.tickers]
    wanted = [network for network in networks if network.ticker in batches]
    feeds = {network.input_name: batches.get(network.ticker, nothing) for network in networks}
    outputs = group.session.run([network.output_name for network in wanted], feeds)
    return {network.ticker: np.asarray(rows, dtype=np.float64) for network, rows in zip(wanted, outputs, strict=True)}
