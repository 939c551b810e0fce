"""Engines through Dagster, built by TensorRT-RTX: what the UI shows of each ticker, also where none was run."""

from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest

from ldtm_lib.database.connection import Connection, Database
from ldtm_lib.models.engine_execution import gpu_properties
from ldtm_lib.sessions import Calendar
from tests.integration.ldtm_assets.assets.export_runs import ExportRuns, checks, failure_of, materialized
from tests.integration.registry.installed_models import GpuOfTest

SMALL = "[architecture]\nhidden = 8\nnum_layers = 1\nhead_hidden = 4\n"
ADA = '[export]\nengine = "tensorrt-rtx"\nengine_compute_capability = "8.9"\n'
ASSET_JOB = "__ASSET_JOB"
"""Dagster's job of materializations in the UI."""
slow = pytest.mark.slow
Exports = Callable[[str], ExportRuns]


@pytest.fixture
def exports(
    tmp_path: Path, database: Database, conn: Connection, calendar: Calendar, monkeypatch: pytest.MonkeyPatch
) -> Exports:
    pytest.importorskip("tensorrt_rtx_bindings", reason="TensorRT-RTX has wheels for Linux x86_64 alone")
    monkeypatch.setenv("LDTM_DATABASE_URL", database.url)
    return lambda config: ExportRuns(tmp_path, database, conn, calendar, SMALL + config)


def engines_of(result: dg.ExecuteInProcessResult) -> dict[str | None, dict[str, object]]:
    return {
        event.partition: {name: value.value for name, value in event.materialization.metadata.items()}
        for event in result.get_asset_materialization_events()
        if event.asset_key == dg.AssetKey("tensorrt_engine")
    }


def require_no_gpu() -> None:
    if gpu_properties() is not None:
        pytest.skip("this machine has a CUDA device")


@slow
def test_the_job_builds_engines_that_fail_their_check_while_they_were_not_run(exports: Exports) -> None:
    require_no_gpu()
    result = exports(ADA).run("AAA", "CCC")
    assert result.success
    assert materialized(result) == {
        *((asset, ticker) for asset in ("onnx_model", "tensorrt_engine") for ticker in ("AAA", "BBB")),
        ("onnx_universe", None),
    }
    shown = engines_of(result)["AAA"]
    assert (shown["status"], shown["precision"]) == ("built", "fp32")
    assert shown["GPU"] == "any of compute capability 8.9"
    assert str(shown["certified at"]).startswith("none: no CUDA device is available")
    assert checks(result, "export_agrees") == {"AAA": True, "BBB": True, None: True}
    assert checks(result, "engine_agrees") == {"AAA": False, "BBB": False, None: False}
    of_aaa = [
        e for e in result.get_asset_check_evaluations() if (e.check_name, e.partition) == ("engine_agrees", "AAA")
    ]
    assert [e.severity for e in of_aaa] == [dg.AssetCheckSeverity.WARN]
    assert str(of_aaa[0].description).startswith("not run here: no CUDA device is available")


@slow
def test_an_engine_that_runs_here_passes_its_check_with_its_figures(
    exports: Exports, monkeypatch: pytest.MonkeyPatch
) -> None:
    GpuOfTest(monkeypatch)
    result = exports('[export]\nengine = "tensorrt-rtx"\n').run("AAA", "BBB")
    assert result.success
    assert checks(result, "engine_agrees") == {"AAA": True, "BBB": True, None: True}
    assert "tensorrt-rtx: relative difference of next_day" in engines_of(result)["BBB"]


@slow
def test_a_refused_ticker_fails_by_name_and_the_engines_of_the_others_are_recorded(
    exports: Exports, monkeypatch: pytest.MonkeyPatch
) -> None:
    GpuOfTest(monkeypatch)
    runs = exports(ADA)
    runs.damage("AAA")
    result = runs.run("AAA", "BBB")
    assert not result.success
    assert {*engines_of(result)} == {"BBB"}
    assert checks(result, "engine_agrees") == {"AAA": False, "BBB": True, None: False}
    assert "AAA (onnx_model, tensorrt_engine): checkpoint" in failure_of(result)


@slow
def test_an_engine_that_differs_fails_its_ticker_and_its_check(
    exports: Exports, monkeypatch: pytest.MonkeyPatch
) -> None:
    GpuOfTest(monkeypatch).error = 1e-3
    result = exports(ADA).run("AAA", "AAA")
    assert not result.success
    assert ("onnx_model", "AAA") in materialized(result)
    assert engines_of(result) == {}
    assert checks(result, "engine_agrees")["AAA"] is False
    assert "AAA (tensorrt_engine): tensorrt-rtx: relative difference of" in failure_of(result)


@slow
def test_a_materialization_of_engines_alone_records_the_onnx_files_that_it_made(exports: Exports) -> None:
    require_no_gpu()
    runs = exports(ADA)
    first = runs.run("AAA", "AAA", job=ASSET_JOB, assets=["tensorrt_engine"])
    assert first.success
    assert materialized(first) == {("onnx_model", "AAA"), ("onnx_universe", None), ("tensorrt_engine", "AAA")}
    second = runs.run("AAA", "AAA", job=ASSET_JOB, assets=["tensorrt_engine"])
    assert materialized(second) == {("tensorrt_engine", "AAA")}
    assert engines_of(second)["AAA"]["status"] == "up to date"


def test_without_a_tensorrt_in_the_configuration_a_materialization_names_the_setting(exports: Exports) -> None:
    result = exports("").run("AAA", "AAA", job=ASSET_JOB, assets=["tensorrt_engine"])
    assert not result.success
    assert 'export.engine of universe.toml is "none"; set it to "tensorrt" or "tensorrt-rtx"' in failure_of(result)


def test_the_standard_tensorrt_without_a_gpu_fails_with_the_reason(exports: Exports) -> None:
    require_no_gpu()
    result = exports('[export]\nengine = "tensorrt"\n').run("AAA", "BBB")
    assert not result.success
    assert ("onnx_model", "BBB") in materialized(result)
    assert "no CUDA device is available; build engines on a machine with an NVIDIA GPU" in failure_of(result)
