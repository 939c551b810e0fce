"""Time partitions of 103 tickers x some sessions in Dagster, on PostgreSQL and in the real UI.

The script materializes the partitions in one run, then times the query of the asset page: cold, warm, and after a new
event. It does the same with partitions by date alone.

    .venv/bin/python benchmarks/bench_partitions.py [--sessions 250,582]
"""

import argparse
import os
import socket
import sys
import tempfile
import time
import warnings
from datetime import date
from pathlib import Path

import dagster as dg
import psycopg

from ldtm_assets.partitions import by_session, by_session_and_ticker, partition_range
from ldtm_cli.dagster_process import stop
from ldtm_cli.services import dagster_environment, prepare, start_dagster
from ldtm_lib.project import DATABASE_VARIABLE, Project
from ldtm_lib.sessions import exchange_calendar
from ldtm_lib.settings import PartitionConfig, Settings, load_settings

REPOSITORY = Path(__file__).parents[1]
sys.path.append(str(REPOSITORY))
from tests.acceptance.dagster_ui import PARTITIONS, DagsterUi  # noqa: E402

LAST = date(2026, 11, 13)
STUB = """
import os
from pathlib import Path
from benchmarks.bench_partitions import stub_definitions
defs = stub_definitions(Path(os.environ["LDTM_CONFIG"]))
"""


def stub_definitions(config: Path) -> dg.Definitions:
    """Two assets without work: `by_ticker` by session and ticker, `dates` by session."""
    settings = load_settings(config)
    calendar = exchange_calendar()
    warnings.simplefilter("ignore", dg.BetaWarning)

    @dg.asset(partitions_def=by_session_and_ticker(settings, calendar), backfill_policy=dg.BackfillPolicy.single_run())
    def by_ticker() -> dg.MaterializeResult:
        return dg.MaterializeResult()

    @dg.asset(partitions_def=by_session(settings, calendar), backfill_policy=dg.BackfillPolicy.single_run())
    def dates() -> dg.MaterializeResult:
        return dg.MaterializeResult()

    return dg.Definitions(assets=[by_ticker, dates], executor=dg.in_process_executor)


def fill(project: Project, settings: Settings, asset: str, first: str, last: str) -> float:
    """Materialize a range of one asset in one run; returns the seconds."""
    started = time.perf_counter()
    definitions = stub_definitions(settings.path)
    job = definitions.resolve_implicit_global_asset_job_def().get_subset(asset_selection={dg.AssetKey(asset)})
    with dg.DagsterInstance.get() as instance:
        quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
        assert job.execute_in_process(instance=instance, tags=partition_range(first, last), run_config=quiet).success
    return time.perf_counter() - started


def asked(ui: DagsterUi, asset: str) -> float:
    """Seconds that the UI waits for an asset's partitions."""
    started = time.perf_counter()
    ui.ask(PARTITIONS, assetKey={"path": [asset]})
    return time.perf_counter() - started


def measure(num_sessions: int, folder: Path) -> None:
    """Time one size and print one line per asset."""
    calendar = exchange_calendar()
    first = calendar.offset(LAST, 1 - num_sessions)
    tickers = load_settings(REPOSITORY / "universe.toml").tickers
    config = folder / "universe.toml"
    names = ", ".join(f'"{ticker}"' for ticker in tickers)
    config.write_text(f"tickers = [{names}]\n[partitions]\nfirst_session = {first}\nlast_session = {LAST}\n")
    settings = load_settings(config)
    assert settings.partitions == PartitionConfig(first_session=first, last_session=LAST)
    os.environ.pop(DATABASE_VARIABLE, None)
    (folder / "stub.py").write_text(STUB)
    (folder / "workspace.yaml").write_text(f"load_from:\n  - python_file: {folder / 'stub.py'}\n")
    os.environ["PYTHONPATH"] = str(REPOSITORY)
    project, _ = prepare(config)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    os.environ.update(dagster_environment(project))
    start_dagster(project, port, workspace=folder / "workspace.yaml")
    ui = DagsterUi(port)
    ranges = {"by_ticker": (f"{first}|{tickers[0]}", f"{LAST}|{tickers[-1]}"), "dates": (str(first), str(LAST))}
    try:
        for asset, (start, end) in ranges.items():
            num_keys = num_sessions * (len(tickers) if asset == "by_ticker" else 1)
            filled = fill(project, settings, asset, start, end)
            cold, warm = asked(ui, asset), asked(ui, asset)
            fill(project, settings, asset, end, end)
            after = asked(ui, asset)
            print(
                f"{asset:6} {num_sessions:5} sessions {num_keys:7} keys  materialized in {filled:6.1f} s   "
                f"page: cold {cold:5.2f} s, warm {warm:5.2f} s, after a new event {after:5.2f} s",
                flush=True,
            )
        with psycopg.connect(project.database.url) as conn:
            row = conn.execute("select pg_database_size(current_database()) / 2^20").fetchone()
        print(f"       size of the database {row[0] if row else 0:.0f} MiB", flush=True)
    finally:
        stop(project.home)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--sessions", default="250,582")
    for size in parser.parse_args().sessions.split(","):
        with tempfile.TemporaryDirectory() as scratch:
            measure(int(size), Path(scratch))
