"""Real bars of the sample, and a maker of others."""

import polars as pl
import pytest
from bokeh_sampledata import stocks

from ldtm_lib.sessions import Calendar
from tests.unit.features.made_bars import PRICES, SAMPLE_TICKERS, Bars


@pytest.fixture(scope="session")
def sample_bars() -> pl.DataFrame:
    """The raw bars of the five sample tickers, 2000-03-01 to 2013-03-01; raw, so two splits of AAPL are jumps."""
    return pl.concat(_sample(ticker) for ticker in SAMPLE_TICKERS)


def _sample(ticker: str) -> pl.DataFrame:
    columns = getattr(stocks, ticker)
    return pl.DataFrame({name: columns[name] for name in ("date", *PRICES)}).select(
        pl.lit(ticker).alias("ticker"),
        pl.col("date").str.to_date().alias("session"),
        pl.col(PRICES).cast(pl.Float64),
    )


@pytest.fixture(scope="session")
def make(calendar: Calendar) -> Bars:
    return Bars(calendar)
