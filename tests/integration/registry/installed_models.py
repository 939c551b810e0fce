"""An installation of two tickers with active models on disk, and stand-ins for the GPU that it lacks."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest

from ldtm_lib.database.connection import Database
from ldtm_lib.export import engine as engine_module
from ldtm_lib.export.engine import half_precision, read_engine
from ldtm_lib.export.onnx_file import OnnxFile
from ldtm_lib.export.tensorrt_kinds import BUILDERS, EngineTarget
from ldtm_lib.project import Project
from ldtm_lib.registry import engines as engines_module
from ldtm_lib.registry.engines import EngineReport, export_engines
from ldtm_lib.registry.exports import ActiveFile, ExportReport, active_files, export_folder, export_models, onnx_path
from tests.integration.environment import ForecastEnvironment

TICKERS = ("AAA", "BBB")
NOW = datetime(2026, 11, 30, tzinfo=UTC)


class InstalledModels:
    """Two tickers with active models on disk, committed, and the project that they belong to."""

    def __init__(self, environment: ForecastEnvironment, database: Database, home: Path) -> None:
        self.environment, self.calendar = environment, environment.calendar
        settings = environment.settings.model_copy(update={"tickers": TICKERS})
        home.mkdir()
        (home / "checkpoints").symlink_to(environment.folder)
        self.project = Project(settings=settings, home=home, database=database)
        self.folder = export_folder(self.project)
        environment.deliver(environment.bars(TICKERS))
        for seed, ticker in enumerate(TICKERS):
            environment.network(ticker, seed=seed)
        environment.conn.commit()

    def active(self) -> list[ActiveFile]:
        return active_files(self.environment.conn)

    def stems(self) -> list[str]:
        return [onnx_path(self.folder, each).stem for each in self.active()]

    def export(self, *tickers: str) -> ExportReport:
        return export_models(self.project, self.calendar, made_at=NOW, tickers=tickers or None)

    def export_engines(self, *tickers: str, made_at: datetime = NOW, **kind: Any) -> EngineReport:
        """Engines of TensorRT-RTX in fp32 for compute capability 8.9, unless others are asked for."""
        wanted = {"flavour": "tensorrt-rtx", "precision": "fp32", "compute_capability": "8.9"} | kind
        return export_engines(self.project, self.calendar, made_at=made_at, tickers=tickers or None, **wanted)

    def replace(self, ticker: str, **named: Any) -> None:
        """Retire the active model of a ticker for another one."""
        conn = self.environment.conn
        conn.execute(
            "update checkpoint set status = 'retired', retired_at = clock_timestamp() where ticker = %(ticker)s",
            {"ticker": ticker},
        )
        self.environment.network(ticker, **named)
        conn.commit()

    def files(self) -> set[str]:
        return {path.name for path in self.folder.iterdir()}


class GpuOfTest:
    """A GPU that runs engines by ONNX Runtime, whose error can be chosen.

    It stands in for CUDA and TensorRT's runtime, which need a GPU; engines are built, hashed and read as ever.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str = "NVIDIA GeForce RTX 4090") -> None:
        self.target = EngineTarget(name=name, compute_capability="8.9")
        self.error = 0.0
        self.num_loaded = 0
        monkeypatch.setattr(engines_module, "current_gpu", lambda: self.target)
        monkeypatch.setattr(engine_module, "_loaded", self._load)
        monkeypatch.setattr(engine_module, "execute", self._execute)

    def _load(self, path: Path, *, file: OnnxFile, gpu: EngineTarget) -> tuple[engine_module.EngineRecord, Any]:
        version = str(BUILDERS["tensorrt-rtx"].module().__version__)
        record, _ = read_engine(path, file=file, gpu=gpu, version=version)
        content = file.part(file.metadata.tickers)
        model = content if record.precision == "fp32" else half_precision(content)
        session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        self.num_loaded += 1
        return record, SimpleNamespace(create_execution_context=lambda: session)

    def _execute(
        self, context: Any, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, Any], *, device: str
    ) -> dict[str, np.ndarray]:
        found = context.run([*outputs], dict(inputs))
        return {name: array + np.float32(self.error) for name, array in zip(outputs, found, strict=True)}
