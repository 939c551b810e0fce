"""`ldtm prices import`: what it took, what it left aside, and whether that was a success."""

import io
import json
from pathlib import Path

import polars as pl
import pytest
from bokeh_sampledata import stocks
from rich.console import Console

from ldtm_cli.commands.prices import ImportReport, import_files, print_import
from ldtm_lib.database.connection import Database
from ldtm_lib.errors import ConfigurationError
from ldtm_lib.project import Project
from ldtm_lib.settings import Settings
from tests.integration.ldtm_cli.kept_outputs import compare_at_all_widths


@pytest.fixture
def project(database: Database, tmp_path: Path) -> Project:
    settings = Settings(path=tmp_path / "universe.toml", tickers=("AAPL", "MSFT"))
    (tmp_path / "bars").mkdir()
    return Project(settings=settings, home=tmp_path / ".ldtm", database=database)


def write(folder: Path, name: str) -> Path:
    """Twenty real bars of IBM under a name of one's choice."""
    path = folder / "bars" / name
    pl.DataFrame(stocks.IBM).head(20).write_csv(path)
    return path


def printed(report: ImportReport) -> str:
    shown = io.StringIO()
    print_import(Console(file=shown, width=200), report)
    return shown.getvalue()


def test_an_import_of_nothing_is_no_success_and_says_what_was_ignored(project: Project, tmp_path: Path) -> None:
    empty = import_files(project, tmp_path / "bars", "adjusted")
    assert (empty.is_complete, empty.num_imported, empty.ignored_files) == (False, 0, [])
    assert "nothing was imported" in printed(empty)
    compare_at_all_widths("prices-import-nothing", lambda console: print_import(console, empty))
    write(tmp_path, "APPL.csv")
    write(tmp_path, "IBM [old].csv")
    misnamed = import_files(project, tmp_path / "bars", "adjusted")
    assert (misnamed.is_complete, misnamed.num_imported) == (False, 0)
    assert misnamed.ignored_files == ["APPL.csv", "IBM [old].csv"]
    assert "ignored  APPL.csv, IBM [old].csv: they hold no ticker of the universe" in printed(misnamed)
    assert "name each file after a ticker of the universe" in printed(misnamed)


def test_an_import_is_complete_when_some_ticker_had_bars_and_none_failed(project: Project, tmp_path: Path) -> None:
    write(tmp_path, "AAPL.csv")
    write(tmp_path, "APPL.csv")
    for _ in range(2):
        report = import_files(project, tmp_path / "bars", "adjusted")
        assert (report.is_complete, report.num_imported, report.num_without_file) == (True, 1, 1)
        assert report.ignored_files == ["APPL.csv"]
    assert json.loads(json.dumps(report.as_dict()))["ignored_files"] == ["APPL.csv"]
    assert "nothing was imported" not in printed(report)
    write(tmp_path, "MSFT.csv").write_text("Date,Open,High,Low,Close,Volume\n")
    failed = import_files(project, tmp_path / "bars", "adjusted")
    assert (failed.is_complete, failed.num_imported) == (False, 1)


def test_bars_that_are_all_refused_are_no_import(project: Project, tmp_path: Path) -> None:
    text = "Date,Open,High,Low,Close,Volume\n2010-01-04,-1,1,1,1,1\n"
    (tmp_path / "bars" / "AAPL.csv").write_text(text)
    report = import_files(project, tmp_path / "bars", "adjusted")
    assert [row["num_refused"] for row in report.tickers] == [1]
    assert (report.is_complete, report.num_imported) == (False, 0)


def test_a_ticker_without_a_valid_bar_fails_the_import_and_the_others_are_stored(
    project: Project, tmp_path: Path
) -> None:
    header = "Date,Open,High,Low,Close,Volume\n"
    (tmp_path / "bars" / "AAPL.csv").write_text(header + "2010-01-04,1,1,1,1,-1\n2010-01-05,1,1,1,1,-1\n")
    (tmp_path / "bars" / "MSFT.csv").write_text(header + "2010-01-04,1,1,1,1,-1\n2010-01-05,1,1,1,1,1\n")
    report = import_files(project, tmp_path / "bars", "adjusted")
    assert (report.is_complete, report.num_imported) == (False, 1)
    assert report.failures == {
        "AAPL": "none of the 2 bars of AAPL is valid, such as AAPL.csv, line 3: volume -1.0 is negative; "
        "correct them in the source, and load them again"
    }


def test_the_table_names_every_ticker_that_has_a_file_within_80_columns(project: Project, tmp_path: Path) -> None:
    header = "Date,Open,High,Low,Close,Volume\n"
    (tmp_path / "bars" / "AAPL.csv").write_bytes(b"\x00")
    lines = ["1989-12-29,1,1,1,1,1", "1990-01-02,1,1,1,1,1", "2010-01-05,1,1,1,1,1", "2010-01-09,1,1,1,1,1"]
    (tmp_path / "bars" / "MSFT.csv").write_text(header + "\n".join(lines))
    (tmp_path / "bars" / "MSFT.xlsx").write_bytes(b"PK")
    shown = io.StringIO()
    print_import(Console(file=shown, width=80), import_files(project, tmp_path / "bars", "adjusted"))
    headings, _, *rows = [line.split() for line in shown.getvalue().splitlines()[:4]]
    assert [headings, *rows] == [
        ["ticker", "new", "restated", "unchanged", "refused", "first", "last", "notes"],
        ["AAPL", "0", "0", "0", "0", "-", "-", "failed"],
        ["MSFT", "2", "0", "0", "1", "1990-01-02", "2010-01-05", "1"],
    ]
    assert max(map(len, shown.getvalue().splitlines()[:4])) <= 80
    assert "left out: 1 of MSFT" in shown.getvalue()
    report = import_files(project, tmp_path / "bars", "adjusted")
    unwrapped = "note|failed|ignored"
    compare_at_all_widths("prices-import", lambda console: print_import(console, report), unwrapped=unwrapped)
    assert "ignored  MSFT.xlsx (not a CSV or Parquet file): it holds no ticker" in shown.getvalue()


def test_many_ignored_files_are_counted_after_the_first(project: Project, tmp_path: Path) -> None:
    for number in range(12):
        write(tmp_path, f"X{number:02}.csv")
    report = import_files(project, tmp_path / "bars", "adjusted")
    assert len(report.ignored_files) == 12
    assert "X09.csv and 2 more (--json names them all)" in printed(report)


def test_a_wrong_folder_is_called_what_was_typed(project: Project) -> None:
    with pytest.raises(ConfigurationError) as refused:
        import_files(project, Path("downloads/bars"), "raw")
    assert str(refused.value) == "downloads/bars is not a folder; create it or name another one"
