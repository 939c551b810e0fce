"""The leaderboard's asset on real PostgreSQL: what its page shows."""

import base64
import io
import re
from collections.abc import Callable
from datetime import date
from pathlib import Path

import dagster as dg
import numpy as np
import pytest
from PIL import Image

from ldtm_assets.assets.leaderboard import TO, leaderboard
from ldtm_assets.resources import ProjectResource
from ldtm_lib.database.connection import Connection, Database
from ldtm_lib.ledger.fillbacks import fill
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import LedgerConfig
from tests.integration.dagster_storage import dagster_instance
from tests.integration.ledger_rows import LedgerRows, Model
from tests.large_record import write_large_record

PICTURES = {
    "accuracy over time": "share of directions that were right, over time",
    "tickers": "direction accuracy and error by ticker",
    "calibration": "predicted against actual returns",
}
Shown = Callable[..., dict[str, str]]


@pytest.fixture
def shown(tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch) -> Shown:
    """Materializes the leaderboard; returns its metadata."""
    monkeypatch.setenv("LDTM_DATABASE_URL", database.url)
    config = tmp_path / "universe.toml"
    config.write_text('tickers = ["ALWAYS", "NEVER"]')

    def run(*, simulated: bool = False) -> dict[str, str]:
        with dagster_instance(database, tmp_path) as instance:
            result = dg.materialize(
                [leaderboard],
                instance=instance,
                resources={"project": ProjectResource(config_path=str(config))},
                run_config={
                    "ops": {"leaderboard": {"config": {"simulated": simulated}}},
                    "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
                },
            )
        (event,) = result.asset_materializations_for_node("leaderboard")
        return {name: str(value.value) for name, value in event.metadata.items()}

    return run


def fill_sessions(conn: Connection, calendar: Calendar, num_sessions: int, *, neutral: bool = False) -> None:
    """Simulated forecasts of a ticker that is always right and of one that never is, with their actuals."""
    rows = LedgerRows(conn, calendar)
    days = calendar.between(date(2012, 1, 3), date(2012, 6, 1))
    for place in range(num_sessions):
        for ticker, direction in (("ALWAYS", "bullish"), ("NEVER", "bearish")):
            said = "neutral" if neutral else direction
            rows.forecast(ticker, days[place], direction=said, preds=(100 + 0.01 * place, 102, 103))
            rows.bar(ticker, days[place + 1], 101)
    fill(conn, config=LedgerConfig(), as_of=days[num_sessions])
    conn.commit()


def picture(markdown: str, of: str) -> np.ndarray:
    """The pixels of a picture inside markdown."""
    found = re.fullmatch(rf"!\[{of}\]\(data:image/png;base64,([A-Za-z0-9+/=]+)\)", markdown)
    assert found, markdown[:100]
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(found[1]))).convert("RGB"))


def test_every_picture_is_shown_and_the_table_says_how_far_ranks_may_be_off(
    shown: Shown, conn: Connection, calendar: Calendar
) -> None:
    fill_sessions(conn, calendar, 30)
    page = shown(simulated=True)
    for name, of in PICTURES.items():
        assert picture(page[name], of).shape[1] == 540
    assert f"| 1 | 1{TO}1 | ALWAYS |" in page["leaderboard"]
    assert f"| 2 | 2{TO}2 | NEVER |" in page["leaderboard"]
    assert "all of them hold at once with 95% confidence" in page["leaderboard"]
    assert (page["rows that count"], page["simulation"]) == ("simulated", "1 of 1")


def test_baselines_that_beat_the_network_stand_out(shown: Shown, conn: Connection, calendar: Calendar) -> None:
    """The network says 101 and 102 comes; ridge says 102, drift says 103, AR(1) says 90."""
    rows = LedgerRows(conn, calendar)
    days = calendar.between(date(2012, 1, 3), date(2012, 2, 1))
    model = Model("active", "v1", rows.promoted("ALWAYS", date(2011, 12, 30)))
    baselines = {"drift": (103, 103, 103), "ar1": (90, 90, 90), "ridge": (102, 102, 102)}
    for run_date in days[:2]:
        rows.forecast("ALWAYS", run_date, model=model)
        rows.baselines("ALWAYS", run_date, baselines, direction="bullish")
        rows.bar("ALWAYS", calendar.offset(run_date, 1), 102)
    fill(conn, config=LedgerConfig(), as_of=days[2])
    conn.commit()
    table = shown(simulated=True)["network against baselines"]
    assert "| network | 0.980 |" in table
    assert "| no change | 1.961 |" in table
    assert "| AR(1) | 11.765 |" in table
    assert "| ridge | **0.000** |" in table
    assert "**A baseline has a smaller price error than the network: next day (ridge)." in table
    assert "| always up | | | | 100.0% |" in table
    assert "| ALWAYS | 0.980 | 1.961 | 0.980 | 11.765 | **0.000** |" in table
    page = shown(simulated=False)
    assert page["network against baselines"] == "no live forecast has baselines yet"
    assert page["network against baselines in backtests"] == "no backtest has baselines yet"
    assert page["prediction intervals"] == "no filled live forecast has an interval yet"


def test_of_few_sessions_the_ranks_are_open(shown: Shown, conn: Connection, calendar: Calendar) -> None:
    fill_sessions(conn, calendar, 3)
    page = shown(simulated=True)
    assert f"| 1 | 1{TO}2 | ALWAYS |" in page["leaderboard"]
    for name, of in PICTURES.items():
        picture(page[name], of)


def test_without_a_filled_forecast_there_are_sentences_instead(
    shown: Shown, conn: Connection, calendar: Calendar
) -> None:
    fill_sessions(conn, calendar, 1)
    page = shown()
    assert page["rows that count"] == "live"
    assert page["accuracy over time"] == "no live forecast that named a direction has been filled yet"
    assert page["tickers"] == page["calibration"] == "no live forecast has been filled yet"


def test_neutral_forecasts_alone_have_no_accuracy_over_time(shown: Shown, conn: Connection, calendar: Calendar) -> None:
    fill_sessions(conn, calendar, 12, neutral=True)
    page = shown(simulated=True)
    assert page["accuracy over time"] == "no simulated forecast that named a direction has been filled yet"
    picture(page["tickers"], PICTURES["tickers"])
    picture(page["calibration"], PICTURES["calibration"])
    assert "| 1 |  | ALWAYS |" in page["leaderboard"], "a rank on the board, none by accuracy"


def test_of_hundreds_of_tickers_the_first_and_the_last_are_shown_with_the_number_of_the_others(
    shown: Shown, conn: Connection, calendar: Calendar
) -> None:
    write_large_record(conn, calendar, date(2012, 6, 1), num_tickers=250, num_sessions=70)
    page = shown()
    rows = [line for line in page["leaderboard"].splitlines() if re.match(r"\| \d* \|.*\| T\d+ \|", line)]
    assert len(rows) == 200
    assert (
        "Not shown: 50 tickers between the first and the last; `ldtm leaderboard` and the page" in page["leaderboard"]
    )
    ranks = [int(line.split("|")[1]) for line in rows if line.split("|")[1].strip()]
    assert ranks[:100] == list(range(1, 101))
    assert len(re.findall(r"^\| T\d+ \| next day \| 80% \|", page["prediction intervals"], re.MULTILINE)) == 200
    assert "Not shown: " in page["prediction intervals"]
    pixels = picture(page["tickers"], PICTURES["tickers"])
    assert pixels.shape[0] < 65_536 * 200 / 5_000
