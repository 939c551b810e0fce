"""Tickers that left the universe are followed until the last of their forecasts is filled."""

from collections.abc import Iterable

from ldtm_lib.database.connection import Connection
from ldtm_lib.database.queries import query


def with_open_forecasts(conn: Connection, tickers: Iterable[str]) -> set[str]:
    """Those of some tickers that have a forecast with an actual still to come."""
    asked = list(tickers)
    if not asked:
        return set()
    return {ticker for (ticker,) in conn.execute(query("ledger.tickers_with_open_fills"), {"tickers": asked})}
