"""`ldtm export`, its sub-commands, and `ldtm forecast`: exit status, JSON, and what a terminal shows."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from ldtm_cli.commands.export import print_engines, print_onnx, print_previews
from ldtm_lib.database.connection import Connection, Database
from ldtm_lib.export.certificate import Certificate, CheckedRule
from ldtm_lib.export.engine import EngineRecord
from ldtm_lib.ledger.preview import Preview
from ldtm_lib.models.engine_execution import gpu_properties
from ldtm_lib.registry.engines import BuiltEngine, EngineReport
from ldtm_lib.registry.exports import Exported, ExportReport
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import Settings
from tests.integration.environment import RUN_DATE, ForecastEnvironment
from tests.integration.ldtm_cli.kept_outputs import compare_at_all_widths
from tests.integration.ldtm_cli.shell import run_ldtm


@pytest.fixture
def folder(tmp_path: Path, database: Database, conn: Connection, calendar: Calendar, settings: Settings) -> Path:
    """An installation with an active model of AAPL and none of MSFT."""
    (tmp_path / "universe.toml").write_text('tickers = ["AAPL", "MSFT"]\n')
    ForecastEnvironment(conn, calendar, settings, tmp_path / ".ldtm/ldtm/checkpoints").ready("AAPL")
    conn.commit()
    return tmp_path


def certificate(figure: float) -> Certificate:
    """A certificate with one rule, of a largest difference."""
    return Certificate(
        format=1,
        passed=True,
        made_at="2026-11-30T12:34:00+00:00",
        rules=[CheckedRule(name="largest relative difference", figure=figure, bound=1e-3)],
        onnx_sha256="",
        checkpoints={},
        engine_sha256=None,
        windows={},
        differences={},
        versions={},
    )


def test_results_of_exports_and_forecasts_are_printed(tmp_path: Path) -> None:
    for name, megabytes in (("AAPL_ldtm_v1.2026-03-27.onnx", 0.3), ("universe.onnx", 31.2), ("AAPL.engine", 1.4)):
        with (tmp_path / name).open("wb") as file:
            file.truncate(int(megabytes * 1e6))
    paths = (tmp_path / "AAPL_ldtm_v1.2026-03-27.onnx", tmp_path / "universe.onnx")
    onnx = ExportReport(
        exported=(
            Exported(name="AAPL", path=paths[0], certificate=certificate(1.2e-7), is_new=True),
            Exported(name="universe", path=paths[1], certificate=certificate(3.4e-7), is_new=False),
        ),
        refused={"IBM": "the largest relative difference is 0.02, above the bound of 1e-05"},
        without_model=("MSFT",),
        removed=("AAPL_ldtm_v1.2025-12-26.onnx",),
    )
    unwrapped = "refused|not certified|removed|no forecast"
    compare_at_all_widths("export-onnx", lambda console: print_onnx(console, console, onnx), unwrapped=unwrapped)
    record = EngineRecord(
        flavour="tensorrt-rtx",
        version="1.2.0.54",
        gpu_name=None,
        compute_capability="8.9",
        precision="fp16",
        onnx_sha256="",
        engine_sha256="",
        largest_batch=256,
    )
    engine = BuiltEngine(ticker="AAPL", path=tmp_path / "AAPL.engine", record=record, certificate=None, is_new=True)
    engines = EngineReport(
        engines=(engine, replace(engine, ticker="FB", certificate=certificate(2e-4), is_new=False)),
        refused={},
        onnx=replace(onnx, refused={}, removed=()),
        not_run="no CUDA device is available",
    )
    compare_at_all_widths(
        "export-tensorrt", lambda console: print_engines(console, console, engines), unwrapped=unwrapped
    )
    preview = Preview(
        ticker="AAPL",
        run_date=RUN_DATE,
        close=1234.5,
        prices=(1236.25, 1237.5, 1302.75),
        direction="bullish",
        version="v1.2012-12-31",
        backend="torch",
    )
    missing = {"MSFT": "has no active model"}
    compare_at_all_widths(
        "forecast", lambda console: print_previews(console, console, [preview], missing), unwrapped=unwrapped
    )


def test_export_writes_files_and_says_when_they_are_up_to_date(folder: Path, database: Database) -> None:
    first = run_ldtm(folder, database.url, "export", COLUMNS="80")
    assert first.returncode == 0, first.stderr
    assert first.stdout.count("exported") == 2
    assert "universe.onnx" in first.stdout
    assert "up to date" in run_ldtm(folder, database.url, "export", COLUMNS="80").stdout
    listed = json.loads(run_ldtm(folder, database.url, "export", "--json").stdout)
    assert [(each["name"], each["is_new"]) for each in listed["exported"]] == [("AAPL", False), ("universe", False)]
    assert all(Path(each["path"]).is_file() for each in listed["exported"])


def test_a_ticker_without_an_active_model_is_status_1_with_its_reason(folder: Path, database: Database) -> None:
    done = run_ldtm(folder, database.url, "export", "onnx", "AAPL,MSFT", COLUMNS="120")
    assert done.returncode == 1
    assert "refused: MSFT has no active model" in done.stderr
    assert "universe.onnx" in done.stdout, "the other ticker goes on"
    unknown = run_ldtm(folder, database.url, "export", "onnx", "NOPE", COLUMNS="200")
    assert unknown.returncode == 1
    assert "NOPE is not in the universe" in unknown.stderr


def test_a_ticker_without_a_sub_command_and_json_before_one_are_usage_errors(folder: Path, database: Database) -> None:
    bare = run_ldtm(folder, database.url, "export", "AAPL", COLUMNS="120")
    assert (bare.returncode, bare.stdout) == (2, "")
    assert "No such command 'AAPL'" in bare.stderr
    early = run_ldtm(folder, database.url, "export", "--json", "onnx", COLUMNS="120")
    assert (early.returncode, early.stdout) == (2, "")
    assert "write --json after `onnx`" in early.stderr


@pytest.mark.slow
def test_engines_are_built_for_a_compute_capability_and_shown_as_not_certified(
    folder: Path, database: Database
) -> None:
    pytest.importorskip("tensorrt_rtx_bindings", reason="TensorRT-RTX has wheels for Linux x86_64 alone")
    if gpu_properties() is not None:
        pytest.skip("this machine has a CUDA device")
    words = ("export", "tensorrt", "AAPL", "--rtx", "--fp16", "--compute-capability", "8.9")
    first = run_ldtm(folder, database.url, *words, COLUMNS="80")
    assert first.returncode == 0, first.stderr
    assert "built, not certified" in first.stdout
    assert "fp16, for GPUs of compute capability 8.9" in first.stdout
    assert max(len(line) for line in first.stdout.splitlines()) <= 80
    assert "not certified: no CUDA device is available" in first.stderr
    listed = json.loads(run_ldtm(folder, database.url, *words, "--json").stdout)
    [engine] = listed["engines"]
    assert (engine["ticker"], engine["is_new"], engine["is_certified"], engine["gpu_name"]) == (
        "AAPL",
        False,
        False,
        None,
    )
    assert Path(engine["path"]).name.endswith(".tensorrt-rtx.fp16.engine")
    both = run_ldtm(folder, database.url, "export", "tensorrt", "AAPL,MSFT", *words[3:], COLUMNS="120")
    assert both.returncode == 1
    assert "refused: MSFT has no active model" in both.stderr


def test_the_standard_tensorrt_without_a_gpu_is_refused(folder: Path, database: Database) -> None:
    if gpu_properties() is not None:
        pytest.skip("this machine has a CUDA device")
    done = run_ldtm(folder, database.url, "export", "tensorrt", COLUMNS="200")
    assert done.returncode == 1
    assert "error: no CUDA device is available; build engines on a machine with an NVIDIA GPU" in done.stderr


def test_forecast_prints_the_same_prices_by_both_backends(folder: Path, database: Database) -> None:
    run_ldtm(folder, database.url, "export")
    [by_torch], [by_onnx] = (
        json.loads(run_ldtm(folder, database.url, "forecast", "AAPL", "--json", "--backend", backend).stdout)[
            "forecasts"
        ]
        for backend in ("torch", "onnx")
    )
    assert (by_torch["run_date"], by_torch["backend"], by_onnx["backend"]) == (str(RUN_DATE), "torch", "onnx")
    assert by_torch["prices"] == pytest.approx(by_onnx["prices"], rel=1e-6), "float32 sums in another order"
    shown = run_ldtm(folder, database.url, "forecast", "AAPL", "MSFT", COLUMNS="80")
    assert shown.returncode == 1
    assert f"{by_torch['prices'][0]:.2f}" in shown.stdout
    assert "no forecast: MSFT has no active model" in shown.stderr


def test_forecast_by_onnx_before_an_export_names_the_command(folder: Path, database: Database) -> None:
    done = run_ldtm(folder, database.url, "forecast", "AAPL", "--backend", "onnx", COLUMNS="200")
    assert done.returncode == 1
    assert "no forecast: AAPL" in done.stderr
