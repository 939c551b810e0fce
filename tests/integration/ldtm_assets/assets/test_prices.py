"""Bars of daily runs from files that are updated from one to the next, splits and failures included."""

from collections.abc import Sequence
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from ldtm_assets.assets.prices import fetch_prices, load_histories
from ldtm_assets.partitions import DailyPartition
from ldtm_lib.database.connection import Connection, Database
from ldtm_lib.prices.splits import Split, adjust
from ldtm_lib.prices.stored_bars import current_bars
from ldtm_lib.project import Project
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import Settings, SourceConfig

NUM_SESSIONS = 60


class FileInstallation:
    """AAPL over sixty sessions, on the basis that its file has last been written on."""

    def __init__(self, project: Project, calendar: Calendar, conn: Connection) -> None:
        self.project, self.calendar, self.conn = project, calendar, conn
        self.sessions = calendar.between(date(2026, 8, 3), date(2026, 11, 20))[:NUM_SESSIONS]
        moves = np.random.default_rng(1).normal(0, 0.02, NUM_SESSIONS)
        close = np.round(100 * np.exp(np.cumsum(moves)), 2)
        self.bars = pl.DataFrame(
            {"ticker": "AAPL", "session": self.sessions, "open": close, "high": close, "low": close, "close": close}
        ).with_columns(volume=pl.lit(1e6))
        self.is_split = False

    @property
    def now(self) -> pl.DataFrame:
        """All bars as the source would restate them today."""
        return adjust(self.bars, [Split(ticker="AAPL", session=date.max, ratio=2.0)] if self.is_split else [])

    def bring(self, *at: int, until: int | None = None, without: Sequence[int] = ()) -> dict[str, str]:
        """Make daily runs of AAPL from a file up to a session; returns those that failed."""
        last = until if until is not None else max(at)
        there = [n for n in range(last + 1) if n not in without]
        file = self.project.settings.path.parent / "data" / "bars" / "AAPL.csv"
        self.now[there].drop("ticker").write_csv(file)
        partitions = [DailyPartition(self.sessions[n], "AAPL") for n in at]
        return dict(fetch_prices(self.project, self.calendar, partitions).failed)

    def stored(self) -> list[tuple[int, float]]:
        """The position of each stored session, and its close over what the source says today."""
        held = current_bars(self.conn, ["AAPL"])
        self.conn.commit()
        true = dict(self.now.select("session", "close").iter_rows())
        return [
            (self.sessions.index(session), round(close / true[session], 6))
            for session, close in held.select("session", "close").iter_rows()
        ]


@pytest.fixture
def installation(settings: Settings, database: Database, conn: Connection, calendar: Calendar) -> FileInstallation:
    folder = settings.path.parent / "data" / "bars"
    Path(folder).mkdir(parents=True)
    of_files = settings.replace(source=SourceConfig(kind="files", basis="adjusted"))
    return FileInstallation(Project(settings=of_files, home=settings.path.parent, database=database), calendar, conn)


def test_a_ticker_without_stored_bars_gets_its_whole_history(installation: FileInstallation) -> None:
    assert installation.bring(40) == {}
    assert installation.stored() == [(n, 1.0) for n in range(41)]


@pytest.mark.parametrize("num_failed", [1, 5, 13, 30])
def test_a_ticker_that_failed_for_weeks_and_split_meanwhile_is_on_one_basis_without_a_hole(
    installation: FileInstallation, num_failed: int
) -> None:
    installation.bring(19)
    installation.is_split = True
    for at in (20 + num_failed, 21 + num_failed):
        assert installation.bring(at) == {}
        assert installation.stored() == [(n, 1.0) for n in range(at + 1)]


def test_a_hole_on_an_older_basis_that_is_filled_by_hand_leaves_one_basis(installation: FileInstallation) -> None:
    installation.bring(19)
    assert list(installation.bring(20, until=19)) == [f"{installation.sessions[20]}|AAPL"]
    installation.bring(24, without=range(20, 24))
    assert installation.stored() == [(n, 1.0) for n in [*range(20), 24]]
    installation.is_split = True
    assert installation.bring(20, 21, until=26) == {}
    assert installation.stored() == [(n, 1.0) for n in range(25)], "and no bar that nobody asked for"
    assert installation.bring(27) == {}
    assert installation.stored() == [(n, 1.0) for n in range(28)]


def test_bars_that_the_source_lacked_for_some_sessions_come_with_a_later_one(installation: FileInstallation) -> None:
    installation.bring(30)
    installation.bring(40, without=range(31, 38))
    assert [n for n, _ in installation.stored()] == [*range(31), 38, 39, 40]
    assert installation.bring(50) == {}
    assert installation.stored() == [(n, 1.0) for n in range(51)]


def test_a_history_without_a_valid_bar_fails_its_ticker_alone(installation: FileInstallation) -> None:
    folder = installation.project.settings.path.parent / "data" / "bars"
    header, day = "Date,Open,High,Low,Close,Volume\n", installation.sessions[0]
    (folder / "AAPL.csv").write_text(f"{header}{day},1,1,1,1,-1\n")
    (folder / "MSFT.csv").write_text(f"{header}{day},1,1,1,1,5\n")
    (folder / "NVDA.csv").write_bytes(b"\x00\xff")
    outcome = load_histories(installation.project, installation.calendar, ["AAPL", "MSFT", "NVDA"], None)
    assert list(outcome.done) == ["MSFT"]
    assert outcome.failed["AAPL"] == (
        "the only delivered bar of AAPL is not valid: AAPL.csv, line 2: volume -1.0 is negative; "
        "correct it in the source, and load it again"
    )
    assert outcome.failed["NVDA"] == "NVDA.csv is not UTF-8 text; save it as CSV in UTF-8"
