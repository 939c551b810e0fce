"""Yahoo Finance as a source of bars, through the package yfinance.

Downloads use `auto_adjust=False`: `Open`, `High`, `Low`, `Close` and `Volume` are then adjusted for splits and not for
dividends, and `Adj Close`, which is adjusted for both, is not read.
"""

import logging
import re
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import polars as pl

from ldtm_lib.errors import ConfigurationError, LdtmError, MissingBar, SourceError
from ldtm_lib.installation import pip_command
from ldtm_lib.prices.bars import BAR_COLUMNS, BAR_SCHEMA, KEY, empty_bars
from ldtm_lib.prices.sources.field_parsing import EXCHANGE_ZONE
from ldtm_lib.prices.sources.protocol import GROUP_OF_TICKERS, Delivery, SourceCoverage
from ldtm_lib.prices.splits import Split
from ldtm_lib.sessions import Calendar

RELEASE = "yfinance>=1.7,<2"
"""The release to install: pyproject.toml names it in the extra `yfinance`."""
COLUMNS = {"Open": "open", "High": "high", "Low": "low", "Close": "close", "Volume": "volume"}
SPLITS = "Stock Splits"
NUM_THREADS = 4
TIMEOUT_SECONDS = 30.0
PER_TICKER_ERROR = re.compile(r"(\[.*?\]): (.*)", re.DOTALL)
"""Format in which yfinance logs the tickers of a download that share an error."""
RATE_LIMIT = "YFRateLimitError"


class YahooSource:
    """Daily bars of Yahoo Finance, restated for every split until the moment of the fetch."""

    def __init__(self, *, symbols: Mapping[str, str], calendar: Calendar, moment: datetime, cache_folder: Path) -> None:
        """`moment` (aware) is the time of the fetch; yfinance keeps time zones and cookies in `cache_folder`."""
        self._symbols = symbols
        self._calendar = calendar
        self._moment = moment
        self._cache_folder = cache_folder

    @property
    def name(self) -> str:
        """The name that the bars are recorded under."""
        return "yfinance"

    @property
    def tickers_per_fetch(self) -> int:
        """Yahoo answers per ticker: groups bound the memory, and their bars are stored as they come."""
        return GROUP_OF_TICKERS

    def fetch(self, tickers: Sequence[str], first: date, last: date) -> Delivery:
        """The bars of closed sessions from `first` to `last`, in one download for all tickers.

        Raises ConfigurationError if yfinance is not installed.
        """
        yfinance = load_yfinance()
        asked = {ticker: self._symbols.get(ticker, ticker).upper() for ticker in dict.fromkeys(tickers)}
        self._cache_folder.mkdir(parents=True, exist_ok=True)
        yfinance.set_tz_cache_location(str(self._cache_folder))
        with _logged_errors() as errors:
            frame = yfinance.download(
                sorted(set(asked.values())),
                start=first.isoformat(),
                end=(last + timedelta(days=1)).isoformat(),
                interval="1d",
                auto_adjust=False,
                actions=True,
                ignore_tz=False,
                group_by="ticker",
                multi_level_index=True,
                progress=False,
                threads=NUM_THREADS,
                timeout=TIMEOUT_SECONDS,
            )
        basis = self._calendar.last_closed(self._moment)
        bars, splits, failures = [empty_bars()], list[Split](), dict[str, LdtmError]()
        for ticker, symbol in asked.items():
            whole, own_splits = read_download(frame, symbol, ticker)
            own = whole.filter(pl.col("session").is_between(first, min(last, basis)))
            if own.is_empty():
                failures[ticker] = self._failure(ticker, symbol, errors.get(symbol), first, last)
            bars.append(own)
            splits += [split for split in own_splits if not own.is_empty()]
        delivered = pl.concat(bars).sort(KEY)
        return Delivery(
            bars=delivered,
            splits=tuple(splits),
            failures=failures,
            basis=dict.fromkeys(delivered["ticker"].unique(maintain_order=True), basis),
        )

    def coverage(self, tickers: Sequence[str]) -> SourceCoverage:
        """An empty coverage: the tickers that Yahoo lacks are only known after a download."""
        return SourceCoverage()

    def _failure(self, ticker: str, symbol: str, error: str | None, first: date, last: date) -> LdtmError:
        spelled = "" if symbol == ticker else f" (requested as {symbol})"
        if error is None:
            return MissingBar(
                f"Yahoo has no bar of {ticker}{spelled} from {first} to {last}; "
                "try again later, or list it under [retired] if it was delisted"
            )
        if RATE_LIMIT in error:
            return SourceError(f"{ticker}: Yahoo reports too many requests; try again in an hour")
        return SourceError(
            f"{ticker}{spelled}: yfinance reports {' '.join(error.split())!r}; "
            'try again later, or write Yahoo\'s own spelling under [symbols], such as "BRK.B" = "BRK-B"'
        )


def load_yfinance() -> Any:
    """The package yfinance; raises ConfigurationError if it is not installed."""
    if find_spec("yfinance") is None:
        raise ConfigurationError(
            'source.kind is "yfinance", but the package yfinance is not installed; run '
            f"`{pip_command('install', RELEASE)}` or install LDTM with its extra, as in `pip install 'ldtm[yfinance]'`"
        )
    return import_module("yfinance")


def read_download(frame: Any, symbol: str, ticker: str) -> tuple[pl.DataFrame, list[Split]]:
    """The bars and splits of one symbol in the frame of a download; both are empty if it has none.

    The frame's columns are pairs of a symbol and a name such as `Close`. Its rows are the sessions of all symbols; on
    sessions without a bar of a symbol, the symbol's values are missing. Its index is in the exchange's time zone.
    """
    if frame is None or symbol not in frame.columns.get_level_values(0):
        return empty_bars(), []
    own = frame[symbol]
    if not {*COLUMNS} <= {*own.columns}:
        return empty_bars(), []
    index = own.index if own.index.tz is None else own.index.tz_convert(EXCHANGE_ZONE)
    read = pl.DataFrame(
        {"session": [moment.date() for moment in index]}
        | {name: own[column].to_numpy(dtype="float64") for column, name in COLUMNS.items()}
        | {"split": own[SPLITS].to_numpy(dtype="float64") if SPLITS in own.columns else [0.0] * len(own)},
        schema_overrides={"session": pl.Date, "split": pl.Float64},
    ).with_columns(ticker=pl.lit(ticker))
    traded = read.filter(~pl.all_horizontal(pl.col(name).is_nan() for name in COLUMNS.values()))
    bars = traded.select(pl.col(name).cast(BAR_SCHEMA[name]) for name in BAR_COLUMNS)
    declared = traded.filter(pl.col("split").is_finite() & (pl.col("split") > 0) & (pl.col("split") != 1))
    return bars, [Split(ticker=ticker, session=s, ratio=r) for s, r in declared.select("session", "split").iter_rows()]


@contextmanager
def _logged_errors() -> Generator[dict[str, str]]:
    """Collect the errors that yfinance logs, by symbol; a download returns no error."""
    errors: dict[str, str] = {}

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found = PER_TICKER_ERROR.match(record.getMessage())
            if found is not None:
                for symbol in re.findall(r"'([^']+)'", found[1]):
                    errors[symbol] = found[2]

    logger, collector = logging.getLogger("yfinance"), Collector(level=logging.ERROR)
    propagates, logger.propagate = logger.propagate, False
    logger.addHandler(collector)
    try:
        yield errors
    finally:
        logger.removeHandler(collector)
        logger.propagate = propagates
