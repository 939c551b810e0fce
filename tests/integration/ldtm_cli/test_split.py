"""`ldtm prices split`: what the operator states about splits, and what it changes."""

import io
from datetime import date
from pathlib import Path

import pytest
from rich.console import Console

from ldtm_cli.commands.prices import import_files, print_stated, state
from ldtm_lib.database.connection import Database
from ldtm_lib.errors import CalendarError, ConfigurationError, UnknownTicker
from ldtm_lib.prices.stored_bars import current_bars
from ldtm_lib.project import Project
from ldtm_lib.settings import Settings
from tests.integration.ldtm_cli.kept_outputs import compare_at_all_widths

HEADER = "Date,Open,High,Low,Close,Volume\n"
DAYS = ("2023-12-13", "2023-12-14", "2023-12-15", "2023-12-18", "2023-12-19", "2023-12-20")


@pytest.fixture
def project(database: Database, tmp_path: Path) -> Project:
    settings = Settings(path=tmp_path / "universe.toml", tickers=("AAPL", "MSFT"))
    folder = tmp_path / "bars"
    folder.mkdir()
    (folder / "AAPL.csv").write_text(HEADER + "".join(f"{day},0.1,0.1,0.1,0.1,1000\n" for day in DAYS))
    project = Project(settings=settings, home=tmp_path / ".ldtm", database=database)
    assert import_files(project, folder, "adjusted").is_complete
    return project


def stated(project: Project, session: date, ratio: str, kept: str | None = None) -> str:
    """What is printed about a statement; `kept` names its kept output."""
    shown = io.StringIO()
    found = state(project, "AAPL", session, ratio)
    print_stated(Console(file=shown, width=80), found)
    if kept is not None:
        compare_at_all_widths(kept, lambda console: print_stated(console, found))
    return shown.getvalue()


def closes(project: Project) -> list[float]:
    with project.database.connect() as conn:
        return current_bars(conn, ["AAPL"])["close"].to_list()


def test_bars_of_another_basis_wait_until_the_split_is_stated_and_it_can_be_withdrawn(
    project: Project, tmp_path: Path
) -> None:
    lines = "".join(f"{day},10,10,10,10,10\n" for day in (*DAYS[3:], "2023-12-21", "2023-12-22"))
    (tmp_path / "bars" / "AAPL.csv").write_text(HEADER + lines)
    report = import_files(project, tmp_path / "bars", "adjusted")
    assert not report.is_complete
    assert "3 of 3 stored bars arrive at 100 times their prices" in report.failures["AAPL"]
    assert "ldtm prices split AAPL SESSION RATIO" in report.failures["AAPL"]
    assert closes(project) == [0.1] * 6
    split = date(2023, 12, 21)
    assert stated(project, split, "1:100", "prices-split") == (
        "AAPL 2023-12-21: a split of 0.01 for 1 is on record now\n6 stored bars were restated\n"
    )
    assert import_files(project, tmp_path / "bars", "adjusted").is_complete
    assert closes(project) == pytest.approx([10.0] * 8)
    assert stated(project, split, "0.01") == "AAPL 2023-12-21: a split of 0.01 for 1 is on record already\n"
    assert stated(project, split, "1", "prices-split-withdrawn") == (
        "AAPL 2023-12-21: no split is on record now (before: 0.01 for 1)\n6 stored bars were restated\n"
    )


def test_a_wrong_statement_is_taken_back_with_its_bars(project: Project) -> None:
    split = date(2023, 12, 18)
    stated(project, date(2023, 12, 21), "2")
    assert closes(project) == [0.05] * 6
    assert "6 stored bars were restated" in stated(project, date(2023, 12, 21), "1")
    assert closes(project) == pytest.approx([0.1] * 6)
    assert "No stored bar was restated" in stated(project, split, "2"), "the prices go on without a jump"
    assert closes(project) == pytest.approx([0.1] * 6)


