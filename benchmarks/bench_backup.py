"""Time backups and restores of 100,000 forecasts of 103 tickers, with several compression levels of the dump.

Run on an idle machine: `python benchmarks/bench_backup.py [NUM_SESSIONS]`. 971 sessions of 103 tickers are 100,013
forecasts, each with its fills and its stored window. The record also has 500 checkpoint files of 200 kB. Prices,
windows and files are synthetic. The script starts an embedded PostgreSQL in a temporary folder.
"""

import hashlib
import os
import resource
import shutil
import sys
import tempfile
import time
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import psycopg
from bench_audit import NUM_TICKERS, build

from ldtm_lib.audit.publications.configured import publications_of
from ldtm_lib.audit.sealing import seal_and_publish
from ldtm_lib.backup import dump
from ldtm_lib.backup.archive import open_archive
from ldtm_lib.backup.create import create_backup
from ldtm_lib.backup.restore import restore
from ldtm_lib.backup.target import restore_target
from ldtm_lib.database import embedded
from ldtm_lib.database.connection import Connection, Database
from ldtm_lib.database.migrate import migrate
from ldtm_lib.project import Project, claim_folder, home_of
from ldtm_lib.sessions import Calendar, exchange_calendar
from ldtm_lib.settings import load_settings

NUM_SESSIONS, FIRST = 971, date(2016, 1, 4)
NUM_FILES, FILE_BYTES = 500, 200_000
NUM_ROWS, NUM_INPUTS = 30, 11
LEVELS = (0, 1, 3, 6)
CANDIDATE = """insert into checkpoint (ticker, trained_on, architecture_sha256, recipe_sha256, data_sha256, file_name,
    file_sha256, seed, num_training_rows, num_validation_rows, num_epochs, best_epoch, validation_loss,
    duration_seconds, device) values (%s, '2016-01-04', 'a', 'r', %s, %s, %s, 0, 1, 1, 1, 1, 1, 1, 'cpu')"""


def main(num_sessions: int) -> None:
    calendar = exchange_calendar()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        url = embedded.start(Path(folder))
        try:
            with psycopg.connect(url, autocommit=True) as admin:
                admin.execute("create database target")
            project = installation(Path(folder) / "first", url, calendar, num_sessions)
            measure(project, Path(folder), url.replace("/postgres?", "/target?"))
        finally:
            embedded.stop(Path(folder))


def installation(folder: Path, url: str, calendar: Calendar, num_sessions: int) -> Project:
    folder.mkdir()
    (folder / "universe.toml").write_text('tickers = ["AAPL"]\n')
    settings = load_settings(folder / "universe.toml")
    project = Project(settings=settings, home=home_of(settings), database=Database(url=url, schema="ldtm"))
    migrate(project.database, calendar)
    claim_folder(project)
    with project.database.connect() as conn:
        build(conn, calendar, num_sessions)
    with project.database.connect() as conn:
        add_windows(conn, calendar.between(FIRST, date(2026, 10, 30))[:num_sessions])
        add_files(conn, project.checkpoint_folder)
        conn.commit()
    seal_and_publish(project.database, publications_of(settings, project.home))
    return project


def add_windows(conn: Connection, days: list[date]) -> None:
    """Store windows that overlap as real ones do: random walks, each scaled by its own minimum and maximum."""
    random = np.random.default_rng(0)
    columns = "ticker, session, window_sha256, inputs, close, close_min, close_max, bars_recorded_until"
    with conn.cursor().copy(f"copy input_window ({columns}) from stdin") as copy:
        for number in range(NUM_TICKERS):
            walks = random.normal(size=(len(days) + NUM_ROWS, NUM_INPUTS)).cumsum(axis=0)
            for at, day in enumerate(days):
                rows = walks[at : at + NUM_ROWS]
                low, high = rows.min(axis=0), rows.max(axis=0)
                inputs = ((rows - low) / (high - low)).astype("<f4").tobytes()
                sha256 = hashlib.sha256(inputs).hexdigest()
                copy.write_row((f"T{number:03}", day, sha256, inputs, 1.0, 0.0, 2.0, datetime.now(UTC)))


def add_files(conn: Connection, folder: Path) -> None:
    (folder / "candidates").mkdir(parents=True)
    for number in range(NUM_FILES):
        content = os.urandom(FILE_BYTES)
        ticker, sha256 = f"T{number % NUM_TICKERS:03}", hashlib.sha256(content).hexdigest()
        name = f"candidates/{ticker}_{sha256[:16]}.pt"
        (folder / name).write_bytes(content)
        conn.execute(CANDIDATE, (ticker, str(number), name, sha256))


def measure(project: Project, folder: Path, target_url: str) -> None:
    with project.database.connect() as conn:
        (size,) = conn.execute("select pg_database_size(current_database())").fetchone() or (0,)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"database {size / 2**20:,.0f} MiB")
    default, environ = dump.GZIP_LEVEL, dict(os.environ)
    for level in LEVELS:
        dump.GZIP_LEVEL = level
        path = folder / "backup.tar"
        started = time.perf_counter()
        report = create_backup(project, path, ldtm_version="0", now=datetime.now(UTC), environ=environ)
        saved = time.perf_counter() - started
        second = folder / "second"
        second.mkdir()
        started = time.perf_counter()
        with open_archive(path) as archive:
            verified = time.perf_counter() - started
            target = restore_target(archive, second / "universe.toml", environ | {"LDTM_DATABASE_URL": target_url})
            restore(archive, target, accept_loss=False, now=datetime.now(UTC), environ=environ)
        restored = time.perf_counter() - started
        is_default = "  (default)" if level == default else ""
        print(
            f"gzip {level}: archive {report.num_bytes / 2**20:5,.0f} MiB, dump {report.num_dump_bytes / 2**20:5,.0f} "
            f"MiB: backup {saved:5.1f} s, restore {restored:5.1f} s, {verified:4.1f} s of it to verify{is_default}"
        )
        path.unlink()
        shutil.rmtree(second)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"peak memory of this process {peak / 1024:,.0f} MiB, {(peak - before) / 1024:,.0f} MiB more than before")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else NUM_SESSIONS)
