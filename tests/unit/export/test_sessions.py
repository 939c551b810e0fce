import builtins
import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import pytest

from ldtm_lib.errors import ExportRefused, MissingExtra, WindowRefused
from ldtm_lib.export import extras, sessions
from ldtm_lib.export.onnx_file import OnnxFile, encode, write
from ldtm_lib.export.sessions import OnnxForecaster
from ldtm_lib.models.forecast import forecast
from ldtm_lib.settings import WindowConfig
from tests.unit.export.networks import SMALL, TICKERS, networks, state_of, windows

MANY = tuple(f"T{n}" for n in range(20))


@pytest.fixture(scope="module")
def universe(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OnnxFile]:
    path = tmp_path_factory.mktemp("universe") / "universe.onnx"
    write(encode(networks(MANY), WindowConfig()), path)
    with OnnxFile.open(path) as file:
        yield file


@pytest.fixture
def forecaster(universe: OnnxFile) -> Iterator[OnnxForecaster]:
    with OnnxForecaster([universe]) as opened:
        yield opened


def one_window_each(tickers: tuple[str, ...]) -> dict[str, np.ndarray]:
    return {ticker: windows(1, seed=at)[0] for at, ticker in enumerate(tickers)}


def test_a_universe_is_forecast_as_by_the_daily_run(forecaster: OnnxForecaster) -> None:
    """1e-6: see test_graph."""
    given = one_window_each(MANY)
    found = forecaster.forecast(given)
    assert list(found) == list(MANY)
    for at, ticker in enumerate(MANY):
        assert found[ticker].dtype == np.float64
        np.testing.assert_allclose(
            found[ticker], forecast(given[ticker], state_of(SMALL, at), SMALL), rtol=0, atol=1e-6
        )


def test_a_universe_gives_the_same_bits_as_files_of_single_tickers(forecaster: OnnxForecaster, tmp_path: Path) -> None:
    given = one_window_each(MANY)
    together = forecaster.forecast(given)
    for ticker, parameters in networks(MANY).items():
        write(encode({ticker: parameters}, WindowConfig()), tmp_path / f"{ticker}.onnx")
    files = [OnnxFile.open(tmp_path / f"{ticker}.onnx") for ticker in MANY]
    with OnnxForecaster(files) as alone:
        found = alone.forecast(given)
    for file in files:
        file.close()
    assert all(np.array_equal(found[ticker], together[ticker]) for ticker in MANY)


@pytest.mark.parametrize("num_tickers", [1, 8, 9, 19])
def test_a_ticker_has_the_same_bits_whichever_others_are_asked(forecaster: OnnxForecaster, num_tickers: int) -> None:
    """Both ways of computing a part of a file: sessions of single tickers up to eight, and zeros for absent ones."""
    given = one_window_each(MANY)
    all_of_them = forecaster.forecast(given)
    chosen = MANY[::-1][:num_tickers]
    found = forecaster.forecast({ticker: given[ticker] for ticker in chosen})
    assert list(found) == list(chosen)
    assert all(np.array_equal(found[ticker], all_of_them[ticker]) for ticker in chosen)


@pytest.mark.parametrize("num_threads", [2, 3, 50])
def test_any_number_of_threads_gives_the_same_bits(
    universe: OnnxFile, forecaster: OnnxForecaster, num_threads: int
) -> None:
    given = one_window_each(MANY)
    with OnnxForecaster([universe], num_threads=num_threads) as threaded:
        for chosen in (MANY, MANY[:2]):
            part = {ticker: given[ticker] for ticker in chosen}
            found, expected = threaded.forecast(part), forecaster.forecast(part)
            assert list(found) == list(chosen)
            assert all(np.array_equal(found[ticker], expected[ticker]) for ticker in chosen)


def test_batches_of_different_lengths_are_forecast_together(forecaster: OnnxForecaster) -> None:
    """1e-6: a batch is multiplied in another order than a row."""
    given = {ticker: windows(at + 1, seed=at) for at, ticker in enumerate(MANY)}
    found = forecaster.forecast_batches(given)
    for ticker in MANY:
        alone = np.stack([forecaster.forecast({ticker: window})[ticker] for window in given[ticker]])
        np.testing.assert_allclose(found[ticker], alone, rtol=0, atol=1e-6)


def test_sessions_of_single_tickers_are_dropped_when_there_are_many(
    forecaster: OnnxForecaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "KEPT_SESSIONS", 3)
    given = one_window_each(MANY)
    first = [forecaster.forecast({ticker: given[ticker]})[ticker] for ticker in MANY]
    again = [forecaster.forecast({ticker: given[ticker]})[ticker] for ticker in MANY]
    assert np.array_equal(first, again)
    assert len(forecaster._single) == 3


