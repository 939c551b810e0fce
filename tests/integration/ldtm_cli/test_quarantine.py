"""`ldtm prices quarantine` and `release`: what was refused, why, and what is recorded after all."""

import io
import json
from datetime import date
from pathlib import Path

import pytest
from rich.console import Console

from ldtm_cli.commands.prices import import_files, print_quarantine, print_released, refused_bars, release_bar
from ldtm_cli.invocation import print_json
from ldtm_lib.database.connection import Database
from ldtm_lib.prices.release import BarNotReleasable
from ldtm_lib.project import Project
from ldtm_lib.settings import Settings
from tests.integration.ldtm_cli.kept_outputs import MOMENT, compare_at_all_widths

SPIKED = """Date,Open,High,Low,Close,Volume
2021-02-19,0.8,0.8,0.8,0.8,1000
2021-02-22,120,120,120,120,1000
2021-02-23,101,101,101,101,1000
2021-02-24,0.975,0.975,0.975,0.975,1000
2021-02-25,0.9,0.7,0.9,0.9,1000
"""


@pytest.fixture
def project(database: Database, tmp_path: Path) -> Project:
    settings = Settings(path=tmp_path / "universe.toml", tickers=("AAPL", "MSFT"))
    (tmp_path / "bars").mkdir()
    (tmp_path / "bars" / "AAPL.csv").write_text(SPIKED)
    return Project(settings=settings, home=tmp_path / ".ldtm", database=database)


def listed(project: Project) -> str:
    shown = io.StringIO()
    print_quarantine(Console(file=shown, width=80), refused_bars(project))
    return shown.getvalue()


def test_refused_bars_are_listed_with_reason_and_remedy_within_80_columns(project: Project, tmp_path: Path) -> None:
    assert listed(project) == "no bar is in quarantine\n"
    report = import_files(project, tmp_path / "bars", "adjusted")
    assert [row["num_refused"] for row in report.tickers] == [3]
    shown = listed(project)
    bars = refused_bars(project)
    compare_at_all_widths("prices-quarantine-bars", lambda console: print_quarantine(console, bars), masks=MOMENT)
    assert max(map(len, shown.splitlines())) <= 80
    text = " ".join(shown.split())
    assert "AAPL 2021-02-22: from files, first seen " in text
    assert "UTC, valid, but an outlier close 120 of 2021-02-22 is 150 times the close 0.8 of 2021-02-19 and" in text
    assert "UTC, not valid AAPL.csv, line 6: high 0.7 is below open 0.9" in text
    assert text.endswith("load a corrected one, which takes the place of the refused bar.")


def test_the_list_as_json_has_the_values_of_each_bar(
    project: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import_files(project, tmp_path / "bars", "adjusted")
    print_json(refused_bars(project))
    rows = json.loads(capsys.readouterr().out)
    assert [(row["session"], row["close"], row["is_releasable"]) for row in rows] == [
        ("2021-02-22", 120, True),
        ("2021-02-23", 101, True),
        ("2021-02-25", 0.9, False),
    ]


def test_a_released_bar_is_shown_and_leaves_the_list(project: Project, tmp_path: Path) -> None:
    import_files(project, tmp_path / "bars", "adjusted")
    shown = io.StringIO()
    released = release_bar(project, "AAPL", date(2021, 2, 22), None)
    print_released(Console(file=shown, width=80), released)
    compare_at_all_widths("prices-release", lambda console: print_released(console, released))
    assert " ".join(shown.getvalue().split()) == (
        "AAPL 2021-02-22: recorded from files: open 120, high 120, low 120, close 120, volume 1000"
    )
    assert "2021-02-22: from files" not in listed(project)
    with pytest.raises(BarNotReleasable, match="no bar of AAPL on 2021-02-22 is in quarantine"):
        release_bar(project, "AAPL", date(2021, 2, 22), None)
    with pytest.raises(BarNotReleasable, match=r"not valid: AAPL\.csv, line 6: high 0\.7"):
        release_bar(project, "AAPL", date(2021, 2, 25), None)
