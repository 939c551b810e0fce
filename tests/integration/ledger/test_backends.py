"""Backends of a daily run: exported files as far as they are there, PyTorch for the rest, and the record of which."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from ldtm_lib.audit.replay import Replay, replay
from ldtm_lib.database.connection import Database
from ldtm_lib.errors import ReplayImpossible
from ldtm_lib.ledger.preview import previews
from ldtm_lib.ledger.simulations import simulation_of_row
from ldtm_lib.ledger.snapshots import SnapshotReport, same_price
from ldtm_lib.models.engine_execution import gpu_properties
from ldtm_lib.project import Project
from ldtm_lib.registry.exports import UNIVERSE, active_files, export_folder, export_models, onnx_path
from ldtm_lib.settings import Backend
from tests.integration.environment import RUN_DATE, ForecastEnvironment

TICKERS = ("AAPL", "IBM", "MSFT")


@dataclass(frozen=True)
class Exports:
    """Three tickers with windows, active models and the project that their exports belong to."""

    environment: ForecastEnvironment
    project: Project

    @property
    def folder(self) -> Path:
        return export_folder(self.project)

    def export(self) -> None:
        self.environment.conn.commit()
        report = export_models(self.project, self.environment.calendar, made_at=datetime.now(UTC))
        assert not report.refused

    def take(self, *tickers: str, backend: Backend = "onnx") -> SnapshotReport:
        settings = self.environment.settings
        environment = self.environment.with_settings(
            forecast=settings.forecast.replace(backend=backend),
            export=settings.export.replace(engine="tensorrt" if backend == "tensorrt" else "none"),
        )
        return environment.take(*(tickers or TICKERS), exports=self.folder)

    def file_of(self, ticker: str) -> Path:
        [active] = active_files(self.environment.conn, [ticker])
        return onnx_path(self.folder, active)

    def replay(self, ticker: str) -> Replay:
        conn = self.environment.conn
        return replay(
            conn,
            ticker,
            RUN_DATE,
            simulation_of_row(conn, ticker, RUN_DATE),
            folder=self.environment.folder,
            settings=self.environment.settings,
            calendar=self.environment.calendar,
            exports=self.folder,
        )


@pytest.fixture
def exports(environment: ForecastEnvironment, database: Database, tmp_path_factory: pytest.TempPathFactory) -> Exports:
    environment.ready(*TICKERS)
    home = tmp_path_factory.mktemp("home")
    (home / "checkpoints").symlink_to(environment.folder)
    project = Project(settings=environment.settings, home=home, database=database)
    return Exports(environment, project)


def by(report: SnapshotReport) -> list[str | None]:
    return [row.backend for row in report.rows]


def same_forecasts(exports: Exports, report: SnapshotReport) -> bool:
    """Whether PyTorch gives the forecasts on record: taking them again with it is no conflict."""
    again = exports.take(backend="torch")
    return not again.conflicts and set(again.unchanged) == {row.ticker for row in report.rows}


def test_exports_compute_the_forecasts_of_a_daily_run_and_the_record_says_so(exports: Exports) -> None:
    exports.export()
    report = exports.take()
    assert by(report) == ["onnx"] * 3
    assert report.backend_notes == ()
    assert same_forecasts(exports, report)
    for ticker in TICKERS:
        assert exports.replay(ticker).is_equal


def test_pytorch_is_the_default_and_is_on_record(exports: Exports) -> None:
    exports.export()
    assert by(exports.environment.take(*TICKERS, exports=exports.folder)) == ["torch"] * 3
    assert exports.replay("IBM").is_equal_to_the_bit


def test_without_the_file_of_the_universe_each_network_comes_from_its_own(exports: Exports) -> None:
    exports.export()
    (exports.folder / UNIVERSE).unlink()
    report = exports.take()
    assert by(report) == ["onnx"] * 3
    assert same_forecasts(exports, report)


def test_an_altered_universe_is_not_used(exports: Exports) -> None:
    exports.export()
    path = exports.folder / UNIVERSE
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    report = exports.take()
    assert by(report) == ["onnx"] * 3
    assert same_forecasts(exports, report)


def test_a_network_whose_export_is_damaged_is_computed_by_pytorch_and_a_note_names_it(exports: Exports) -> None:
    exports.export()
    (exports.folder / UNIVERSE).unlink()
    path = exports.file_of("IBM")
    path.write_bytes(path.read_bytes()[:-100])
    report = exports.take()
    assert by(report) == ["onnx", "torch", "onnx"]
    (note,) = report.backend_notes
    assert note.startswith(
        f"1 of 3 forecasts was computed by PyTorch, not by onnx; IBM: exported file {path} is truncated"
    )
    assert same_forecasts(exports, report)


def test_a_new_version_is_computed_by_pytorch_until_it_is_exported(exports: Exports) -> None:
    exports.export()
    conn = exports.environment.conn
    conn.execute("update checkpoint set status = 'retired', retired_at = clock_timestamp() where ticker = 'IBM'")
    exports.environment.network("IBM", trained_on=date(2013, 1, 4), seed=7)
    report = exports.take("AAPL", "IBM")
    assert by(report) == ["onnx", "torch"], "the file of the universe holds the retired version"
    assert report.rows[1].model_version == "v1.2013-01-04"
    exports.export()
    assert by(exports.take("IBM", "MSFT")) == ["torch", "onnx"], "a row on record stays as it is"


def test_without_any_export_a_daily_run_goes_on_with_pytorch(exports: Exports) -> None:
    report = exports.take()
    assert by(report) == ["torch"] * 3
    (note,) = report.backend_notes
    assert note.startswith("3 of 3 forecasts were computed by PyTorch, not by onnx; AAPL: exported file ")
    assert note.endswith("No such file or directory; export the networks again")


@pytest.mark.skipif(gpu_properties() is not None, reason="this machine has a CUDA device")
def test_without_a_gpu_engines_are_replaced_by_pytorch_in_a_daily_run(exports: Exports) -> None:
    exports.export()
    report = exports.take(backend="tensorrt")
    assert by(report) == ["torch"] * 3
    assert report.backend_notes[0].startswith(
        "3 of 3 forecasts were computed by PyTorch, not by tensorrt; AAPL: no CUDA device is available"
    )


@pytest.mark.parametrize("backend", ["onnx", "torch"])
def test_a_replay_needs_the_checkpoint_alone(exports: Exports, backend: Backend) -> None:
    exports.export()
    exports.take(backend=backend)
    for path in exports.folder.iterdir():
        path.unlink()
    found = exports.replay("IBM")
    assert found.row.backend == backend
    assert found.is_equal
    altered = "next_day_pred = next_day_pred * 1.01"
    alter(exports, altered)
    assert {compared.what for compared in exports.replay("IBM").differences} == {"next_day_pred"}


@pytest.mark.skipif(gpu_properties() is not None, reason="this machine has a CUDA device")
def test_a_row_of_an_engine_cannot_be_replayed_without_its_gpu(exports: Exports) -> None:
    exports.take()
    alter(exports, "backend = 'tensorrt'")
    with pytest.raises(ReplayImpossible, match="it was computed by tensorrt: no CUDA device is available"):
        exports.replay("IBM")


def test_an_abstention_names_no_backend(exports: Exports) -> None:
    exports.export()
    exports.environment.network("FB", seed=9)
    report = exports.take("AAPL", "FB")
    assert by(report) == ["onnx", None]


@pytest.mark.parametrize("tickers", [TICKERS, ("IBM",)])
def test_a_preview_takes_nothing_in_place_of_an_export(exports: Exports, tickers: Sequence[str]) -> None:
    exports.export()
    for path in (exports.folder / UNIVERSE, exports.file_of("IBM")):
        path.unlink()
    calendar = exports.environment.calendar
    found, missing = previews(exports.project, calendar, tickers, backend="onnx")
    assert [each.ticker for each in found] == [ticker for ticker in tickers if ticker != "IBM"]
    assert missing.keys() == {"IBM"}
    expected, _ = previews(exports.project, calendar, tickers, backend="torch")
    prices = {each.ticker: each.prices for each in expected}
    for each in found:
        assert each.backend == "onnx"
        assert all(same_price(*pair) for pair in zip(each.prices, prices[each.ticker], strict=True))


def alter(exports: Exports, change: str) -> None:
    """Change the row of IBM behind the back of the triggers, as their owner can."""
    conn = exports.environment.conn
    conn.execute("alter table snapshot disable trigger all")
    conn.execute(f"update snapshot set {change} where ticker = 'IBM'".encode())
    conn.execute("alter table snapshot enable trigger all")
