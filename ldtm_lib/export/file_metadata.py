"""The description inside an exported ONNX file, with which a program without LDTM can use the file.

It is one JSON document under the key `ldtm` of the file's metadata. It contains no time of writing and no path: equal
networks give equal bytes. The version of LDTM is that of the writer.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ldtm_lib.features.inputs import INPUTS
from ldtm_lib.installation import installed_version
from ldtm_lib.sessions import HORIZONS
from ldtm_lib.settings import ArchitectureConfig, WindowConfig

KEY = "ldtm"
FORMAT = 1
"""Version of the layout of files; a reader refuses others."""
OPSET = 17
IR_VERSION = 8
"""The version of the file format that came with opset 17."""
PRODUCER = "ldtm"
SCALING = {
    "inputs": "each of the inputs over its window alone: (value - minimum) / (maximum - minimum), in float32 after "
    "the values were rounded to float32; 0 where maximum - minimum is at most 2**-23 * max(|minimum|, |maximum|)",
    "outputs": "price = lowest close of the window + output * (highest close - lowest close), in float64; output * 1 "
    "where both are equal",
}
INDICATORS = {
    "log_return_1": "ln(close / close one bar before)",
    "log_return_5": "ln(close / close five bars before)",
    "rsi_14": "Wilder, 0 to 100: averages of gains and losses start as the mean of the first 14 changes and move by "
    "1/14 to each later one; 50 where nothing moved",
    "close_to_ma_5": "close / mean of the last 5 closes",
    "close_to_ma_10": "close / mean of the last 10 closes",
    "close_to_ma_20": "close / mean of the last 20 closes",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedNetwork:
    """One network of a file."""

    ticker: str
    checkpoint_sha256: str
    """SHA-256 of the checkpoint file that its parameters come from."""
    architecture: Mapping[str, Any]
    input_name: str
    """Name of the input of shape (batch, sessions, inputs), float32."""
    output_name: str
    """Name of the output of shape (batch, horizons), float32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileMetadata:
    """The description of a whole file."""

    ldtm_version: str
    window_sessions: int
    warmup_bars: int
    """Bars before the window that its indicators read."""
    inputs: tuple[str, ...]
    horizons: tuple[str, ...]
    networks: tuple[ExportedNetwork, ...]

    @property
    def tickers(self) -> tuple[str, ...]:
        """The tickers of the networks, in the order of the file."""
        return tuple(network.ticker for network in self.networks)

    def encode(self) -> str:
        """The JSON document; equal descriptions give equal text."""
        networks = [
            {
                "ticker": network.ticker,
                "checkpoint_sha256": network.checkpoint_sha256,
                "architecture": dict(network.architecture),
                "input": {
                    "name": network.input_name,
                    "shape": ["batch", self.window_sessions, len(self.inputs)],
                    "dtype": "float32",
                },
                "output": {"name": network.output_name, "shape": ["batch", len(self.horizons)], "dtype": "float32"},
            }
            for network in self.networks
        ]
        document = {
            "format": FORMAT,
            "ldtm_version": self.ldtm_version,
            "window_sessions": self.window_sessions,
            "warmup_bars": self.warmup_bars,
            "inputs": list(self.inputs),
            "indicators": INDICATORS,
            "horizons": list(self.horizons),
            "scaling": SCALING,
            "networks": networks,
        }
        return json.dumps(document, sort_keys=True, separators=(",", ":"))


def describe(networks: tuple[ExportedNetwork, ...], window: WindowConfig) -> FileMetadata:
    """The description of a file that this version of LDTM writes."""
    return FileMetadata(
        ldtm_version=installed_version(),
        window_sessions=window.window_sessions,
        warmup_bars=window.warmup_bars,
        inputs=INPUTS,
        horizons=HORIZONS,
        networks=networks,
    )


def decode(text: str) -> FileMetadata:
    """The inverse of `FileMetadata.encode`; raises ValueError with the reason."""
    try:
        document: dict[str, Any] = json.loads(text)
        if document["format"] != FORMAT:
            raise ValueError(f"its format is {document['format']}, but this version of LDTM reads {FORMAT}")
        networks = tuple(
            ExportedNetwork(
                ticker=str(entry["ticker"]),
                checkpoint_sha256=str(entry["checkpoint_sha256"]),
                architecture=ArchitectureConfig(
                    **{k: v for k, v in entry["architecture"].items() if k not in ("num_inputs", "num_horizons")}
                ).model_dump(),
                input_name=str(entry["input"]["name"]),
                output_name=str(entry["output"]["name"]),
            )
            for entry in document["networks"]
        )
        return FileMetadata(
            ldtm_version=str(document["ldtm_version"]),
            window_sessions=int(document["window_sessions"]),
            warmup_bars=int(document["warmup_bars"]),
            inputs=tuple(document["inputs"]),
            horizons=tuple(document["horizons"]),
            networks=networks,
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"its description is incomplete or malformed: {error}") from None
