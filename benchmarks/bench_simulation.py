"""Time simulated sessions of 103 tickers by the loop of a bootstrap, and through the daily job.

Run on an idle machine: `python benchmarks/bench_simulation.py`. The script starts an embedded PostgreSQL in a temporary
folder. Both make the same windows and forecasts with the same models. The daily job also fetches bars, fills, seals,
checks and records one materialization for each session, ticker and asset.
"""

import os
import tempfile
import time
from datetime import UTC, date, datetime
from pathlib import Path

from bench_snapshots import NUM_TICKERS, TICKERS, bars, networks

from ldtm_assets.assets.features import build_features
from ldtm_assets.assets.snapshots import take_daily_snapshots
from ldtm_assets.partitions import DailyPartition
from ldtm_cli.runs import JobRun, Launcher
from ldtm_cli.services import prepare
from ldtm_lib.database import embedded
from ldtm_lib.ledger.simulations import SimulationPlan, begin_simulation
from ldtm_lib.project import Project
from ldtm_lib.sessions import Calendar, exchange_calendar

NUM_BARS = 320
NUM_SESSIONS = 5


def main() -> None:
    calendar = exchange_calendar()
    newest = calendar.last_closed(datetime.now(UTC))
    sessions = calendar.between(calendar.offset(newest, -NUM_BARS), newest)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        os.chmod(home, 0o755)
        (home / "data" / "bars").mkdir(parents=True)
        for (ticker,), of_ticker in bars(sessions).group_by("ticker"):
            of_ticker.drop("ticker").rename({"session": "date"}).write_csv(home / "data" / "bars" / f"{ticker}.csv")
        config = home / "universe.toml"
        config.write_text(
            f'tickers = {list(TICKERS)}\n[source]\nkind = "files"\nbasis = "adjusted"\n'
            f"[partitions]\nfirst_session = {sessions[-20]}\n"
        )
        project, _ = prepare(config)
        try:
            run(project, calendar, sessions[-NUM_SESSIONS:])
        finally:
            embedded.stop(project.home)


def run(project: Project, calendar: Calendar, sessions: list[date]) -> None:
    with Launcher(project) as launcher:
        launcher.run(
            JobRun(
                job="price_history_job",
                step="price_history",
                first_partition=TICKERS[0],
                last_partition=TICKERS[-1],
            )
        )
        project.checkpoint_folder.mkdir(exist_ok=True)
        with project.database.transaction() as conn:
            networks(conn, project.checkpoint_folder, project.settings)
            simulation_id = begin_simulation(conn, SimulationPlan(origin="benchmark"))
        started = time.perf_counter()
        for session in sessions:
            partitions = [DailyPartition(session, ticker) for ticker in TICKERS]
            build_features(project, calendar, partitions)
            take_daily_snapshots(project, calendar, partitions, simulation_id)
        loop = time.perf_counter() - started
        started = time.perf_counter()
        launcher.run(
            JobRun(
                job="daily_job",
                step="daily_forecast",
                first_partition=f"{sessions[0]}|{TICKERS[0]}",
                last_partition=f"{sessions[-1]}|{TICKERS[-1]}",
                config={"simulated": True},
            )
        )
        daily_job = time.perf_counter() - started
    with project.database.transaction() as conn:
        counts = conn.execute("select simulation_id, count(*) from snapshot where abstained_reason is null group by 1")
        assert dict(counts.fetchall()) == {1: NUM_TICKERS * NUM_SESSIONS, 2: NUM_TICKERS * NUM_SESSIONS}
        differing = conn.execute(
            """select count(*) from snapshot one join snapshot two using (ticker, run_date)
               where one.simulation_id = 1 and two.simulation_id = 2 and one.next_day_pred <> two.next_day_pred"""
        ).fetchone()
        assert differing == (0,)
    print(
        f"{NUM_SESSIONS} simulated sessions of {NUM_TICKERS} tickers: {loop:.1f} s by the loop of a bootstrap, "
        f"{daily_job:.1f} s through the daily job; {daily_job / loop:.1f} x"
    )


if __name__ == "__main__":
    main()
