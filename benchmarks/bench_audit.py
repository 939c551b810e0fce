"""Time the verification of a record of a million events, and a naive version that reads and hashes them one by one.

Run on an idle machine: `python benchmarks/bench_audit.py [NUM_SESSIONS]`. 2,428 sessions of 103 tickers, each forecast
with its three fills, are 1,000,336 events. The script starts an embedded PostgreSQL in a temporary folder.
"""

import sys
import tempfile
import time
from datetime import date
from pathlib import Path

from ldtm_lib.audit import events
from ldtm_lib.audit.proof import prove
from ldtm_lib.audit.publications.protocol import publish_missing
from ldtm_lib.audit.publications.seal_file import SealFile
from ldtm_lib.audit.sealing import create_seal, read_seals
from ldtm_lib.audit.verify import verify
from ldtm_lib.database import embedded
from ldtm_lib.database.connection import Connection, Database
from ldtm_lib.database.migrate import migrate
from ldtm_lib.ledger.fillbacks import fill
from ldtm_lib.ledger.simulations import SimulationPlan, begin_simulation
from ldtm_lib.sessions import Calendar, exchange_calendar
from ldtm_lib.settings import LedgerConfig

NUM_TICKERS, NUM_SESSIONS = 103, 2_428
FIRST, LAST = date(2016, 1, 4), date(2026, 10, 30)
SAMPLE = 2_000
"""Number of events that the naive version verifies; its time is scaled up to all events."""
SESSIONS_PER_FILL = 63

BARS = """
insert into bar
select format('T%%s', lpad(n::text, 3, '0')), session, clock_timestamp(), close, close * 1.01, close * 0.99, close, 1e6,
       'bench'
from (select n, session, 100 + (n * 31 + (session - date '2000-01-01') * 17) %% 211 * 0.13 as close
      from generate_series(0, %(num)s - 1) n, trading_session where session between %(first)s and %(last)s) walk
"""
FORECASTS = """
insert into snapshot (ticker, run_date, simulation_id, next_day_session, next_monday_session, one_month_session,
    run_date_close, next_day_pred, next_monday_pred, one_month_pred, direction_pred, model_version, model_status,
    checkpoint_sha256, window_sha256, bars_recorded_until)
select format('T%%s', lpad(n::text, 3, '0')), %(day)s, %(simulation_id)s, %(next_day)s, %(next_monday)s, %(one_month)s,
       100 + n * 0.1, 101.3 + n * 0.1, 102.7, 99.1, 'bullish', 'v1.2015-12-31', 'active',
       encode(sha256(n::text::bytea), 'hex'), encode(sha256(n::text::bytea), 'hex'), clock_timestamp()
from generate_series(0, %(num)s - 1) n
"""


def main(num_sessions: int) -> None:
    calendar = exchange_calendar()
    with tempfile.TemporaryDirectory() as home:
        Path(home).chmod(0o755)
        database = Database(url=embedded.start(Path(home)), schema="ldtm_bench_audit")
        try:
            migrate(database, calendar)
            with database.connect() as conn:
                build(conn, calendar, num_sessions)
            measure(database, calendar, SealFile(path=Path(home) / "seals.jsonl"))
        finally:
            embedded.stop(Path(home))


def build(conn: Connection, calendar: Calendar, num_sessions: int) -> None:
    """Record daily runs: forecasts and a seal for each session, and the fills of a quarter at once."""
    started = time.perf_counter()
    conn.execute(BARS.encode(), {"num": NUM_TICKERS, "first": FIRST, "last": LAST})
    simulation_id = begin_simulation(conn, SimulationPlan(origin="a benchmark"))
    for n, day in enumerate(calendar.between(FIRST, LAST)[:num_sessions], start=1):
        targets = calendar.targets(day)
        named = {"next_day": targets.next_day, "next_monday": targets.next_monday, "one_month": targets.one_month}
        conn.execute(FORECASTS.encode(), {"num": NUM_TICKERS, "day": day, "simulation_id": simulation_id, **named})
        if n % SESSIONS_PER_FILL == 0 or n == num_sessions:
            fill(conn, as_of=LAST, config=LedgerConfig())
        create_seal(conn)
        conn.commit()
    conn.autocommit = True
    conn.execute("vacuum analyze")
    print(f"built in {time.perf_counter() - started:.0f} s")


def measure(database: Database, calendar: Calendar, file: SealFile) -> None:
    with database.connect() as conn:
        started = time.perf_counter()
        publish_missing(file, read_seals(conn))
        mib = file.path.stat().st_size / 2**20
        print(f"published all seals to a file: {time.perf_counter() - started:.2f} s, {mib:.0f} MiB")
    times: list[float] = []
    for publications in ([], [], [file]):
        started = time.perf_counter()
        report = verify(database, calendar, publications)
        times.append(time.perf_counter() - started)
        assert report.is_intact, report.discrepancies[0].message
    with database.connect() as conn:
        started = time.perf_counter()
        sample = events.read(conn, range(0, report.num_events, max(1, report.num_events // SAMPLE)))
        assert all(event.is_intact for event in sample)
        plain = (time.perf_counter() - started) / len(sample) * report.num_events
        started = time.perf_counter()
        proof = prove(conn, "T007", date(2016, 3, 1), simulation_id=1)
        proven = time.perf_counter() - started
    print(
        f"verify {report.num_events:,} events in {report.num_seals:,} seals: {times[0]:.2f} s, again {times[1]:.2f} s, "
        f"with the file {times[2]:.2f} s; one by one {plain:.0f} s (scaled up from {len(sample):,}); "
        f"{plain / times[1]:.0f} x"
    )
    print(f"prove one forecast, {proof.num_events} events: {proven:.2f} s")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else NUM_SESSIONS)
