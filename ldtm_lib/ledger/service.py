"""Service: the session from which on a ticker has a row for every session, and the tickers that wait for it."""

from collections.abc import Iterable
from datetime import date

from ldtm_lib.database.connection import Connection
from ldtm_lib.database.queries import query


def first_sessions(conn: Connection, tickers: Iterable[str]) -> dict[str, date]:
    """The first session in service of each ticker; one that no training of was ever judged is absent."""
    return dict(conn.execute(query("ledger.service_entries"), {"tickers": list(tickers)}).fetchall())


def out_of_service(conn: Connection, tickers: Iterable[str], session: date) -> list[str]:
    """Those of some tickers that are not in service on a session, in their order."""
    listed = list(tickers)
    entered = first_sessions(conn, listed)
    return [ticker for ticker in listed if ticker not in entered or session < entered[ticker]]