@pytest.mark.parametrize(
    ("ticker", "session", "ratio", "kind", "message"),
    [
        ("IBM", date(2023, 12, 18), "2", UnknownTicker, "IBM is not in the universe"),
        ("AAPL", date(2023, 12, 17), "2", CalendarError, "2023-12-17"),
        ("AAPL", date(2026, 12, 18), "2", ConfigurationError, "session 2026-12-18 has not closed; a split is recorded"),
        ("AAPL", date(2023, 12, 18), "two", ConfigurationError, "'two' is not a split ratio; write 2, 3:2 or 1:10"),
        ("AAPL", date(2023, 12, 18), "1", ConfigurationError, "no split of AAPL on 2023-12-18 is on record that could"),
    ],
)
def test_what_cannot_be_stated_is_refused_by_name(
    project: Project, ticker: str, session: date, ratio: str, kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        state(project, ticker, session, ratio)


def test_a_withdrawal_restores_bars_that_its_split_restated_whatever_the_prices_did_there(
    project: Project, tmp_path: Path
) -> None:
    """A crash that was stated to be a split, with bars after it."""
    lines = [
        f"{day},{price},{price},{price},{price},1000\n"
        for day, price in zip(DAYS, (10, 10, 10, 4.8, 4.8, 4.8), strict=False)
    ]
    (tmp_path / "bars" / "MSFT.csv").write_text(HEADER + "".join(lines))
    import_files(project, tmp_path / "bars", "adjusted")

    def prices() -> list[float]:
        with project.database.connect() as conn:
            return current_bars(conn, ["MSFT"])["close"].to_list()

    crash = date(2023, 12, 18)
    state(project, "MSFT", crash, "2")
    assert prices() == [5.0, 5.0, 5.0, 4.8, 4.8, 4.8]
    state(project, "MSFT", crash, "4")
    assert prices() == [2.5, 2.5, 2.5, 4.8, 4.8, 4.8]
    assert state(project, "MSFT", crash, "1").num_restated == 3
    assert prices() == [10.0, 10.0, 10.0, 4.8, 4.8, 4.8]


@pytest.mark.parametrize("ratio", ["1.05", "6", "1:2"])
def test_a_ratio_that_stored_prices_do_not_tell_has_to_be_decided(project: Project, tmp_path: Path, ratio: str) -> None:
    lines = [
        f"{day},{price},{price},{price},{price},1000\n"
        for day, price in zip(DAYS, (10, 10, 10, 4.8, 4.8, 4.8), strict=False)
    ]
    (tmp_path / "bars" / "MSFT.csv").write_text(HEADER + "".join(lines))
    import_files(project, tmp_path / "bars", "adjusted")
    crash = date(2023, 12, 18)
    with pytest.raises(ConfigurationError, match=r"go from 10 to 4\.8 on 2023-12-18, which does not show whether they"):
        state(project, "MSFT", crash, ratio)
    assert state(project, "MSFT", crash, ratio, lacking=False).num_restated == 0
    assert state(project, "MSFT", crash, "1", lacking=False).num_restated == 0


def test_a_source_does_not_bring_back_what_was_withdrawn(project: Project, tmp_path: Path) -> None:
    folder = tmp_path / "raw"
    folder.mkdir()
    (folder / "MSFT.csv").write_text(HEADER + "".join(f"{day},100,100,100,100,1000\n" for day in DAYS))
    (folder / "splits.csv").write_text("ticker,session,ratio\nMSFT,2023-12-16,5:4\n")

    def prices() -> set[float]:
        with project.database.connect() as conn:
            return set(current_bars(conn, ["MSFT"])["close"].to_list())

    import_files(project, folder, "raw")
    assert prices() == {80.0, 100.0}
    monday = date(2023, 12, 18)
    assert state(project, "MSFT", monday, "1", lacking=True).former_ratio == 1.25
    assert prices() == {100.0}
    report = import_files(project, folder, "raw")
    assert report.failures == {}
    assert "no split was stated by hand, which counts" in report.notes[0]
    assert prices() == {100.0}
