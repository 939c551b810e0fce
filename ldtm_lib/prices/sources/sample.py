"""Real bars of five tickers, 2000-03-01 to 2013-03-01, that the package bokeh_sampledata ships: no network."""

from collections.abc import Sequence
from datetime import date
from functools import cache
from typing import cast

import polars as pl

from ldtm_lib.errors import LdtmError, MissingBar, SourceError
from ldtm_lib.prices.bars import BAR_COLUMNS, KEY, empty_bars
from ldtm_lib.prices.sources.protocol import Delivery, SourceCoverage
from ldtm_lib.prices.sources.split_evidence import splits_from_adjusted_close
from ldtm_lib.prices.splits import Split, adjust

TICKERS = ("AAPL", "FB", "GOOG", "IBM", "MSFT")


class SampleSource:
    """The sample as a broker would have delivered it after the close of the last session: later splits are not applied.

    The package holds raw prices from Quandl WIKI (public domain); splits are inferred from its adjusted closes.
    """

    @property
    def name(self) -> str:
        """The name that the bars are recorded under."""
        return "sample"

    @property
    def tickers_per_fetch(self) -> None:
        """None: the sample is read once."""
        return None

    def fetch(self, tickers: Sequence[str], first: date, last: date) -> Delivery:
        """The sample's bars from one session to another; tickers that it lacks are failures."""
        asked = tuple(dict.fromkeys(tickers))
        splits = tuple(s for s in _splits() if s.ticker in asked and s.session <= last)
        known = [ticker for ticker in asked if ticker in TICKERS]
        raw = pl.concat([_raw_bars(ticker) for ticker in known]) if known else empty_bars()
        bars = adjust(raw.filter(pl.col("session").is_between(first, last)), splits)
        present = set(bars["ticker"])
        failures = {ticker: _why_absent(ticker, first, last) for ticker in asked if ticker not in present}
        return Delivery(bars=bars, splits=splits, failures=failures, basis=dict.fromkeys(sorted(present), last))

    def coverage(self, tickers: Sequence[str]) -> SourceCoverage:
        """Tickers that are not in the sample."""
        return SourceCoverage(lacking=tuple(ticker for ticker in tickers if ticker not in TICKERS))


def _why_absent(ticker: str, first: date, last: date) -> LdtmError:
    if ticker not in TICKERS:
        return SourceError(
            f"the sample has no {ticker}, it has {', '.join(TICKERS)}; remove the ticker from the universe, "
            'or set source.kind = "files"'
        )
    held = _raw_bars(ticker)["session"]
    return MissingBar(
        f"the sample has no bar of {ticker} from {first} to {last}; its bars go from {held[0]} to {held[-1]}"
    )


@cache
def _raw_bars(ticker: str) -> pl.DataFrame:
    return _columns(ticker).select(BAR_COLUMNS)


@cache
def _splits() -> tuple[Split, ...]:
    return splits_from_adjusted_close(pl.concat([_columns(ticker) for ticker in TICKERS])).splits


@cache
def _columns(ticker: str) -> pl.DataFrame:
    from bokeh_sampledata import stocks

    columns = cast(dict[str, list[str] | list[float] | list[int]], getattr(stocks, ticker))
    return (
        pl.DataFrame(columns)
        .with_columns(
            ticker=pl.lit(ticker),
            session=pl.col("date").str.to_date("%Y-%m-%d"),
            volume=pl.col("volume").cast(pl.Float64),
        )
        .drop("date")
        .sort(KEY)
    )
