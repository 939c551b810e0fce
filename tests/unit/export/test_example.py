"""The example reads a file that the project exported, and gives the project's own forecast."""

import ast
import importlib.util
import json
import subprocess
import sys
from datetime import date
from pathlib import Path
from types import ModuleType

import numpy as np
import polars as pl
import pytest

from ldtm_lib.export.onnx_file import encode, write
from ldtm_lib.features.scaling import unscale_prices
from ldtm_lib.features.windows import latest_windows
from ldtm_lib.models.forecast import forecast
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import ArchitectureConfig, WindowConfig
from tests.repository import REPOSITORY
from tests.unit.export.networks import network, networks, state_of

EXAMPLE = REPOSITORY / "examples" / "serve_onnx.py"
SHAPE = ArchitectureConfig()


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("serve_onnx", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "IBM.onnx"
    write(encode({"IBM": network(SHAPE)}, WindowConfig()), path)
    return path


def csv_of(bars: pl.DataFrame, session: date, num_bars: int, folder: Path) -> Path:
    bars.filter(pl.col("session") <= session).tail(num_bars).drop("ticker").write_csv(folder / "bars.csv")
    return folder / "bars.csv"


def by_the_project(bars: pl.DataFrame, session: date, calendar: Calendar) -> np.ndarray:
    (window,) = latest_windows(bars, ["IBM"], session, calendar, WindowConfig())
    assert window.inputs is not None
    scaled = forecast(window.inputs, state_of(SHAPE), SHAPE)[None]
    return unscale_prices(scaled, np.array([window.close_min]), np.array([window.close_max]))[0]


SESSIONS = [date(2003, 2, 14), date(2008, 10, 10), date(2013, 2, 28)]


@pytest.mark.parametrize("session", SESSIONS)
@pytest.mark.parametrize("num_bars", [280, 1000])
def test_280_bars_give_the_forecast_of_the_project(
    session: date,
    num_bars: int,
    example: ModuleType,
    model: Path,
    bars: pl.DataFrame,
    calendar: Calendar,
    tmp_path: Path,
) -> None:
    """1e-7 of the price: means and averages are summed in another order before they are rounded to float32."""
    found = example.forecast(str(model), csv_of(bars, session, num_bars, tmp_path))
    assert list(found) == ["next_day", "next_monday", "one_month"]
    np.testing.assert_allclose(list(found.values()), by_the_project(bars, session, calendar), rtol=1e-7)


@pytest.mark.parametrize("session", SESSIONS)
def test_60_bars_give_what_the_project_makes_of_60_bars(
    session: date,
    example: ModuleType,
    model: Path,
    bars: pl.DataFrame,
    calendar: Calendar,
    tmp_path: Path,
) -> None:
    path = csv_of(bars, session, 60, tmp_path)
    few = bars.filter(pl.col("session") <= session).tail(60)
    found = list(example.forecast(str(model), path).values())
    np.testing.assert_allclose(found, by_the_project(few, session, calendar), rtol=1e-7)
    assert not np.allclose(found, by_the_project(bars, session, calendar), rtol=1e-9, atol=0)


@pytest.mark.parametrize("session", SESSIONS)
def test_60_bars_differ_from_all_of_them_in_the_rsi_alone(
    session: date, example: ModuleType, bars: pl.DataFrame
) -> None:
    """1e-12: sums of float64."""
    known = bars.filter(pl.col("session") <= session).select("open", "high", "low", "close", "volume").to_numpy()
    few, many = example.inputs_of(known[-60:])[-30:], example.inputs_of(known[-280:])[-30:]
    others = [at for at in range(11) if at != 7]
    np.testing.assert_allclose(few[:, others], many[:, others], rtol=1e-12)
    assert 0.01 < np.abs(few[:, 7] - many[:, 7]).max() < 30


def test_the_example_runs_as_a_program_on_one_ticker_of_a_universe(
    bars: pl.DataFrame, example: ModuleType, tmp_path: Path
) -> None:
    write(encode(networks(("AAPL", "IBM")), WindowConfig()), tmp_path / "universe.onnx")
    path = csv_of(bars, SESSIONS[0], 60, tmp_path)
    command = [sys.executable, str(EXAMPLE), str(tmp_path / "universe.onnx"), str(path), "IBM"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert json.loads(done.stdout) == example.forecast(str(tmp_path / "universe.onnx"), path, "IBM")


def test_a_price_that_never_moved_is_scaled_as_the_project_does(
    example: ModuleType, model: Path, tmp_path: Path
) -> None:
    lines = [f"2024-01-{at:02},10,10,10,10,1000" for at in range(60)]
    (tmp_path / "bars.csv").write_text("\n".join(["date,open,high,low,close,volume", *lines]))
    expected = 10 + forecast(np.zeros((30, 11), np.float32), state_of(SHAPE), SHAPE)
    np.testing.assert_allclose(list(example.forecast(str(model), tmp_path / "bars.csv").values()), expected, rtol=1e-6)


def test_the_example_needs_numpy_and_onnxruntime_alone_in_40_lines() -> None:
    tree = ast.parse(EXAMPLE.read_text())
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert imported == {"json", "sys", "numpy", "onnxruntime"}
    text = EXAMPLE.read_text().replace(ast.get_docstring(tree, clean=False) or "", "")
    lines = [line for line in text.splitlines() if line.strip() and not line.strip().startswith('"""')]
    assert len(lines) <= 40
