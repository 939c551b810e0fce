"""The two kinds of TensorRT, the standard one and TensorRT-RTX, and the differences between them."""

import importlib
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from ldtm_lib.errors import EngineRefused, MissingExtra
from ldtm_lib.export.extras import install_extra

Flavour = Literal["tensorrt", "tensorrt-rtx"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineTarget:
    """The GPU, or the kind of GPU, that an engine is for."""

    name: str | None
    """Such as "NVIDIA H100 80GB HBM3"; None for any GPU of the compute capability."""
    compute_capability: str
    """Such as "9.0"."""

    @property
    def label(self) -> str:
        """The GPU in words."""
        return self.name or f"any GPU of compute capability {self.compute_capability}"


class EngineBuilder(Protocol):
    """One kind of TensorRT."""

    flavour: Flavour

    @abstractmethod
    def module(self) -> Any:
        """The Python package; raises MissingExtra."""

    @abstractmethod
    def require_target(self, trt: Any, gpu: EngineTarget) -> None:
        """Raise EngineRefused for a GPU that it does not build for."""

    @abstractmethod
    def prepare(self, trt: Any, config: Any, gpu: EngineTarget, timing_cache: bytes) -> None:
        """Set what differs between the kinds: the target GPU and the timing cache."""

    @abstractmethod
    def timing_cache(self, config: Any) -> bytes:
        """The timing cache after a build; empty if there is none."""


class StandardTensorRT:
    """TensorRT for data centre and other GPUs: it builds on the GPU that the engine is for."""

    flavour: Flavour = "tensorrt"

    def module(self) -> Any:
        """The package `tensorrt`."""
        return _first_module(("tensorrt",), extra="tensorrt", why="its libraries come from NVIDIA")

    def require_target(self, trt: Any, gpu: EngineTarget) -> None:
        """Accept any GPU: only the build shows which ones TensorRT supports."""

    def prepare(self, trt: Any, config: Any, gpu: EngineTarget, timing_cache: bytes) -> None:
        """Reuse measured timings; TensorRT builds for the current GPU."""
        config.set_timing_cache(config.create_timing_cache(timing_cache), ignore_mismatch=False)

    def timing_cache(self, config: Any) -> bytes:
        """The timings of this and earlier builds."""
        return bytes(config.get_timing_cache().serialize())


class TensorRTRtx:
    """TensorRT for RTX GPUs: it builds for a compute capability on any machine; the GPU optimises the engine.

    It builds without a GPU too, and measures nothing during the build, so it has no timing cache.
    """

    flavour: Flavour = "tensorrt-rtx"

    def module(self) -> Any:
        """The package `tensorrt_rtx`, or its bindings."""
        return _first_module(("tensorrt_rtx", "tensorrt_rtx_bindings"), extra="tensorrt-rtx", why="Linux x86_64 only")

    def require_target(self, trt: Any, gpu: EngineTarget) -> None:
        """Raise EngineRefused for a compute capability that it does not know."""
        known = [member for member in trt.ComputeCapability.__members__ if member.startswith("SM")]
        if _member_of(gpu) not in known:
            raise EngineRefused(
                f"TensorRT-RTX {trt.__version__} does not build for {gpu.label} with compute capability "
                f"{gpu.compute_capability}, only for {', '.join(known)}; use the standard TensorRT: "
                f"{install_extra('tensorrt')}"
            )

    def prepare(self, trt: Any, config: Any, gpu: EngineTarget, timing_cache: bytes) -> None:
        """Build for the compute capability of the GPU alone. Raises EngineRefused for one that it does not know."""
        self.require_target(trt, gpu)
        config.num_compute_capabilities = 1
        config.set_compute_capability(trt.ComputeCapability.__members__[_member_of(gpu)], 0)

    def timing_cache(self, config: Any) -> bytes:
        """Nothing."""
        return b""


BUILDERS: dict[Flavour, EngineBuilder] = {"tensorrt": StandardTensorRT(), "tensorrt-rtx": TensorRTRtx()}


def error_logger(trt: Any) -> tuple[list[str], Any]:
    """A list of errors, and a logger of TensorRT that fills it."""
    messages: list[str] = []
    severe = (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR)

    def log(self: Any, severity: Any, message: str) -> None:
        if severity in severe:
            messages.append(message)

    def start(self: Any) -> None:
        trt.ILogger.__init__(self)

    methods: dict[str, Callable[..., None]] = {"__init__": start, "log": log}
    return messages, type("ErrorList", (trt.ILogger,), methods)()


def _member_of(gpu: EngineTarget) -> str:
    """The name of a compute capability in TensorRT-RTX, such as SM89."""
    return f"SM{gpu.compute_capability.replace('.', '')}"


def _first_module(names: tuple[str, ...], *, extra: str, why: str) -> Any:
    reasons: list[str] = []
    for name in names:
        try:
            return importlib.import_module(name)
        except ImportError as error:
            reasons.append(str(error))
    raise MissingExtra(
        f"package {names[0]} cannot be imported: {reasons[0]} ({why}); install it: {install_extra(extra)}"
    )
