"""The universe of the simulation: its configuration, its bars, and networks small enough to be had at once."""

import re
from datetime import date, datetime
from pathlib import Path

import numpy as np
import polars as pl

from ldtm_lib.sessions import Calendar
from tests.acceptance.simulation.shifted_clock import new_york
from tests.integration.prices.ib.market import LaterSplit
from tests.repository import REPOSITORY

FIRST_BAR, LAST_BAR = date(2025, 5, 1), date(2025, 12, 31)
SPLIT_TICKER, SPLIT_SESSION, SPLIT_RATIO = "AAPL", "2025-11-24", 4.0
LATE_TICKER = "ADBE"
SETTINGS = """
[source]
kind = "ib"
[ib]
fetch_timeout_seconds = 8.0
[automation]
enabled = true
max_training_age_days = 60
[partitions]
first_session = 2025-10-01
[window]
window_sessions = 2
warmup_bars = 19
[architecture]
hidden = 4
head_hidden = 4
[training]
max_epochs = 1
min_training_rows = 20
[backtest]
num_folds = 2
test_sessions = 10
[gate]
min_direction_accuracy = 0.01
max_price_error = 0.99
min_directional_calls = 1
min_call_coverage = 0.01
min_fold_sessions = 1
min_lead_over_constant = -1.0
[forecast]
neutral_band = 0.0
"""


def tickers_of_the_example(number: int) -> list[str]:
    """The first tickers of universe.toml."""
    text = (REPOSITORY / "universe.toml").read_text()
    return re.findall(r'"([^"]+)"', text[text.index("tickers = [") : text.index("\n]")])[:number]


def write_configuration(path: Path, tickers: list[str]) -> None:
    path.write_text(f"tickers = {tickers}\n{SETTINGS}")


def walks(tickers: list[str], calendar: Calendar) -> pl.DataFrame:
    """Seeded walks in cents, in the prices of each day: those of the ticker that splits fall on its day."""
    sessions = calendar.between(FIRST_BAR, LAST_BAR)
    random = np.random.default_rng(7)
    close = 100 * np.exp(random.normal(0, 0.01, (len(tickers), len(sessions))).cumsum(axis=1))
    has_split = np.array(sessions, "datetime64[D]") >= np.datetime64(SPLIT_SESSION)
    close[tickers.index(SPLIT_TICKER), has_split] /= SPLIT_RATIO
    close = np.round(close, 2).ravel()
    return pl.DataFrame(
        {
            "ticker": np.repeat(tickers, len(sessions)),
            "session": sessions * len(tickers),
            "open": close,
            "high": close,
            "low": close,
            "close": close,
            "volume": random.integers(1_000_000, 9_000_000, close.size).astype(np.float64),
        }
    )


def the_split() -> LaterSplit:
    """On its session's morning all earlier prices become a fraction of what they were."""
    morning: datetime = new_york(SPLIT_SESSION, "08:00")
    return LaterSplit(
        symbol=SPLIT_TICKER, session=date.fromisoformat(SPLIT_SESSION), ratio=SPLIT_RATIO, applied_from=morning
    )
