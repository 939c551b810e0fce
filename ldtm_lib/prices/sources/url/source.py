"""A web service as a source of bars."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from pathlib import Path

import polars as pl

from ldtm_lib.errors import LdtmError, MalformedFile, MissingBar
from ldtm_lib.file_names import plain_name
from ldtm_lib.prices.bars import KEY, empty_bars
from ldtm_lib.prices.sources.declared_splits import DeclaredSplits, read_declared_splits
from ldtm_lib.prices.sources.price_basis import bars_on_basis
from ldtm_lib.prices.sources.protocol import GROUP_OF_TICKERS, Delivery, SourceCoverage
from ldtm_lib.prices.sources.url.fetch import Service
from ldtm_lib.prices.splits import Split
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import PriceBasis


class UrlSource:
    """Daily bars of a web service.

    Adjusted bars are on the price basis of the moment of the fetch, as services restate their history for every split.
    Raw bars are adjusted here, for the splits that a folder's splits.csv declares or, without any, for the splits
    inferred from jumps of the adjusted close.
    """

    def __init__(
        self,
        *,
        service: Service,
        basis: PriceBasis,
        symbols: Mapping[str, str],
        splits_folder: Path,
        calendar: Calendar,
        moment: datetime,
    ) -> None:
        """`moment` (aware) is the time of the fetch, by the clock that also decides which sessions have closed."""
        self._service = service
        self._basis: PriceBasis = basis
        self._symbols = symbols
        self._splits_folder = splits_folder
        self._calendar = calendar
        self._moment = moment

    @property
    def name(self) -> str:
        """The name that the bars are recorded under."""
        return "url"

    @property
    def host(self) -> str:
        """The host of the service."""
        return self._service.host

    @property
    def tickers_per_fetch(self) -> int:
        """The service answers per ticker: groups bound the memory, and their bars are stored as they come."""
        return GROUP_OF_TICKERS

    def fetch(self, tickers: Sequence[str], first: date, last: date) -> Delivery:
        """The bars of closed sessions from `first` to `last`; sends one request per ticker."""
        declared = self._declared_splits()
        fetched = self._service.fetch(list(dict.fromkeys(tickers)), self._symbols, first, last)
        newest_closed = self._calendar.last_closed(self._moment)
        basis = last if self._basis == "raw" else newest_closed
        bars, splits, notes = [empty_bars()], list[Split](), list(fetched.notes)
        bases, splits_from = dict[str, date](), dict[str, date]()
        places = list[pl.DataFrame]()
        failures: dict[str, LdtmError] = dict(fetched.failures)
        for ticker, read in fetched.bars.items():
            name = plain_name(ticker)
            if error := declared.failures.get(name):
                failures[ticker] = error
                continue
            try:
                own = bars_on_basis(
                    read.with_columns(ticker=pl.lit(ticker)),
                    self._basis,
                    declared.splits.get(name, ()),
                    basis,
                    first,
                    min(last, newest_closed),
                )
            except MissingBar as error:
                failures[ticker] = MissingBar(
                    f"{error}; try again later, or list it under [retired] if it was delisted"
                )
                continue
            except MalformedFile as error:
                failures[ticker] = error
                continue
            bars.append(own.bars)
            places.append(own.places)
            splits += own.splits
            bases[ticker] = own.basis
            if own.splits_from is not None:
                splits_from[ticker] = own.splits_from
            notes += own.notes
        return Delivery(
            bars=pl.concat(bars).sort(KEY),
            places=pl.concat(places) if places else None,
            splits=tuple(splits),
            failures=failures,
            notes=tuple(notes),
            basis=bases,
            splits_from=splits_from,
        )

    def coverage(self, tickers: Sequence[str]) -> SourceCoverage:
        """An empty coverage: the tickers that the service lacks are only known after requests."""
        return SourceCoverage()

    def _declared_splits(self) -> DeclaredSplits:
        if self._basis == "adjusted":
            return DeclaredSplits(splits={}, failures={})
        return read_declared_splits(self._splits_folder, self._moment)
