"""The source as the tests ask it: an evening in November, a few symbols, and little patience."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any

import polars as pl

from ldtm_lib.prices.sources.ib.connection import Address
from ldtm_lib.prices.sources.ib.pacing import Pacer, Patience
from ldtm_lib.prices.sources.ib.source import IbSource
from ldtm_lib.prices.sources.protocol import Delivery
from ldtm_lib.sessions import exchange_calendar
from ldtm_lib.settings import ContractConfig, IbConfig
from tests.integration.prices.ib.peer import TwsPeer
from tests.integration.prices.ib.standalone import random_walks

LAST = date(2026, 11, 20)
"""A Friday."""
AFTER_CLOSE = datetime(2026, 11, 20, 23, 15, tzinfo=UTC)
FIRST = date(2026, 11, 13)
NUM_SESSIONS = 6
"""From FIRST to LAST."""
SYMBOLS = ("AAPL", "MSFT", "NVDA", "SPY")
WALKS = random_walks(SYMBOLS, first=date(2005, 1, 3))
IDENTICAL_SECONDS = 0.1
HASTE = Patience(identical=IDENTICAL_SECONDS, slow_down=0.1, connect=0.05, first_connection=0.5, longest=0.2)


def peer_of(bars: pl.DataFrame = WALKS, **given: Any) -> TwsPeer:
    """A peer whose clock stands still after the close."""
    return TwsPeer(bars, **({"clock": lambda: AFTER_CLOSE, "identical_seconds": IDENTICAL_SECONDS} | given))


def source_of(
    peer: TwsPeer | int,
    *,
    moment: datetime = AFTER_CLOSE,
    contracts: dict[str, ContractConfig] | None = None,
    client_id: int = 17,
    account: str | None = None,
    pacer: Pacer | None = None,
    **config: Any,
) -> IbSource:
    """The source; a busy machine may take its time, unless a test says otherwise."""
    chosen: dict[str, Any] = {"request_timeout_seconds": 60.0, "connect_timeout_seconds": 30.0} | config
    return IbSource(
        address=Address(port=peer if isinstance(peer, int) else peer.port, client_id=client_id, account=account),
        config=IbConfig(**chosen),
        contracts=contracts or {},
        calendar=exchange_calendar(),
        moment=moment,
        pacer=pacer or Pacer(HASTE),
    )


def fetch(peer: TwsPeer | int, tickers: Sequence[str] = SYMBOLS, **given: Any) -> Delivery:
    """The bars of the week, from a peer or from a port."""
    return source_of(peer, **given).fetch(tickers, FIRST, LAST)


def asked_of(peer: TwsPeer, symbol: str) -> int:
    """How often a symbol was asked for."""
    return sum(asked.symbol == symbol for asked in peer.asked)


def whole(delivery: Delivery, *symbols: str) -> bool:
    """Whether a delivery has every bar of the week of some symbols, as the peer has them."""
    expected = WALKS.filter(pl.col("ticker").is_in(symbols) & pl.col("session").is_between(FIRST, LAST))
    return delivery.bars.filter(pl.col("ticker").is_in(symbols)).equals(expected.sort("ticker", "session"))
