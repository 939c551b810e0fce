"""Run one stage of `bench_scale.py` in a separate process, whose peak memory is that of the stage alone.

    python benchmarks/scale_stages.py STAGE --home FOLDER --tickers N [--by date] [--profile FILE]

The last line of the output has the figures as JSON. A stage whose name begins with `make` prepares the data of the next
stages. Daily runs are of sessions before the newest one, and their rows are late: tickers that enter service today get
no row of the newest session before the next one opens.
"""

import argparse
import cProfile
import json
import os
import resource
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[1]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "benchmarks")]

import bench_gate  # noqa: E402
import bench_snapshots  # noqa: E402
import dagster as dg  # noqa: E402
import numpy as np  # noqa: E402
import polars as pl  # noqa: E402
import psycopg  # noqa: E402
import sqlalchemy  # noqa: E402
import torch  # noqa: E402
from ib_peer import ib_peer  # noqa: E402
from random_walks import synthetic_bars  # noqa: E402
from sqlalchemy.engine import Engine  # noqa: E402

from ldtm_assets.assets.features import build_features  # noqa: E402
from ldtm_assets.assets.fillbacks import fill_actuals  # noqa: E402
from ldtm_assets.assets.prices import fetch_prices  # noqa: E402
from ldtm_assets.assets.snapshots import take_daily_snapshots  # noqa: E402
from ldtm_assets.definitions import definitions_for  # noqa: E402
from ldtm_assets.materialization import Outcome  # noqa: E402
from ldtm_assets.partitions import DailyPartition, partition_range  # noqa: E402
from ldtm_assets.training.stage import TICKERS_AT_ONCE  # noqa: E402
from ldtm_cli.dagster_process import stop_process_group  # noqa: E402
from ldtm_cli.runs import JobRun, Launcher  # noqa: E402
from ldtm_cli.services import dagster_environment, prepare, start_dagster  # noqa: E402
from ldtm_lib.features.look_ahead import SAMPLED_WINDOWS, window_leaks  # noqa: E402
from ldtm_lib.features.windows import windows_of  # noqa: E402
from ldtm_lib.ledger.interval_coverage import coverage_records  # noqa: E402
from ldtm_lib.ledger.monitoring import monitor_active_models  # noqa: E402
from ldtm_lib.ledger.simulations import NO_SIMULATION  # noqa: E402
from ldtm_lib.prices.ingest import add_bars, ingest  # noqa: E402
from ldtm_lib.prices.sources.protocol import Delivery  # noqa: E402
from ldtm_lib.prices.stored_bars import current_bars  # noqa: E402
from ldtm_lib.project import Project  # noqa: E402
from ldtm_lib.registry.inputs import input_key  # noqa: E402
from ldtm_lib.sessions import exchange_calendar  # noqa: E402
from ldtm_lib.settings import PartitionConfig  # noqa: E402
from ldtm_lib.training.plan import plan_training  # noqa: E402
from tests.acceptance.dagster_ui import PARTITIONS, DagsterUi  # noqa: E402
from tests.large_record import write_large_record  # noqa: E402

NUM_HISTORY = 320
"""Stored sessions before the first daily run: indicators and windows need 50, intervals and features read 280."""
NUM_FETCHED = 40
"""Sessions that the source has."""
YEAR = 252
NUM_TRAINED = 5_000
"""Sessions of a training's history: twenty years."""
GROUP = 250
ASSET = "prices"
SCHEMAS = {"ldtm": "ldtm", "dagster": "ldtm_dagster"}
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}

SIZE = """
select sum(pg_total_relation_size(c.oid))::bigint from pg_class c
where relnamespace = %s::regnamespace and relkind in ('r', 'm')
"""
ONE_SESSION_MORE = """
insert into event_logs (run_id, event, dagster_event_type, timestamp, step_key, asset_key, partition)
select run_id, replace(event, %(session)s, %(new)s), dagster_event_type, timestamp, step_key, asset_key,
       replace(partition, %(session)s, %(new)s)
from event_logs
where asset_key = %(asset)s and position(%(session)s in partition) = 1
  and dagster_event_type in ('ASSET_MATERIALIZATION_PLANNED', 'ASSET_MATERIALIZATION')
order by id
"""

Figures = dict[str, float]


