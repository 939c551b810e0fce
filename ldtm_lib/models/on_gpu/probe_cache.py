"""Cache of passed probes, keyed by everything that they depend on, so that each runs once on a machine."""

import hashlib
import importlib.metadata
import json
from collections.abc import Callable
from pathlib import Path
from typing import cast

import torch

from ldtm_lib.atomic_io import write_whole
from ldtm_lib.gpu.nvml import driver_version
from ldtm_lib.models.cuda_order import uuid_of
from ldtm_lib.models.fused import kernels
from ldtm_lib.models.on_gpu import probe
from ldtm_lib.settings import ArchitectureConfig, TrainingConfig

MOST_KEPT = 100


def require_probed(
    run_probe: Callable[[], object],
    what: str,
    cache: Path,
    *,
    device: torch.device,
    recipe: TrainingConfig,
    architecture: ArchitectureConfig,
    window_sessions: int,
) -> None:
    """Run a probe unless the same one passed before; raises what the probe raises.

    If the file cannot be read or written, the probe runs again next time. A probe that fails is not recorded, because
    its cause may be fixed.
    """
    key = probe_key(what, device=device, recipe=recipe, architecture=architecture, window_sessions=window_sessions)
    passed = _read(cache)
    if key in passed:
        return
    run_probe()
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        write_whole(cache, json.dumps([*passed[-MOST_KEPT + 1 :], key]).encode())
    except OSError:
        return


def probe_key(
    what: str,
    *,
    device: torch.device,
    recipe: TrainingConfig,
    architecture: ArchitectureConfig,
    window_sessions: int,
) -> str:
    """SHA-256 of the operations, the GPU, the driver, torch, Triton, the shape, and the source of trainer and probe."""
    on_gpu = device.type == "cuda"
    parts = [
        what,
        uuid_of(device.index or 0) if on_gpu else "cpu",
        _driver() if on_gpu else "",
        f"{torch.__version__} {torch.version.cuda}",
        _version_of("triton"),
        architecture.model_dump_json(),
        recipe.model_dump_json(),
        str(window_sessions),
        Path(probe.__file__).read_text(encoding="utf-8"),
        *(path.read_text(encoding="utf-8") for path in sorted(Path(kernels.__file__).parents[1].rglob("*.py"))),
    ]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _driver() -> str:
    return driver_version() or "unknown"


def _version_of(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "none"


def _read(cache: Path) -> list[str]:
    try:
        found: object = json.loads(cache.read_bytes())
    except (OSError, ValueError):
        return []
    return [str(key) for key in cast(list[object], found)] if isinstance(found, list) else []
