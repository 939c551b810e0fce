"""Daily runs in a process that can be killed: one parent imports everything once and forks a process for each run.

`main` reads the number of a last daily run and the folder of an installation per line, forks, prints the process's
number, and its exit code once it has ended. The file `progress` in the folder says at any moment what is being done.
"""

import mmap
import os
import pickle
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import NoReturn

import polars as pl

from ldtm_lib.audit.publications.seal_file import SealFile
from ldtm_lib.audit.sealing import seal_and_publish
from ldtm_lib.database.connection import Database
from ldtm_lib.errors import LdtmError
from ldtm_lib.features import stored_windows as input_windows
from ldtm_lib.features.windows import latest_windows
from ldtm_lib.ledger.fillbacks import fill
from ldtm_lib.ledger.snapshots import take_snapshots
from ldtm_lib.prices.bars import BAR_SCHEMA
from ldtm_lib.prices.ingest import ingest
from ldtm_lib.prices.sources.protocol import Delivery
from ldtm_lib.prices.splits import Split
from ldtm_lib.prices.stored_bars import recent_bars
from ldtm_lib.sessions import Calendar, exchange_calendar
from ldtm_lib.settings import Settings

STARTING, PRICES, FEATURES, SNAPSHOTS, FILLBACKS, CLOSING, BETWEEN = range(7)
STAGES = ("starting", "prices", "features", "snapshots", "fillbacks", "closing", "between two daily runs")
OVERLAP_SESSIONS = 5


@dataclass(frozen=True, slots=True)
class SyntheticInstallation:
    """An installation with a source whose prices anybody can work out, and the daily runs that are to be recorded."""

    database: Database
    folder: Path
    settings: Settings
    sessions: tuple[date, ...]
    """A history, then the daily runs."""
    num_history: int
    split: Split

    @property
    def file(self) -> SealFile:
        return SealFile(path=self.folder / "seals.jsonl")

    def session(self, number: int) -> date:
        return self.sessions[self.num_history + number]

    def worth(self, ticker: str, session: date) -> float:
        """A close in the units of the first day: another one on every session, and never far from 100."""
        at, n = self.sessions.index(session), self.settings.tickers.index(ticker)
        return 100.0 + 10 * n + (37 * at + 11 * n) % 17

    def divisor(self, ticker: str, basis: date) -> float:
        return self.split.ratio if ticker == self.split.ticker and basis >= self.split.session else 1.0

    def delivery(self, first: date, last: date) -> Delivery:
        """What the source says on the evening of the last session."""
        rows: list[tuple[object, ...]] = []
        for ticker in self.settings.tickers:
            divisor = self.divisor(ticker, last)
            for session in self.sessions:
                if first <= session <= last:
                    price = self.worth(ticker, session) / divisor
                    rows.append((ticker, session, price, price * 1.01, price * 0.99, price, 1e6 * divisor))
        return Delivery(bars=pl.DataFrame(rows, schema=BAR_SCHEMA, orient="row"))


def record_session(
    installation: SyntheticInstallation, session: date, calendar: Calendar, stage: Callable[[int], None]
) -> None:
    """The stages of a daily run in the order of production, each in its transaction; done again, it completes."""
    tickers, window = installation.settings.tickers, installation.settings.window
    stage(PRICES)
    delivery = installation.delivery(calendar.offset(session, -OVERLAP_SESSIONS), session)
    with installation.database.transaction() as conn:
        ingest(conn, delivery, source="installation", calendar=calendar)
    stage(FEATURES)
    with installation.database.transaction() as conn:
        num_bars = window.window_sessions + window.warmup_bars
        bars = recent_bars(conn, tickers, last=session, num_bars=num_bars)
        input_windows.record(conn, latest_windows(bars, tickers, session, calendar, window))
    stage(SNAPSHOTS)
    with installation.database.transaction() as conn:
        take_snapshots(
            conn,
            run_date=session,
            tickers=tickers,
            folder=installation.folder,
            settings=installation.settings,
            calendar=calendar,
        )
    stage(FILLBACKS)
    with installation.database.transaction() as conn:
        fill(conn, as_of=session, config=installation.settings.ledger, tickers=tickers)
    stage(CLOSING)
    closing = seal_and_publish(installation.database, [installation.file])
    assert not closing.failures, closing.failures
    stage(BETWEEN)


class Progress:
    """Progress in memory that outlives the process which writes it: the stage, and the number of the daily run."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(bytes(3))
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), 3)

    @property
    def stage(self) -> int:
        return self._memory[0]

    @stage.setter
    def stage(self, stage: int) -> None:
        self._memory[0] = stage

    @property
    def run_number(self) -> int:
        return int.from_bytes(self._memory[1:3])

    @run_number.setter
    def run_number(self, number: int) -> None:
        self._memory[1:3] = number.to_bytes(2)


def record_sessions(installation: SyntheticInstallation, progress: Progress, last: int) -> None:
    """Go on with the daily run that is being done, and then from one to the next."""
    calendar = exchange_calendar()
    while progress.run_number <= last:
        record_session(
            installation, installation.session(progress.run_number), calendar, lambda at: setattr(progress, "stage", at)
        )
        progress.run_number += 1


def main() -> None:
    exchange_calendar()
    print("ready", flush=True)
    for line in sys.stdin:
        last, _, folder = line.strip().partition(" ")
        child = os.fork()
        if child == 0:
            _be_the_child(Path(folder), int(last))
        print(child, flush=True)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _be_the_child(folder: Path, last: int) -> NoReturn:
    """Never back into the parent's loop, whatever happens."""
    try:
        record_sessions(pickle.loads((folder / "installation").read_bytes()), Progress(folder / "progress"), last)
        os._exit(0)
    except LdtmError as error:
        (folder / "failure").write_text(str(error))
    finally:
        os._exit(1)
