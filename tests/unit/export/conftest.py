"""Real windows of a sample ticker."""

import polars as pl
import pytest
from bokeh_sampledata import stocks

from ldtm_lib.features.window_set import WindowSet
from ldtm_lib.features.windows import windows_of
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import WindowConfig

PRICES = ("open", "high", "low", "close", "volume")


@pytest.fixture(scope="session")
def bars() -> pl.DataFrame:
    """IBM, which never split in the sample: 3,270 sessions from 2000-03-01."""
    return pl.DataFrame({name: stocks.IBM[name] for name in ("date", *PRICES)}).select(
        pl.lit("IBM").alias("ticker"),
        pl.col("date").str.to_date().alias("session"),
        pl.col(PRICES).cast(pl.Float64),
    )


@pytest.fixture(scope="session")
def windows(bars: pl.DataFrame, calendar: Calendar) -> dict[str, WindowSet]:
    return windows_of(bars, calendar, WindowConfig())
