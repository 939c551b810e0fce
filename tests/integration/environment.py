"""What a daily run needs, for tests of forecasts: bars in the store, windows on record, networks and their files."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import torch

from ldtm_lib.database.connection import Connection
from ldtm_lib.features import stored_windows as input_windows
from ldtm_lib.features.windows import InputWindow, latest_windows
from ldtm_lib.ledger.snapshots import SnapshotReport, take_snapshots
from ldtm_lib.models.checkpoint import write
from ldtm_lib.models.lstm import LdtmNetwork
from ldtm_lib.prices.ingest import ingest
from ldtm_lib.prices.sources.protocol import Delivery
from ldtm_lib.prices.splits import Split, adjust
from ldtm_lib.prices.stored_bars import recent_bars
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import Settings
from tests.integration.gate_fixtures import pass_the_gate
from tests.integration.ledger_rows import enter_service, simulation

RUN_DATE = date(2013, 1, 11)
NEXT_DAY, NEXT_MONDAY, ONE_MONTH = date(2013, 1, 14), date(2013, 1, 14), date(2013, 2, 12)
"""RUN_DATE is a Friday; Monday 2013-01-21 is a holiday between it and the month's target."""


def after(split: Split, bars: pl.DataFrame) -> pl.DataFrame:
    """Bars as a source delivers them after a split."""
    return adjust(bars, [replace(split, session=date.max)])


@dataclass(frozen=True, slots=True)
class ForecastEnvironment:
    """Environment of one daily run: a database, settings, a folder of checkpoint files."""

    conn: Connection
    calendar: Calendar
    settings: Settings
    folder: Path

    def bars(self, tickers: Sequence[str], num_bars: int = 300, last: date = RUN_DATE) -> pl.DataFrame:
        """A random walk of each ticker's own, the same at every call."""
        sessions = self.calendar.days[: np.searchsorted(self.calendar.days, np.datetime64(last), side="right")]
        frames: list[pl.DataFrame] = []
        for ticker in tickers:
            random = np.random.default_rng(int.from_bytes(ticker.encode()))
            close = np.round(100 * np.exp(random.normal(0, 0.02, num_bars).cumsum()), 2)
            spread = 1 + np.abs(random.normal(0, 0.01, num_bars))
            frames.append(
                pl.DataFrame(
                    {
                        "ticker": [ticker] * num_bars,
                        "session": sessions[-num_bars:],
                        "open": close,
                        "high": close * spread,
                        "low": close / spread,
                        "close": close,
                        "volume": random.integers(1_000, 9_000, num_bars).astype(float),
                    }
                )
            )
        return pl.concat(frames)

    def deliver(self, bars: pl.DataFrame, *splits: Split) -> None:
        ingest(
            self.conn, Delivery(bars=bars, splits=splits, failures={}, notes=()), source="test", calendar=self.calendar
        )

    def make_windows(self, tickers: Sequence[str], run_date: date = RUN_DATE) -> list[InputWindow]:
        bars = recent_bars(self.conn, tickers, last=run_date, num_bars=280)
        windows = latest_windows(bars, tickers, run_date, self.calendar, self.settings.window)
        input_windows.record(self.conn, windows)
        return windows

    def network(
        self, ticker: str, *, status: str = "active", trained_on: date = date(2012, 12, 31), seed: int = 0
    ) -> LdtmNetwork:
        """An untrained network, in the registry and on disk; its ticker is in service from the next session on."""
        enter_service(self.conn, ticker, self.calendar.offset(trained_on, 1))
        torch.manual_seed(seed)
        network = LdtmNetwork(self.settings.architecture)
        name = f"{ticker}_{status}_{trained_on}_{seed}.pt"
        sha256 = write(network.state_dict(), self.folder / name, architecture=self.settings.architecture)
        self.conn.execute(
            """insert into checkpoint (ticker, status, trained_on, architecture_sha256, recipe_sha256, data_sha256,
                file_name, file_sha256, seed, num_training_rows, num_validation_rows, num_epochs, best_epoch,
                validation_loss, duration_seconds, device, major, version, activated_at)
            values (%(ticker)s, %(status)s, %(day)s, 'a', 'r', %(name)s, %(name)s, %(sha)s, 0, 1, 1, 1, 1, 1, 1, 'cpu',
                case when %(status)s = 'active' then 1 end,
                case when %(status)s = 'active' then 'v1.' || %(day)s::date end,
                case when %(status)s = 'active' then now() end)""",
            {"ticker": ticker, "status": status, "day": trained_on, "name": name, "sha": sha256},
        )
        pass_the_gate(self.conn)
        return network

    def take(
        self, *tickers: str, simulated: bool = True, run_date: date = RUN_DATE, exports: Path | None = None
    ) -> SnapshotReport:
        return take_snapshots(
            self.conn,
            run_date=run_date,
            tickers=tickers or self.settings.tickers,
            folder=self.folder,
            settings=self.settings,
            calendar=self.calendar,
            simulation_id=simulation(self.conn) if simulated else 0,
            exports=exports,
        )

    def ready(self, *tickers: str) -> dict[str, LdtmNetwork]:
        """Bars, windows and an active network for some tickers."""
        self.deliver(self.bars(tickers))
        self.make_windows(tickers)
        return {ticker: self.network(ticker, seed=n) for n, ticker in enumerate(tickers)}

    def with_settings(self, **changes: object) -> "ForecastEnvironment":
        return replace(self, settings=self.settings.replace(**changes))
