"""`ldtm placebo`: exit status, JSON, what a stranger reads, and that the database stays as it is."""

import io
import json
import subprocess
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from rich.console import Console

from ldtm_cli.calibration import Calibration, RetrainingCalibration, calibrate, calibrate_retrainings
from ldtm_cli.commands.placebo import print_calibration, print_retrainings
from ldtm_cli.training_bar import SeriesBar
from ldtm_lib.database.connection import Connection, Database
from ldtm_lib.errors import ConfigurationError, LdtmError, MissingBar, TooFewBars, UnknownTicker
from ldtm_lib.placebo.calibration import PlaceboReport, PlaceboTally
from ldtm_lib.placebo.canaries import EXPECTED, Canary, CanaryReport
from ldtm_lib.placebo.canary_bars import coin_flip
from ldtm_lib.placebo.kept import kept_calibration
from ldtm_lib.placebo.retrainings import FOUR_RULES, PLAIN, STRICT, GateTally, RetrainingReport
from ldtm_lib.prices.ingest import ingest
from ldtm_lib.prices.sources.protocol import Delivery
from ldtm_lib.project import Project, home_of
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import Settings, load_settings
from ldtm_lib.statistics.wilson import wilson_interval
from tests.integration.ldtm_cli.kept_outputs import compare_at_all_widths
from tests.integration.ldtm_cli.shell import run_ldtm

CONFIG = """
tickers = ["AAPL", "FB", "NONE"]
[architecture]
hidden = 12
head_hidden = 8
[training]
max_epochs = 12
learning_rate = 2e-2
[backtest]
num_folds = 2
"""
BLIND = CONFIG.replace("max_epochs = 12\nlearning_rate = 2e-2", "max_epochs = 1\nlearning_rate = 1e-9")


@pytest.fixture
def project(database: Database, conn: Connection, calendar: Calendar, tmp_path: Path) -> Project:
    """AAPL has 700 bars on record, FB 196, NONE none."""
    (tmp_path / "universe.toml").write_text(CONFIG)
    bars = pl.concat(
        [coin_flip("AAPL", calendar, 700, seed=0), coin_flip("FB", calendar, 196, seed=0)],
    )
    ingest(conn, Delivery(bars=bars), source="test", calendar=calendar)
    conn.commit()
    settings = load_settings(tmp_path / "universe.toml")
    return Project(settings=settings, home=tmp_path / ".ldtm", database=database)


def ldtm(project: Project, *words: str) -> subprocess.CompletedProcess[str]:
    return run_ldtm(project.settings.path.parent, project.database.url, "placebo", *words, COLUMNS="160")


def rows_of_all_tables(conn: Connection) -> dict[str, object]:
    tables = conn.execute("select tablename from pg_tables where schemaname = 'ldtm'").fetchall()
    return {name: conn.execute(f"select count(*) from {name}".encode()).fetchone() for (name,) in tables}