def test_windows_may_be_read_only_or_strided(forecaster: OnnxForecaster) -> None:
    window = windows(1)[0]
    stored = np.frombuffer(window.astype("<f4").tobytes(), dtype="<f4").reshape(30, 11)
    strided = np.asfortranarray(window)
    expected = forecaster.forecast({"T3": window})["T3"]
    assert np.array_equal(forecaster.forecast({"T3": stored})["T3"], expected)
    assert np.array_equal(forecaster.forecast({"T3": strided})["T3"], expected)


def test_no_windows_give_no_forecasts(forecaster: OnnxForecaster) -> None:
    assert forecaster.forecast({}) == {}


@pytest.mark.parametrize(
    ("window", "message"),
    [
        (np.zeros((29, 11), np.float32), r"T0 have shape \(29, 11\); give \(30, 11\)"),
        (np.zeros((30, 12), np.float32), r"T0 have shape \(30, 12\)"),
        (np.zeros((1, 30, 11), np.float32), r"T0 have shape \(1, 30, 11\)"),
        (np.zeros((30, 11)), "T0 are float64; give float32"),
        (np.zeros((30, 11), np.int32), "T0 are int32; give float32"),
        (np.full((30, 11), np.nan, np.float32), r"T0 have nan at \(0, 0\)"),
        (np.where(np.arange(330).reshape(30, 11) == 13, np.inf, 0).astype(np.float32), r"T0 have inf at \(1, 2\)"),
    ],
)
def test_a_window_that_does_not_fit_is_refused(forecaster: OnnxForecaster, window: np.ndarray, message: str) -> None:
    with pytest.raises(WindowRefused, match=message):
        forecaster.forecast({"T1": windows(1)[0], "T0": window})


def test_a_batch_without_rows_is_refused(forecaster: OnnxForecaster) -> None:
    """ONNX Runtime 1.32 ends the process on it."""
    with pytest.raises(WindowRefused, match=r"shape \(0, 30, 11\); give \(batch, 30, 11\), at least one row"):
        forecaster.forecast_batches({"T0": windows(0)})


def test_an_unknown_ticker_is_refused(forecaster: OnnxForecaster) -> None:
    with pytest.raises(WindowRefused, match="MSFT has no network in the loaded files; export it, or leave it out"):
        forecaster.forecast({"MSFT": windows(1)[0]})
    with pytest.raises(WindowRefused, match="MSFT has no network"):
        forecaster.checkpoint_sha256("MSFT")


def test_a_closed_forecaster_is_refused(universe: OnnxFile) -> None:
    with OnnxForecaster([universe], num_threads=2) as closed:
        pass
    with pytest.raises(WindowRefused, match="is closed"):
        closed.forecast({"T0": windows(1)[0]})


def test_a_ticker_in_two_files_is_refused(universe: OnnxFile) -> None:
    with pytest.raises(ExportRefused, match=r"T0 is in .* and in "):
        OnnxForecaster([universe, universe])


def test_no_threads_are_refused(universe: OnnxFile) -> None:
    with pytest.raises(ExportRefused, match="num_threads is 0"):
        OnnxForecaster([universe], num_threads=0)


def altered_file(path: Path, change: str) -> Path:
    model = onnx.load_from_string(encode(networks(), WindowConfig()))
    if change == "dtype":
        model.graph.input[1].type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
    elif change == "shape":
        model.graph.input[1].type.tensor_type.shape.dim[1].dim_value = 31
    elif change == "constant":
        del model.graph.initializer[-1]
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("change", ["dtype", "shape", "constant"])
def test_a_graph_that_is_not_as_described_is_refused(change: str, tmp_path: Path) -> None:
    """ONNX Runtime refuses types that do not fit each other; the shape of an input is compared with the description."""
    with (
        OnnxFile.open(altered_file(tmp_path / "universe.onnx", change)) as file,
        pytest.raises(ExportRefused, match=r"universe\.onnx (cannot be loaded|has the input window_BRK_2DB)"),
    ):
        OnnxForecaster([file])


def test_a_missing_package_is_named_with_the_command_that_installs_it(
    universe: OnnxFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_runtime(name: str) -> ModuleType:
        if name.startswith("onnx"):
            raise ModuleNotFoundError(f"No module named '{name}'")
        return builtins.__import__(name)

    monkeypatch.setattr(importlib, "import_module", without_runtime)
    with pytest.raises(MissingExtra, match=r"package onnxruntime cannot be imported.*pip install 'ldtm\[export\]'"):
        OnnxForecaster([universe])
    with pytest.raises(MissingExtra, match=r"package onnx cannot be imported.*pip install 'ldtm\[export\]'"):
        extras.onnx_package()


def test_a_forecaster_says_which_checkpoint_a_ticker_has(forecaster: OnnxForecaster) -> None:
    assert forecaster.tickers == MANY
    assert forecaster.checkpoint_sha256("T3") == f"{3:064x}"
    assert TICKERS[0] not in forecaster.tickers