class Statements:
    """Counts what this process sends to PostgreSQL: LDTM by psycopg 3, Dagster by SQLAlchemy."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.texts: Counter[str] = Counter()
        plain_execute, plain_copy, counts = psycopg.Cursor.execute, psycopg.Cursor.copy, self.counts

        def execute(cursor: Any, query: Any, *args: Any, **kwargs: Any) -> Any:
            counts["ldtm"] += 1
            self.texts[str(query)[:100]] += 1
            return plain_execute(cursor, query, *args, **kwargs)

        def copy(cursor: Any, query: Any, *args: Any, **kwargs: Any) -> Any:
            counts["ldtm"] += 1
            return plain_copy(cursor, query, *args, **kwargs)

        psycopg.Cursor.execute, psycopg.Cursor.copy = execute, copy  # pyright: ignore[reportAttributeAccessIssue]
        sqlalchemy.event.listen(Engine, "before_cursor_execute", self._note)
        sqlalchemy.event.listen(Engine, "connect", lambda *_: counts.update(["dagster connections"]))

    def _note(self, _conn: Any, _cursor: Any, statement: str, *_: Any) -> None:
        self.counts["dagster"] += 1
        self.texts["dagster: " + " ".join(statement.split())[:100]] += 1


class Scale:
    """One universe and its folder."""

    def __init__(self, home: Path, num_tickers: int, by: str) -> None:
        self.home, self.num_tickers, self.by = home, num_tickers, by
        self.calendar = exchange_calendar()
        self.newest = self.calendar.last_closed(datetime.now(UTC))
        self.sessions = self.calendar.between(self.calendar.offset(self.newest, -NUM_HISTORY), self.newest)
        self.warm, self.measured = self.sessions[-3:-1]
        self.tickers = tuple(f"T{number:03}" for number in range(num_tickers))
        self.config = home / "universe.toml"

    def write_config(self, *, small: bool = False) -> None:
        """Write the configuration; `small` selects the networks of the gate's benchmark, which are never run."""
        by = f'by = "{self.by}"\n' if "by" in PartitionConfig.model_fields else ""
        architecture = "[architecture]\nhidden = 6\nhead_hidden = 4\n" if small else ""
        self.config.write_text(
            f"tickers = {json.dumps(list(self.tickers))}\n"
            f'[source]\nkind = "ib"\n{architecture}'
            f"[partitions]\nfirst_session = {self.sessions[-YEAR - 20]}\n{by}"
        )

    def project(self) -> Project:
        return prepare(self.config)[0]

    def keys(self, session: date) -> tuple[str, str]:
        """The first and the last partition of a daily run."""
        if self.by == "date":
            return session.isoformat(), session.isoformat()
        return f"{session}|{self.tickers[0]}", f"{session}|{self.tickers[-1]}"


def make_daily(scale: Scale) -> Figures:
    """Store histories, and an active network with its backtest for every ticker."""
    scale.write_config()
    project = scale.project()
    bars = synthetic_bars(scale.calendar, scale.num_tickers, NUM_HISTORY, scale.newest)
    bars.filter(pl.col("session") > scale.sessions[-NUM_FETCHED]).write_parquet(scale.home / "bars.parquet")
    stored = bars.filter(pl.col("session") < scale.sessions[-5])
    with project.database.transaction() as conn:
        ingest(conn, Delivery(bars=stored), source="ib", calendar=scale.calendar)
        project.checkpoint_folder.mkdir(exist_ok=True)
        bench_snapshots.networks(conn, project.checkpoint_folder, project.settings)
        bench_snapshots.backtests(conn, bench_snapshots.exchange_calendar().between(date(2025, 1, 2), scale.newest))
    return {}


def work(scale: Scale, profile: Callable[[], Any]) -> Figures:
    """Time the stages of a daily run without Dagster, which is the time of LDTM's own code."""
    project, seconds = scale.project(), dict[str, float]()
    with ib_peer("--bars", str(scale.home / "bars.parquet")) as port:
        os.environ["LDTM_IB_PORT"] = str(port)
        for session in scale.sessions[-5:-3]:
            partitions = [DailyPartition(session, ticker) for ticker in scale.tickers]
            stages: dict[str, Callable[[], Outcome]] = {
                "prices": lambda partitions=partitions: fetch_prices(project, scale.calendar, partitions),
                "features": lambda partitions=partitions: build_features(project, scale.calendar, partitions),
                "snapshots": lambda partitions=partitions: take_daily_snapshots(
                    project, scale.calendar, partitions, NO_SIMULATION
                )[0],
                "fillbacks": lambda partitions=partitions: fill_actuals(project, partitions),
            }
            with profile():
                for name, stage in stages.items():
                    started = time.perf_counter()
                    outcome = stage()
                    seconds[name] = time.perf_counter() - started
                    assert len(outcome.done) == scale.num_tickers, (name, outcome.failed)
    return {f"{name} without Dagster, s": value for name, value in seconds.items()}