@pytest.mark.nightly
def test_a_calibration_counts_placebos_beside_coins_and_writes_nothing(project: Project, conn: Connection) -> None:
    before = rows_of_all_tables(conn)
    done = ldtm(project, "--copies", "3", "--last-bars", "650", "--device", "cpu", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["canaries"]["checks_see"] is True
    assert [canary["ticker"] for canary in found["canaries"]["canaries"]][-2:] == ["PLANTED", "LEAKING"]
    placebo = found["placebo"]
    assert [(model["ticker"], model["copy"]) for model in placebo["models"]] == [("AAPL", 0), ("AAPL", 1), ("AAPL", 2)]
    assert placebo["total"]["num_models"] == 3
    assert 0.3 < placebo["total"]["coins_expected"] < 1.5
    assert placebo["failed_by_rule"]["leakage_rows"] == 0
    assert sorted(found["left_out"]) == ["FB", "NONE"]
    assert found["left_out"]["FB"].startswith("FB has 196 bars, which make 127 labelled windows, too few for a fold of")
    assert "trains in slot 0 of the CPU" in done.stderr
    assert rows_of_all_tables(conn) == before


def test_checks_that_do_not_see_are_status_1_and_said_in_words(project: Project) -> None:
    project.settings.path.write_text(BLIND)
    done = ldtm(project, "--copies", "1", "--tickers", "AAPL", "--device", "cpu")
    assert done.returncode == 1, done.stderr
    assert "The checks do not work." in done.stdout
    assert "PLANTED failed the plain gate" in done.stdout or "PLANTED passed the plain gate" in done.stdout
    assert "of 1 model that cannot have learned anything" in done.stdout
    assert "left out" not in done.stdout
    kept = kept_calibration(home_of(project.settings))
    assert kept is not None
    assert kept.by_ticker["AAPL"].num_models == 1, "the dashboard shows the figures"


@pytest.mark.parametrize(
    ("tickers", "last_bars", "kind", "message"),
    [
        (["AAPL", "TSLA"], None, UnknownTicker, "TSLA is not in the universe of "),
        (["AAPL", "NONE"], None, MissingBar, "NONE has no bars; materialize price_history for it, or import its file"),
        (["FB"], None, TooFewBars, "FB has 196 bars, which make 127 labelled windows, too few for a fold of 126 test"),
        (
            ["AAPL"],
            300,
            TooFewBars,
            "AAPL has 300 bars, which make 231 labelled windows, too few for a fold of 126 test",
        ),
        (None, 100, TooFewBars, "no ticker of the universe can take part: AAPL has 100 bars"),
        (
            [],
            None,
            ConfigurationError,
            "--tickers names no ticker; list tickers as in --tickers AAPL,MSFT, or omit the option for all",
        ),
    ],
)
def test_what_cannot_take_part_is_refused_before_anything_is_trained(
    project: Project,
    calendar: Calendar,
    tickers: list[str] | None,
    last_bars: int | None,
    kind: type[LdtmError],
    message: str,
) -> None:
    with pytest.raises(kind) as refused:
        calibrate(
            project,
            calendar,
            tickers,
            num_copies=1,
            seed=0,
            device="cpu",
            last_bars=last_bars,
            console=Console(file=io.StringIO()),
        )
    assert str(refused.value).startswith(message)


def test_a_universe_without_bars_is_told_by_ticker(database: Database, calendar: Calendar, settings: Settings) -> None:
    empty = Project(settings=settings, home=Path(), database=database)
    with pytest.raises(TooFewBars) as refused:
        calibrate(
            empty,
            calendar,
            None,
            num_copies=1,
            seed=0,
            device="cpu",
            last_bars=None,
            console=Console(file=io.StringIO()),
        )
    assert "AAPL has no bars; materialize price_history for it" in str(refused.value)
    assert "MSFT has no bars" in str(refused.value)


def test_a_wrong_device_is_status_2_with_the_remedy(project: Project) -> None:
    done = ldtm(project, "--device", "abacus", "--tickers", "AAPL")
    assert done.returncode == 2
    assert "device 'abacus' is not known; use auto, cpu, cuda or cuda:N" in done.stderr


ABSENT = "left out|untrained"
"""Beginnings of lines that give the reason why a ticker is absent."""
COIN = Canary(
    ticker="COIN-1",
    kind="coin flip",
    expected=EXPECTED["coin flip"],
    found="passed the plain gate; passed the strict gate",
    is_as_expected=False,
    passed=True,
    passed_strict=True,
    accuracy=0.61,
    timing_p=0.0004,
)
TALLY = PlaceboTally(
    num_models=200,
    num_passed=80,
    num_passed_strict=1,
    passed_interval=wilson_interval(0.4, 200),
    passed_strict_interval=wilson_interval(0.005, 200),
    coins_expected=54.4,
    num_always_up=111,
    mean_accuracy=0.507,
    mean_base_rate=0.521,
    mean_best_constant=0.53,
)


def printed(found: Calibration) -> str:
    shown = io.StringIO()
    print_calibration(Console(file=shown, width=200), found, 0.52)
    return shown.getvalue()


def test_the_words_say_how_many_were_let_through_beside_coins() -> None:
    placebo = PlaceboReport(
        num_copies=200,
        models=(),
        total=TALLY,
        by_ticker={"AAPL": TALLY},
        failed_by_rule={"timing": 190},
        untrained={"AAPL~3": "lost"},
    )
    canaries = CanaryReport(canaries=(replace(COIN, is_as_expected=True, passed_strict=False),))
    calibration = Calibration(canaries=canaries, placebo=placebo, left_out={"FB": "FB has no bars"})
    text = printed(calibration)
    compare_at_all_widths("placebo", lambda console: print_calibration(console, calibration, 0.52), unwrapped=ABSENT)
    # Wilson's intervals of 80 and 1 of 200, by hand: 33.5% to 46.9% and 0.1% to 2.8%.
    assert (
        "80 of 200 models that cannot have learned anything passed the plain gate "
        "(40.0%, 95% interval 33.5% to 46.9%); of 200 coins, 54.4 would be right in 52% of "
        "their calls or more on average (27.2%)." in text
    )
    assert "1 of 200 models passed the strict gate (0.5%, 95% interval 0.1% to 2.8%)." in text
    assert "Always saying up reaches 52% for 111 of the 200." in text
    assert "The checks work" in text
    assert "timing" in text
    assert "95.0%" in text
    assert "left out  FB has no bars" in text
    assert "copy not trained  AAPL~3: lost" in text


def test_a_canary_that_was_not_seen_is_named_with_what_came_out() -> None:
    none = replace(TALLY, num_models=0, num_passed=0, passed_interval=None)
    placebo = PlaceboReport(num_copies=1, models=(), total=none, by_ticker={}, failed_by_rule={}, untrained={})
    calibration = Calibration(canaries=CanaryReport(canaries=(COIN,)), placebo=placebo, left_out={})
    text = printed(calibration)
    compare_at_all_widths(
        "placebo-failed", lambda console: print_calibration(console, calibration, 0.52), unwrapped=ABSENT
    )
    assert "COIN-1 passed the plain gate; passed the strict gate" in text
    assert "The checks do not work." in text
    assert "No placebo could be trained." in text


SMALL = BLIND.replace("hidden = 12", "hidden = 4").replace("num_folds = 2", "num_folds = 2\ntest_sessions = 63")


def test_retrainings_are_counted_as_json_with_an_estimate_before_them_and_write_nothing(
    project: Project, conn: Connection
) -> None:
    project.settings.path.write_text(SMALL)
    before = rows_of_all_tables(conn)
    done = ldtm(project, "--retrainings", "2", "--copies", "2", "--tickers", "AAPL", "--device", "cpu", "--json")
    assert done.returncode == 0, done.stderr
    assert "8 networks to train: 2 retrainings, one every 5 sessions, of 1 ticker x 2 copies" in done.stderr
    assert "retraining 2 of 2" in done.stderr
    found = json.loads(done.stdout)
    assert (found["num_retrainings"], found["num_asked"], found["num_networks"]) == (2, 2, 8)
    assert [tally["gate"] for tally in found["gates"]] == [FOUR_RULES, PLAIN, STRICT]
    assert [tally["num_models"] for tally in found["gates"]] == [2, 2, 2]
    assert len(found["retrainings"]) == 4
    assert found["left_out"] == {}
    assert rows_of_all_tables(conn) == before


def test_interrupted_retrainings_show_those_that_are_complete(
    project: Project, calendar: Calendar, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.settings.path.write_text(SMALL)
    small = replace(project, settings=load_settings(project.settings.path))
    shown: list[RetrainingCalibration] = []

    def interrupt_the_third(bar: SeriesBar, number: int) -> None:
        if number == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(SeriesBar, "begin", interrupt_the_third)
    with pytest.raises(KeyboardInterrupt):
        calibrate_retrainings(
            small,
            calendar,
            ["AAPL"],
            num_retrainings=4,
            num_copies=1,
            seed=0,
            device="cpu",
            last_bars=None,
            console=Console(file=io.StringIO()),
            show=shown.append,
        )
    (found,) = shown
    assert (found.retrainings.num_retrainings, found.retrainings.num_asked) == (2, 4)


def test_the_tables_of_retrainings_fit_into_80_columns() -> None:
    def tally(gate: str, num_active: int) -> GateTally:
        return GateTally(
            gate=gate,
            num_models=200,
            num_active=num_active,
            active_interval=wilson_interval(num_active / 200, 200),
            num_promotions=1234,
            num_replacements=1034,
            refused_by_rule={"direction_accuracy": 9876} | ({} if gate == FOUR_RULES else {"not_worse_than_active": 7}),
        )

    report = RetrainingReport(
        num_retrainings=12,
        num_asked=52,
        num_copies=50,
        num_networks=20_800,
        gates=(tally(FOUR_RULES, 80), tally(PLAIN, 10), tally(STRICT, 0)),
        active_by_ticker={"AAPL": {FOUR_RULES: 80, PLAIN: 10, STRICT: 0}},
        retrainings=(),
        untrained={"AAPL~3": "lost"},
    )
    out = io.StringIO()
    found = RetrainingCalibration(retrainings=report, left_out={"FB": "no bars"})
    print_retrainings(Console(file=out, width=80), found)
    compare_at_all_widths("placebo-retrainings", lambda console: print_retrainings(console, found), unwrapped=ABSENT)
    text = out.getvalue()
    tables = text.splitlines()
    assert "12 of 52 retrainings of 50 placebo copies of each ticker" in text
    # Wilson's intervals of 80 and 10 of 200, by hand: 33.5% to 46.9% and 2.7% to 9.0%.
    for cells in (("four rules", "200", "80", "40.0%", "33.5%–46.9%", "1234", "1034"), ("plain gate", "2.7%–9.0%")):
        (line,) = (line for line in tables if cells[0] in line and cells[-1] in line)
        assert all(cell in line for cell in cells)
    (compared,) = (line for line in tables if "not_worse_than_active" in line)
    assert compared.split() == ["not_worse_than_active", "7", "7"]
    assert "only a promotion replaces one" in " ".join(text.split())
    assert "left out  no bars" in text
    assert "retraining of a copy failed  AAPL~3: lost" in text
