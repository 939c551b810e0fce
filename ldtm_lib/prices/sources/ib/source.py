"""Interactive Brokers as a source of bars."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta

import polars as pl

from ldtm_lib.errors import MissingBar
from ldtm_lib.prices.bars import KEY, empty_bars
from ldtm_lib.prices.sources.ib.client import run_in_event_loop_thread
from ldtm_lib.prices.sources.ib.connection import Address
from ldtm_lib.prices.sources.ib.fetch import fetch_all
from ldtm_lib.prices.sources.ib.historical import MOST_DAYS, request_of
from ldtm_lib.prices.sources.ib.pacing import Pacer
from ldtm_lib.prices.sources.protocol import Delivery, SourceCoverage
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import ContractConfig, IbConfig
from ldtm_lib.wording import counted

SETTLING = timedelta(minutes=10)
"""Time after the close in which a bar may still change: the prints of the closing auction come in late."""


class IbSource:
    """Daily bars of trades of US stocks and funds in regular trading hours; volume in shares (TWS 985 and later).

    IB adjusts them for every split until the moment of the fetch, however old the bars are, and not for dividends.
    TWS must not be set to send sizes in lots ("Bypass US Stocks market data in shares warning for API orders").
    """

    def __init__(
        self,
        *,
        address: Address,
        config: IbConfig,
        contracts: Mapping[str, ContractConfig],
        calendar: Calendar,
        moment: datetime,
        pacer: Pacer | None = None,
    ) -> None:
        """`moment` (aware) is the time of the fetch, by the clock that also decides which sessions have closed."""
        self._address = address
        self._config = config
        self._contracts = contracts
        self._calendar = calendar
        self._moment = moment
        self._pacer = pacer or Pacer()

    @property
    def name(self) -> str:
        """The name that the bars are recorded under."""
        return "ib"

    @property
    def tickers_per_fetch(self) -> int:
        """The number of tickers that arrive in half of `fetch_timeout_seconds` if each takes `request_timeout_seconds`.

        The other half is for waits: a Gateway that restarts, pacing, requests that are repeated.
        """
        config = self._config
        rounds = config.fetch_timeout_seconds / config.request_timeout_seconds / 2
        return max(config.requests_in_flight, int(config.requests_in_flight * rounds))

    def fetch(self, tickers: Sequence[str], first: date, last: date) -> Delivery:
        """The final bars from one session to another; requests each ticker once.

        A ticker whose answer has no bars is a failure, with IB's message and the remedy. Raises ConfigurationError if
        no client of TWS is installed.
        """
        asked = list(dict.fromkeys(tickers))
        plain = ContractConfig()
        requests = [
            request_of(
                ticker,
                self._contracts.get(ticker, plain),
                first=first,
                last=last,
                moment=self._moment,
                calendar=self._calendar,
            )
            for ticker in asked
        ]
        fetched = run_in_event_loop_thread(lambda: fetch_all(requests, self._address, self._config, self._pacer))
        newest_final = self._calendar.last_closed(self._moment - SETTLING)
        bars, failures = [empty_bars()], dict(fetched.failures)
        for ticker, whole in fetched.bars.items():
            cut = whole.filter(pl.col("session").is_between(first, min(last, newest_final)))
            if cut.is_empty():
                failures[ticker] = self._none_in_range(whole, first, last, newest_final)
            bars.append(cut)
        delivered = pl.concat(bars).sort(KEY)
        basis = self._calendar.last_closed(self._moment)
        return Delivery(
            bars=delivered,
            failures=failures,
            notes=tuple(fetched.notes),
            listings=_late_beginnings(delivered, first, last),
            basis=dict.fromkeys(delivered["ticker"].unique(maintain_order=True), basis),
        )

    def coverage(self, tickers: Sequence[str]) -> SourceCoverage:
        """Coverage without any named ticker: the tickers that IB lacks are only known once they are requested."""
        return SourceCoverage()

    def _none_in_range(self, whole: pl.DataFrame, first: date, last: date, newest_final: date) -> MissingBar:
        ticker, sessions = whole["ticker"][0], whole["session"]
        held = f"IB's bars of {ticker} go from {sessions.min()} to {sessions.max()}"
        if first > newest_final:
            closed = f"{self._calendar.closes_at(first):%H:%M} UTC"
            minutes = SETTLING.total_seconds() / 60
            return MissingBar(
                f"{held}, and the bar of {first} is final only {minutes:g} minutes after the close at {closed}; "
                "try again then"
            )
        return MissingBar(
            f"{held}, none from {first} to {last}; try again later, or list {ticker} under [retired] if it was delisted"
        )


def _late_beginnings(bars: pl.DataFrame, first: date, last: date) -> dict[str, tuple[str, ...]]:
    """A note on long histories with less than half of their bars: cut off by IB, or a recent listing."""
    if (last - first).days <= MOST_DAYS:
        return {}
    begun = bars.group_by("ticker", maintain_order=True).agg(pl.col("session").min(), pl.len())
    late = begun.filter(pl.col("session") > first + (last - first) / 2)
    if late.is_empty():
        return {}
    sentence = (
        f"IB's bars since {first} begin late for {{}}; if a ticker was listed before, materialize its price_history, "
        "or import its older bars from files with `ldtm prices import`"
    )
    begun_on = (f"{ticker} on {session} ({counted(num_bars, 'bar')})" for ticker, session, num_bars in late.rows())
    return {sentence: tuple(begun_on)}
