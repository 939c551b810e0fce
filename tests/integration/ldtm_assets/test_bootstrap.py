"""Bootstraps through Dagster's job, in this process, on real PostgreSQL and CSV files."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pytest

from ldtm_assets.definitions import definitions_for
from ldtm_assets.training.progress import LogLines
from ldtm_lib.audit.verify import verify
from ldtm_lib.bootstrap.request import BootstrapRequest
from ldtm_lib.bootstrap.state import bootstrap_state
from ldtm_lib.database.connection import Connection, Database
from ldtm_lib.ledger.leaderboard import leaderboard
from ldtm_lib.ledger.simulations import RowKind, newest_simulation, simulations
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import Settings, load_settings
from tests.integration.dagster_storage import dagster_instance
from tests.integration.ledger_rows import enter_service

CONFIG = """
tickers = [{tickers}]
[source]
kind = "files"
basis = "adjusted"
[partitions]
first_session = 2013-01-02
last_session = 2013-03-01
[architecture]
hidden = 6
head_hidden = 4
[training]
max_epochs = {max_epochs}
min_training_rows = 60
[backtest]
num_folds = 2
test_sessions = 40
[forecast]
without_active = "candidate"
"""
LAST = date(2013, 3, 1)
NUM_SESSIONS, RETRAIN_EVERY = 7, 3
REQUEST = BootstrapRequest(num_sessions=NUM_SESSIONS, retrain_every=RETRAIN_EVERY)
MODELS = "select ticker, first_session, trained_on from simulation_model join checkpoint using (checkpoint_id, ticker)"
FORECASTS = """select s.ticker, s.run_date, s.next_day_pred, s.one_month_pred, s.direction_pred, s.abstained_reason,
    s.window_sha256, s.next_day_actual, c.trained_on, s.model_status
    from snapshot s left join checkpoint c using (checkpoint_id) where s.simulation_id = %s order by 1, 2"""


class Installation:
    """A folder of bars and a database, and what a bootstrap leaves in it."""

    def __init__(self, folder: Path, database: Database, calendar: Calendar) -> None:
        self._folder, self.database, self._calendar = folder, database, calendar
        self._tickers: tuple[str, ...] = ()
        self._max_epochs = 2

    def configure(self, *tickers: str, max_epochs: int = 2) -> None:
        self._tickers, self._max_epochs = tickers, max_epochs

    @property
    def settings(self) -> Settings:
        config = self._folder / "universe.toml"
        names = ", ".join(f'"{ticker}"' for ticker in self._tickers)
        config.write_text(CONFIG.format(tickers=names, max_epochs=self._max_epochs))
        return load_settings(config)

    def deliver(self, ticker: str, num_bars: int = 330) -> None:
        """A file with a random walk up to the last session."""
        days = self._calendar.between(date(2010, 1, 4), LAST)[-num_bars:]
        closes = 50 * np.exp(np.random.default_rng(len(ticker)).normal(0, 0.02, num_bars).cumsum())
        lines = [f"{day},{c},{c * 1.01},{c * 0.99},{c},1000" for day, c in zip(days, closes.tolist(), strict=True)]
        bars = self._folder / "data" / "bars"
        bars.mkdir(parents=True, exist_ok=True)
        (bars / f"{ticker}.csv").write_text("\n".join(["date,open,high,low,close,volume", *lines, ""]))

    def bootstrap(self, reporter: LogLines | None = None) -> dg.ExecuteInProcessResult:
        job = definitions_for(self.settings, self._calendar, reporter).resolve_job_def("bootstrap_job")
        with dagster_instance(self.database, self._folder) as instance:
            return job.execute_in_process(
                instance=instance,
                run_config={
                    "ops": {
                        "bootstrap": {
                            "config": {"sessions": NUM_SESSIONS, "retrain_every": RETRAIN_EVERY, "device": "cpu"}
                        }
                    },
                    "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
                },
                raise_on_error=False,
            )

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with self.database.transaction() as conn:
            return conn.execute(query, values).fetchall()

    def counts(self) -> list[tuple[Any, ...]]:
        """The number of rows of every table that a bootstrap writes."""
        tables = ("bar", "checkpoint", "backtest", "gate_verdict", "simulation", "simulation_model", "snapshot")
        tables += ("service_entry", "ledger_event", "ledger_seal", "input_window")
        return [(table, *self.rows(f"select count(*) from {table}")[0]) for table in tables]

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        with self.database.transaction() as conn:
            yield conn


@pytest.fixture
def installation(
    tmp_path: Path, database: Database, calendar: Calendar, monkeypatch: pytest.MonkeyPatch
) -> Installation:
    monkeypatch.setenv("LDTM_DATABASE_URL", database.url)
    return Installation(tmp_path, database, calendar)


@pytest.fixture
def two(installation: Installation) -> Installation:
    """An installation with the bars of two tickers."""
    installation.configure("AAA", "BRKB")
    installation.deliver("AAA")
    installation.deliver("BRKB")
    return installation


def failure(result: dg.ExecuteInProcessResult) -> str:
    (event,) = result.get_step_failure_events()
    return event.step_failure_data.error_display_string


def test_from_nothing_to_a_simulated_record_and_models_of_today(two: Installation, calendar: Calendar) -> None:
    result = two.bootstrap()
    assert result.success, failure(result)
    sessions = calendar.between(calendar.offset(LAST, 1 - NUM_SESSIONS), LAST)
    firsts = sessions[::RETRAIN_EVERY]
    assert two.rows(f"{MODELS} order by 1, 2") == [
        (ticker, first, calendar.offset(first, -1)) for ticker in ("AAA", "BRKB") for first in firsts
    ]
    rows = two.rows(FORECASTS, 1)
    assert [(ticker, day) for ticker, day, *_ in rows] == [(t, day) for t in ("AAA", "BRKB") for day in sessions]
    for _, day, *_, reason, _, actual, trained_on, _ in rows:
        assert reason is None
        assert trained_on == calendar.offset(max(first for first in firsts if first <= day), -1)
        assert (actual is None) == (day == LAST)
    assert two.rows("select distinct kind, simulation_id from snapshot") == [("simulated", 1)]
    assert two.rows("select ticker, trained_on from gate_verdict order by 1") == [("AAA", LAST), ("BRKB", LAST)]
    assert two.rows("select ticker from service_entry order by 1") == [("AAA",), ("BRKB",)]
    with two.connection() as conn:
        state = bootstrap_state(conn, two.settings, calendar, REQUEST)
        assert state.is_complete
        assert newest_simulation(conn) == RowKind(kind="simulated", simulation_id=1)
        assert leaderboard(conn, newest_simulation(conn)).universe.num_filled == 2 * (NUM_SESSIONS - 1)
    shown = {e.asset_key.to_user_string() for e in result.get_asset_materialization_events()}
    assert shown == {*("price_history", "simulations", "backtests", "checkpoints", "registry", "leaderboard")}


def test_the_registry_is_not_touched_by_a_simulation(two: Installation) -> None:
    two.bootstrap()
    simulated = {row[0] for row in two.rows("select checkpoint_id from simulation_model")}
    promoted = {row[0] for row in two.rows("select checkpoint_id from checkpoint where status <> 'candidate'")}
    judged = {row[0] for row in two.rows("select checkpoint_id from gate_verdict")}
    assert simulated
    assert not simulated & (promoted | judged)


def test_a_second_bootstrap_writes_nothing(two: Installation, calendar: Calendar) -> None:
    two.bootstrap()
    before = two.counts()
    assert two.bootstrap().success
    assert two.counts() == before


class Interrupt(LogLines):
    """Ends a bootstrap when a stage begins, as a signal would."""

    def __init__(self, stage: str) -> None:
        self._stage = stage

    def stage(self, title: str, *, num_trainings_after: int = 0) -> None:
        if self._stage in title:
            raise RuntimeError(f"interrupted at {title}")


@pytest.mark.parametrize("stage", ["simulation 1, 2013-02-26", "2013-02-25: forecasts", "models on all bars", "seal"])
def test_an_interrupted_bootstrap_goes_on_to_the_same_end(
    two: Installation, tmp_path: Path, calendar: Calendar, stage: str
) -> None:
    assert "interrupted at" in failure(two.bootstrap(Interrupt(stage)))
    interrupted = two.rows(FORECASTS, 1)
    trained = two.rows("select checkpoint_id, created_at from checkpoint order by 1")
    assert two.bootstrap().success
    whole = two.rows(FORECASTS, 1)
    assert [row for row in whole if row[:2] in {row[:2] for row in interrupted}] == [
        (*row[:7], *after[7:]) for row in interrupted for after in whole if row[:2] == after[:2]
    ]
    assert two.rows("select checkpoint_id, created_at from checkpoint order by 1")[: len(trained)] == trained
    with two.connection() as conn:
        assert bootstrap_state(conn, two.settings, calendar, REQUEST).is_complete
        assert [each.simulation_id for each in simulations(conn)] == [1]
    assert len(whole) == 2 * NUM_SESSIONS


def test_a_ticker_without_bars_takes_no_other_one_with_it_and_is_simulated_with_them_later(
    two: Installation, calendar: Calendar
) -> None:
    two.configure("AAA", "BRKB", "NEW")
    said = failure(two.bootstrap())
    assert "NEW" in said
    assert "AAA" not in said
    assert two.rows("select simulation_id, count(*) from snapshot group by 1") == [(1, 2 * NUM_SESSIONS)]
    first = two.rows(FORECASTS, 1)
    two.deliver("NEW")
    assert two.bootstrap().success
    assert two.rows("select simulation_id, count(*) from snapshot group by 1 order by 1") == [
        (1, 2 * NUM_SESSIONS),
        (2, 3 * NUM_SESSIONS),
    ]
    assert two.rows(FORECASTS, 1) == first
    assert [row[:6] for row in two.rows(FORECASTS, 2) if row[0] != "NEW"] == [row[:6] for row in first]


def test_changed_settings_make_another_simulation_and_none_is_hidden(two: Installation, calendar: Calendar) -> None:
    two.bootstrap()
    two.configure("AAA", "BRKB", max_epochs=1)
    assert two.bootstrap().success
    with two.connection() as conn:
        found = simulations(conn)
        assert [(each.simulation_id, each.num_rows) for each in found] == [(2, 14), (1, 14)]
        assert newest_simulation(conn).simulation_id == 2
    report = verify(two.database, calendar, [])
    assert [d.message for d in report.discrepancies] == []
    assert two.rows("select count(*) from ledger_event where event = 'simulation'") == [(2,)]


def test_a_simulation_stands_beside_rows_of_daily_runs(two: Installation, ledger_rows: Any) -> None:
    enter_service(ledger_rows.conn, "AAA", date(2013, 2, 1))
    ledger_rows.forecast("AAA", date(2013, 2, 27), kind="late")
    ledger_rows.conn.commit()
    assert two.bootstrap().success
    rows = two.rows(
        "select simulation_id, kind from snapshot where ticker = 'AAA' and run_date = '2013-02-27' order by 1"
    )
    assert rows == [(0, "late"), (1, "simulated")]


def test_a_source_without_any_bar_is_said_before_anything_is_simulated(installation: Installation) -> None:
    installation.configure("AAA")
    (Path(installation.settings.path).parent / "data" / "bars").mkdir(parents=True)
    assert "AAA" in failure(installation.bootstrap())
    assert installation.rows("select count(*) from simulation") == [(0,)]
