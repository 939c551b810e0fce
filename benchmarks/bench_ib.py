"""Time a fetch of 103 tickers x 20 years over TWS's protocol, with requests in flight and one request after the other.

It then times a week of 1,000 tickers: in groups, as a daily run fetches them, and in one fetch.

Run: .venv/bin/python benchmarks/bench_ib.py  (about two minutes). The peer is a separate process. It answers at once,
or after an assumed quarter of a second, because TWS has to query IB. The naive version uses ib_insync as in its
documentation.
"""

import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from ib_insync import IB, Stock
from ib_peer import ib_peer

from ldtm_lib.prices.group_fetch import deliveries
from ldtm_lib.prices.sources.ib.connection import Address
from ldtm_lib.prices.sources.ib.pacing import Patience
from ldtm_lib.prices.sources.ib.source import IbSource
from ldtm_lib.sessions import Calendar, exchange_calendar
from ldtm_lib.settings import IbConfig, load_settings

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT))
from tests.integration.prices.ib.standalone import random_walks  # noqa: E402

UNIVERSE = ROOT / "universe.toml"
NUM_YEARS = 20
NUM_LARGE = 1_000
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

    large_universe(calendar)


def large_universe(calendar: Calendar) -> None:
    """Time the fetch of a week of many tickers, as a daily run makes it."""
    moment = datetime.now(UTC)
    last = calendar.last_closed(moment)
    first = calendar.offset(last, -5)
    tickers = tuple(f"T{number:04d}" for number in range(NUM_LARGE))
    with tempfile.TemporaryDirectory() as folder:
        random_walks(tickers, first=calendar.offset(last, -20)).write_parquet(Path(folder) / "bars.parquet")
        with ib_peer("--bars", f"{folder}/bars.parquet", "--latency-seconds", str(WAITS[-1])) as port:
            source = IbSource(
                address=Address(port=port), config=IbConfig(), contracts={}, calendar=calendar, moment=moment
            )
            started = time.perf_counter()
            groups = list(deliveries(lambda: source, tickers, first, last))
            grouped = time.perf_counter() - started
            time.sleep(Patience().identical)
            started = time.perf_counter()
            at_once = source.fetch(tickers, first, last)
            plain = time.perf_counter() - started
    assert [delivery.failures for delivery in (*groups, at_once)] == [{}] * (len(groups) + 1)
    assert sum(delivery.bars.height for delivery in groups) == at_once.bars.height == 6 * len(tickers)
    print(
        f"{len(tickers):,} tickers, 6 sessions, answers after {WAITS[-1]:g} s: {grouped:.1f} s in {len(groups)} "
        f"groups, {plain:.1f} s in one fetch"
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
