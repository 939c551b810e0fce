"""103 tickers x 20 years over TWS's protocol: the source with its requests in flight, and one request after the other.

Run: .venv/bin/python benchmarks/bench_ib.py  (about a minute). The peer is a process of its own that answers after a
wait, since TWS has to ask IB for what it sends: without any, and with an assumed quarter of a second. The plain way is
ib_insync as its documentation shows it.
"""

import time
from datetime import UTC, datetime
from pathlib import Path

from ib_insync import IB, Stock
from ib_peer import ib_peer

from ldtm_lib.prices.sources.ib.connection import Address
from ldtm_lib.prices.sources.ib.source import IbSource
from ldtm_lib.sessions import Calendar, exchange_calendar
from ldtm_lib.settings import IbConfig, load_settings

ROOT = Path(__file__).parents[1]
UNIVERSE = ROOT / "universe.toml"
NUM_YEARS = 20
WAITS = (0.0, 0.25)
MOST_SECONDS = 60.0


def main() -> None:
    calendar = exchange_calendar()
    tickers = load_settings(UNIVERSE).tickers
    for wait in WAITS:
        options = ("--walks", str(UNIVERSE), "--latency-seconds", str(wait))
        with ib_peer(*options) as port:
            seconds, num_bars = in_flight(port, tickers, calendar)
        with ib_peer(*options) as port:
            plain, num_plain = one_at_a_time(port, tickers)
        assert num_bars > 4_900 * len(tickers)
        assert num_plain > 4_900 * len(tickers)
        assert seconds <= MOST_SECONDS, f"{seconds:.0f} s"
        print(
            f"{len(tickers)} tickers, {NUM_YEARS} years, answers after {wait:g} s: {num_bars:,} bars "
            f"in {seconds:.1f} s with {IbConfig().requests_in_flight} requests in flight; "
            f"one at a time {plain:.1f} s; {plain / seconds:.1f} x"
        )


def in_flight(port: int, tickers: tuple[str, ...], calendar: Calendar) -> tuple[float, int]:
    moment = datetime.now(UTC)
    source = IbSource(address=Address(port=port), config=IbConfig(), contracts={}, calendar=calendar, moment=moment)
    last = calendar.last_closed(moment)
    started = time.perf_counter()
    delivery = source.fetch(tickers, calendar.between(last.replace(year=last.year - NUM_YEARS), last)[0], last)
    seconds = time.perf_counter() - started
    assert delivery.failures == {}, next(iter(delivery.failures.values()))
    return seconds, delivery.bars.height


def one_at_a_time(port: int, tickers: tuple[str, ...]) -> tuple[float, int]:
    started = time.perf_counter()
    ib = IB()
    ib.connect(port=port, clientId=1, readonly=True)
    num_bars = sum(
        len(ib.reqHistoricalData(Stock(ticker, "SMART", "USD"), "", f"{NUM_YEARS} Y", "1 day", "TRADES", True, 1))
        for ticker in tickers
    )
    ib.disconnect()
    return time.perf_counter() - started, num_bars


if __name__ == "__main__":
    main()
