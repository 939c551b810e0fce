"""The peer as a process of its own, which files switch on and off from outside.

Call: python -m tests.integration.prices.ib.standalone --port 7497 --bars bars.parquet
[--outage FILE] [--late FILE] [--clock FILE];
while the file of --outage exists TWS is down; --late names symbols, one a line, whose newest bar has not come in yet;
--clock holds the peer's moment as ISO text instead of the clock of the process, which libfaketime may shift. With
`--walks UNIVERSE` there are random walks of the tickers in a configuration file instead of a file of bars. Prints one
line, `listening on HOST:PORT`, once it does, and ends with SIGTERM or SIGINT.
"""

import argparse
import signal
import threading
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import polars as pl

from ldtm_lib.sessions import exchange_calendar
from ldtm_lib.settings import load_settings
from tests.integration.prices.ib.peer import TwsPeer

POLL_SECONDS = 0.2
FIRST_SESSION = date(2005, 1, 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--bars", type=Path, help="Parquet with ticker, session, open, high, low, close, volume")
    parser.add_argument("--walks", type=Path, help="a configuration file whose tickers walk at random")
    parser.add_argument("--outage", type=Path)
    parser.add_argument("--late", type=Path)
    parser.add_argument("--clock", type=Path)
    parser.add_argument("--latency-seconds", type=float, default=0.0)
    parser.add_argument("--identical-seconds", type=float, default=15.0)
    parser.add_argument("--partial", action="store_true", help="the session that trades has an unfinished bar")
    given = parser.parse_args()
    if (given.bars is None) == (given.walks is None):
        parser.error("give --bars or --walks")
    bars = pl.read_parquet(given.bars) if given.bars else random_walks(load_settings(given.walks).tickers)
    clock = given.clock

    def moment() -> datetime:
        return datetime.now(UTC) if clock is None else datetime.fromisoformat(clock.read_text().strip())

    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    peer = TwsPeer(
        bars, clock=moment, port=given.port, host=given.host, latency_seconds=given.latency_seconds,
        identical_seconds=given.identical_seconds, partial=given.partial,
    )  # fmt: skip
    with peer:
        print(f"listening on {peer.host}:{peer.port}", flush=True)
        is_down = False
        while not stopped.wait(POLL_SECONDS):
            if given.late is not None:
                peer.market.withheld = frozenset(given.late.read_text().split() if given.late.exists() else ())
            if given.outage is not None and given.outage.exists() != is_down:
                is_down = not is_down
                (peer.start_outage if is_down else peer.end_outage)()


def random_walks(tickers: tuple[str, ...], first: date = FIRST_SESSION) -> pl.DataFrame:
    """Seeded walks of some symbols from a session to the end of the calendar, prices in cents."""
    calendar = exchange_calendar()
    sessions = calendar.between(first, calendar.days[-1].item())
    rng = np.random.default_rng(0)
    shape = (len(tickers), len(sessions))
    close = 20 + 80 * np.exp(np.cumsum(rng.normal(0, 0.01, shape), axis=1))
    opens = close * (1 + rng.normal(0, 0.004, shape))
    spread = 1 + np.abs(rng.normal(0, 0.004, shape))
    prices = {
        "open": opens,
        "high": np.maximum(opens, close) * spread,
        "low": np.minimum(opens, close) / spread,
        "close": close,
    }
    return pl.DataFrame(
        {
            "ticker": np.repeat(list(tickers), len(sessions)),
            "session": sessions * len(tickers),
            **{name: np.round(values, 2).ravel() for name, values in prices.items()},
            "volume": rng.integers(100_000, 100_000_000, close.size).astype(np.float64),
        }
    )


if __name__ == "__main__":
    main()
