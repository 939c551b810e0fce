"""Short trainings on real windows: windows of sample tickers, and networks that learn from a few of them."""

import numpy as np
import polars as pl
from bokeh_sampledata import stocks

from ldtm_lib.features.window_set import WindowSet
from ldtm_lib.features.windows import windows_of
from ldtm_lib.models.fit import FitTask
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import ArchitectureConfig, TrainingConfig, WindowConfig

SMALL = ArchitectureConfig(hidden=16, head_hidden=8)
RECIPE = TrainingConfig(batch_size=32, max_epochs=3, learning_rate=3e-3)
PRICES = ("open", "high", "low", "close", "volume")


def sample_windows(calendar: Calendar, *tickers: str) -> dict[str, WindowSet]:
    """The windows of some sample tickers."""
    bars = pl.concat(
        pl.DataFrame({name: getattr(stocks, ticker)[name] for name in ("date", *PRICES)}).select(
            pl.lit(ticker).alias("ticker"),
            pl.col("date").str.to_date().alias("session"),
            pl.col(PRICES).cast(pl.Float64),
        )
        for ticker in tickers
    )
    return windows_of(bars, calendar, WindowConfig())


def task_of(windows: WindowSet, *, fold: int | None, num_rows: int) -> FitTask:
    """Train on the first rows; watched by 60 rows that come 30 later, more than any label reaches ahead."""
    return FitTask(
        ticker=windows.ticker,
        fold=fold,
        windows=windows,
        training_rows=np.arange(num_rows),
        validation_rows=np.arange(num_rows + 30, num_rows + 90),
    )
