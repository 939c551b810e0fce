"""Time the fill of a backlog at once, and a naive version that queries each bar and writes each actual.

Run on an idle machine: `python benchmarks/bench_fills.py [NUM_SESSIONS]`. 324 sessions of 103 tickers leave 100,116
actuals open. The database checks each of them against its bar and records an event of the chain. The script starts an
embedded PostgreSQL in a temporary folder.
"""

import sys
import tempfile
import time
from datetime import date
from pathlib import Path

from bench_audit import BARS, FORECASTS, NUM_TICKERS

from ldtm_lib.database import embedded
from ldtm_lib.database.connection import Connection, Database
from ldtm_lib.database.migrate import migrate
from ldtm_lib.ledger.fillbacks import due, fill, restated_actuals
from ldtm_lib.ledger.simulations import SimulationPlan, begin_simulation
from ldtm_lib.sessions import Calendar, exchange_calendar
from ldtm_lib.settings import LedgerConfig

NUM_SESSIONS, NUM_PLAIN = 324, 2
FIRST, LAST = date(2022, 1, 3), date(2026, 10, 30)
RESTATE = """
insert into bar
select ticker, session, clock_timestamp(), open, high * 1.1, low * 0.9, close * 1.01, volume, 'corrected'
from current_bar where session = %(day)s
"""


def main(num_sessions: int) -> None:
    calendar = exchange_calendar()
    with tempfile.TemporaryDirectory() as home:
        Path(home).chmod(0o755)
        database = Database(url=embedded.start(Path(home)), schema="ldtm_bench_fills")
        try:
            migrate(database, calendar)
            with database.connect() as conn:
                measure(conn, calendar, num_sessions)
        finally:
            embedded.stop(Path(home))


def measure(conn: Connection, calendar: Calendar, num_sessions: int) -> None:
    sessions = calendar.between(FIRST, LAST)[:num_sessions]
    conn.execute(BARS.encode(), {"num": NUM_TICKERS, "first": FIRST, "last": LAST})
    simulation_id = begin_simulation(conn, SimulationPlan(origin="a benchmark"))
    for day in sessions:
        targets = calendar.targets(day)
        named = {"next_day": targets.next_day, "next_monday": targets.next_monday, "one_month": targets.one_month}
        conn.execute(FORECASTS.encode(), {"num": NUM_TICKERS, "day": day, "simulation_id": simulation_id, **named})
    conn.commit()
    conn.autocommit = True
    conn.execute("vacuum analyze")
    conn.autocommit = False

    started = time.perf_counter()
    num_due = due(conn, as_of=LAST).height
    print(f"dry run, {num_due:,} due: {time.perf_counter() - started:.2f} s")
    conn.rollback()
    started = time.perf_counter()
    num_plain = fill_row_by_row(conn, NUM_PLAIN)
    plain = (time.perf_counter() - started) / num_plain * num_due
    conn.rollback()
    started = time.perf_counter()
    filled = fill(conn, as_of=LAST, config=LedgerConfig()).num_filled
    conn.commit()
    batch = time.perf_counter() - started
    assert filled == num_due == 3 * len(sessions) * NUM_TICKERS
    print(
        f"fill of {filled:,} actuals: {batch:.2f} s; row by row {plain:.1f} s (scaled up from {num_plain}); "
        f"{plain / batch:.0f} x"
    )
    started = time.perf_counter()
    fill(conn, as_of=LAST, config=LedgerConfig())
    conn.commit()
    print(f"again, nothing due: {time.perf_counter() - started:.2f} s")
    conn.execute(RESTATE.encode(), {"day": sessions[-1]})
    started = time.perf_counter()
    fill(conn, as_of=LAST, config=LedgerConfig())
    print(f"{restated_actuals(conn).height:,} restatements found: {time.perf_counter() - started:.2f} s")


def fill_row_by_row(conn: Connection, num_tickers: int) -> int:
    """Fill the actuals of some tickers one by one; returns the number of actuals written."""
    tickers = [f"T{n:03}" for n in range(num_tickers)]
    num_filled = 0
    for horizon in ("next_day", "next_monday", "one_month"):
        query = f"select ticker, run_date, {horizon}_session from snapshot where ticker = any (%s)"
        for ticker, run_date, target in conn.execute(query.encode(), (tickers,)).fetchall():
            (close,) = conn.execute(
                "select close from current_bar where ticker = %s and session = %s", (ticker, target)
            ).fetchone() or (None,)
            conn.execute(
                f"update snapshot set {horizon}_actual = %s where ticker = %s and run_date = %s".encode(),
                (close, ticker, run_date),
            )
            num_filled += 1
    return num_filled


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else NUM_SESSIONS)