def daily(scale: Scale, profile: Callable[[], Any]) -> Figures:
    """Time a daily run through Dagster in this process, after a first one as warm-up."""
    project = scale.project()
    with ib_peer("--bars", str(scale.home / "bars.parquet")) as port:
        os.environ["LDTM_IB_PORT"] = str(port)
        with Launcher(project) as launcher:

            def run(session: date) -> str:
                first, last = scale.keys(session)
                return launcher.run(
                    JobRun(job="daily_job", step="daily_forecast", first_partition=first, last_partition=last)
                )

            run(scale.warm)
            before, statements, started = sizes(project), Statements(), time.perf_counter()
            with profile():
                run_id = run(scale.measured)
            seconds = time.perf_counter() - started
            counts = statements.counts.copy()
    show_repeated(statements, scale.num_tickers)
    with project.database.transaction() as conn:
        rows = conn.execute("select count(*) from snapshot where abstained_reason is null group by run_date").fetchall()
        assert set(rows) == {(scale.num_tickers,)}, rows
        events = conn.execute("select count(*) from ldtm_dagster.event_logs where run_id = %s", (run_id,)).fetchone()
    grown = {name: size - before[name] for name, size in sizes(project).items()}
    return {
        "daily run, s": seconds,
        "daily run, LDTM's statements": counts["ldtm"],
        "daily run, Dagster's statements": counts["dagster"],
        "daily run, Dagster's connections": counts["dagster connections"],
        "daily run, events": events[0] if events else 0,
        **{f"a session in the schema of {name}, MiB": grown[name] / 2**20 for name in SCHEMAS},
        "a year in both schemas, GiB": sum(grown.values()) * YEAR / 2**30,
    }


def ui(scale: Scale) -> Figures:
    """Time the page of an asset with a year of materialized partitions, in the real UI.

    The events of the measured session are copied with other dates: Dagster itself would take hours to record them.
    """
    project = scale.project()
    others = [session.isoformat() for session in scale.sessions[-YEAR - 1 : -3]]
    copied = {"session": scale.measured.isoformat(), "asset": json.dumps([ASSET])}
    with project.dagster_database.transaction() as conn:
        for session in others[1:]:
            conn.execute(ONE_SESSION_MORE, copied | {"new": session})  # type: ignore[arg-type]
    with project.dagster_database.connect() as conn:
        conn.autocommit = True
        conn.execute("vacuum analyze")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    os.environ.update(dagster_environment(project))
    group = start_dagster(project, port)
    try:
        page = DagsterUi(port)
        cold, warm = asked(page), asked(page)
        with project.dagster_database.transaction() as conn:
            conn.execute(ONE_SESSION_MORE, copied | {"new": others[0]})  # type: ignore[arg-type]
        after = asked(page)
        found = page.ask(PARTITIONS, assetKey={"path": [ASSET]})["assetNodeOrError"]["assetPartitionStatuses"]
    finally:
        stop_process_group(group)
    assert found, "the page shows partitions"
    return {
        "UI page of a year, cold, s": cold,
        "UI page of a year, warm, s": warm,
        "UI page of a year, after another session, s": after,
    }


def make_gate(scale: Scale) -> Figures:
    """Record a network and a backtest of four folds for every ticker."""
    scale.write_config(small=True)
    project = scale.project()
    sessions = np.array(scale.calendar.between(date(2020, 1, 2), bench_gate.DAY), dtype="datetime64[D]")
    for at in range(0, scale.num_tickers, GROUP):
        reports = {t: bench_gate.folds(sessions, at + n) for n, t in enumerate(scale.tickers[at : at + GROUP])}
        bench_gate.candidates(project.database, project.checkpoint_folder, project.settings, reports)
    return {}


def gate(scale: Scale, profile: Callable[[], Any]) -> Figures:
    """Time the asset `registry` of a retraining, without training."""
    project = scale.project()
    os.environ.update(dagster_environment(project))
    statements, tags = Statements(), partition_range(scale.tickers[0], scale.tickers[-1])
    seconds, num_events = materialized(scale, project, "registry", profile, tags)
    show_repeated(statements, scale.num_tickers)
    return {
        "gate, s": seconds,
        "gate, LDTM's statements": statements.counts["ldtm"],
        "gate, Dagster's statements": statements.counts["dagster"],
        "gate, Dagster's connections": statements.counts["dagster connections"],
        "gate, events": num_events,
    }


def make_training(scale: Scale) -> Figures:
    """Store twenty years of bars."""
    scale.write_config()
    project = scale.project()
    for at in range(0, scale.num_tickers, GROUP):
        own = scale.tickers[at : at + GROUP]
        bars = synthetic_bars(scale.calendar, len(own), NUM_TRAINED, scale.newest)
        renamed = bars.with_columns(
            ticker=pl.col("ticker").replace({f"T{n:03}": name for n, name in enumerate(own)}), source=pl.lit("made")
        )
        with project.database.transaction() as conn:
            add_bars(conn, renamed, datetime.now(UTC))
    return {}


