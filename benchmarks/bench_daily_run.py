"""Time a daily run of 103 tickers through Dagster: one run for all tickers, and one run per ticker.

Run on an idle machine: `python benchmarks/bench_daily_run.py`. The script starts an embedded PostgreSQL in a temporary
folder, and in a separate process a peer that speaks TWS's protocol. The measured cost of a run is its planned events,
the fetch, and one transaction per stage. In production each run also costs its process and the daemon's launch.
"""

import os
import tempfile
import time
from datetime import UTC, date, datetime
from pathlib import Path

from bench_snapshots import NUM_TICKERS, TICKERS, bars, networks
from ib_peer import ib_peer

from ldtm_cli.runs import JobRun, Launcher
from ldtm_cli.services import prepare
from ldtm_lib.database import embedded
from ldtm_lib.project import Project
from ldtm_lib.sessions import Calendar, exchange_calendar

NUM_SESSIONS = 320
NUM_ALONE = 20
"""Tickers that get a run of their own; 103 would take minutes."""
MOST_SECONDS = 60.0


def main() -> None:
    calendar = exchange_calendar()
    newest = calendar.last_closed(datetime.now(UTC))
    sessions = calendar.between(calendar.offset(newest, -NUM_SESSIONS), newest)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        os.chmod(home, 0o755)
        bars(sessions).write_parquet(home / "bars.parquet")
        config = home / "universe.toml"
        config.write_text(
            f'tickers = {list(TICKERS)}\n[source]\nkind = "ib"\n[partitions]\nfirst_session = {sessions[-20]}\n'
        )
        with ib_peer("--bars", str(home / "bars.parquet")) as port:
            os.environ["LDTM_IB_PORT"] = str(port)
            project, _ = prepare(config)
            try:
                run(project, calendar, newest)
            finally:
                embedded.stop(project.home)


def run(project: Project, calendar: Calendar, newest: date) -> None:
    each, warm, all_at_once = (calendar.offset(newest, -back) for back in (2, 1, 0))
    with Launcher(project) as launcher:
        launcher.run(
            JobRun(
                job="price_history_job",
                step="price_history",
                first_partition=TICKERS[0],
                last_partition=TICKERS[-1],
                config={"last_session": calendar.offset(newest, -3).isoformat()},
            )
        )
        project.checkpoint_folder.mkdir(exist_ok=True)
        with project.database.transaction() as conn:
            networks(conn, project.checkpoint_folder, project.settings)
        started = time.perf_counter()
        for ticker in TICKERS[:NUM_ALONE]:
            daily_run(launcher, ticker, ticker, each)
        plain = (time.perf_counter() - started) * NUM_TICKERS / NUM_ALONE
        daily_run(launcher, TICKERS[0], TICKERS[-1], warm)
        started = time.perf_counter()
        daily_run(launcher, TICKERS[0], TICKERS[-1], all_at_once)
        together = time.perf_counter() - started
    with project.database.transaction() as conn:
        rows = conn.execute(
            "select run_date, count(*) from snapshot where abstained_reason is null group by 1 order by 1"
        )
        assert rows.fetchall() == [(each, NUM_ALONE), (warm, NUM_TICKERS), (all_at_once, NUM_TICKERS)]
    print(
        f"a daily run of {NUM_TICKERS} tickers: {together:.1f} s in one run; {plain:.1f} s in one run per ticker, "
        f"scaled up from {NUM_ALONE}; {plain / together:.1f} x"
    )
    assert together <= MOST_SECONDS, f"{together:.0f} s"


def daily_run(launcher: Launcher, first: str, last: str, session: date) -> None:
    launcher.run(
        JobRun(
            job="daily_job",
            step="daily_forecast",
            first_partition=f"{session}|{first}",
            last_partition=f"{session}|{last}",
        )
    )


if __name__ == "__main__":
    main()