def training(scale: Scale, profile: Callable[[], Any]) -> Figures:
    """Time the windows and plans of a retraining, for as many tickers at once as it takes, without training."""
    project, seconds = scale.project(), Counter[str]()
    with profile():
        groups = range(0, scale.num_tickers, TICKERS_AT_ONCE)
        num_tasks = sum(plan_of(scale, project, scale.tickers[at : at + TICKERS_AT_ONCE], seconds) for at in groups)
    assert num_tasks == scale.num_tickers * (project.settings.backtest.num_folds + 1)
    return dict(seconds)


def plan_of(scale: Scale, project: Project, tickers: Sequence[str], seconds: Counter[str]) -> int:
    """Plan the training of some tickers; returns the number of networks."""

    @contextmanager
    def timed(name: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        seconds[name] += time.perf_counter() - started

    settings = project.settings
    with timed("bars of 20 years, s"), project.database.transaction() as conn:
        bars = current_bars(conn, tickers, last=scale.newest)
    with timed("their windows, s"):
        windows = windows_of(bars, scale.calendar, settings.window)
    with timed("search for look-ahead, s"):
        window_leaks(bars, windows, scale.calendar, settings.window, num_samples=SAMPLED_WINDOWS, seed=0)
    del bars
    with timed("plan of the retraining, s"):
        known = {ticker: own.known_by(scale.newest) for ticker, own in windows.items()}
        for own in known.values():
            input_key(own, settings, scale.newest)
        return len(plan_training(known, settings, on_record={"backtest": {}, "checkpoint": {}}).tasks)


def make_board(scale: Scale) -> Figures:
    """Record a year of rows for every ticker."""
    scale.write_config()
    with scale.project().database.connect() as conn:
        write_large_record(conn, scale.calendar, scale.newest, num_tickers=scale.num_tickers, num_sessions=YEAR)
    return {}


def board(scale: Scale, profile: Callable[[], Any]) -> Figures:
    """Time the asset `leaderboard`, and the track record as a daily run reads it."""
    project = scale.project()
    os.environ.update(dagster_environment(project))
    started = time.perf_counter()
    with project.database.transaction() as conn:
        monitor_active_models(conn, project.settings)
        monitored = time.perf_counter() - started
        coverage_records(conn, project.settings.intervals, num_tickers=scale.num_tickers)
        covered = time.perf_counter() - started - monitored
    seconds, _ = materialized(scale, project, "leaderboard", profile, {})
    return {"leaderboard, s": seconds, "degradation over a year, s": monitored, "coverage over a year, s": covered}


def materialized(
    scale: Scale, project: Project, asset: str, profile: Callable[[], Any], tags: dict[str, str]
) -> tuple[float, int]:
    """Materialize an asset through Dagster; returns the seconds and the number of events."""
    job = definitions_for(project.settings, scale.calendar).resolve_implicit_global_asset_job_def()
    with dg.DagsterInstance.get() as instance:
        started = time.perf_counter()
        with profile():
            result = job.execute_in_process(
                instance=instance, asset_selection=[dg.AssetKey(asset)], tags=tags, run_config=QUIET
            )
        assert result.success
        return time.perf_counter() - started, len(list(result.all_events))


def sizes(project: Project) -> dict[str, int]:
    with project.database.transaction() as conn:
        return {name: (conn.execute(SIZE, (schema,)).fetchone() or (0,))[0] or 0 for name, schema in SCHEMAS.items()}  # type: ignore[arg-type]


def asked(page: DagsterUi) -> float:
    started = time.perf_counter()
    page.ask(PARTITIONS, assetKey={"path": [ASSET]})
    return time.perf_counter() - started


def show_repeated(statements: Statements, num_tickers: int) -> None:
    """Print the statements that were sent for every ticker."""
    for text, number in statements.texts.most_common(12):
        if number >= num_tickers / 2:
            print(f"  {number:,} x {text}", flush=True)


STAGES: dict[str, Callable[..., Figures]] = {
    "make_daily": make_daily,
    "work": work,
    "daily": daily,
    "ui": ui,
    "make_gate": make_gate,
    "gate": gate,
    "make_training": make_training,
    "training": training,
    "make_board": make_board,
    "board": board,
}
PROFILED = ("work", "daily", "gate", "training", "board")


@contextmanager
def profiled(path: Path) -> Iterator[None]:
    measured = cProfile.Profile()
    measured.enable()
    try:
        yield
    finally:
        measured.disable()
        measured.dump_stats(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", choices=STAGES)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--tickers", type=int, required=True)
    parser.add_argument("--by", default="date_and_ticker")
    parser.add_argument("--profile", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(2)
    scale = Scale(given.home, given.tickers, given.by)

    def profile() -> Any:
        return profiled(given.profile) if given.profile else nullcontext()

    figures = STAGES[given.stage](scale, *([profile] if given.stage in PROFILED else []))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps(figures | {f"{given.stage}, peak GiB": peak} if figures else {}))


if __name__ == "__main__":
    main()
