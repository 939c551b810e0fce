"""Files of bars that are random walks."""

from datetime import date
from pathlib import Path

import numpy as np

from ldtm_lib.sessions import Calendar

CONFIG = """
tickers = ["AAPL", "GOOG", "MSFT"]
[source]
kind = "files"
folder = "bars"
basis = "adjusted"
[partitions]
first_session = 2013-01-02
last_session = 2013-03-01
[training]
max_epochs = 1
min_training_rows = 60
[architecture]
hidden = 6
head_hidden = 4
[backtest]
num_folds = 2
test_sessions = 40
"""
"""A configuration whose networks train on such bars within seconds."""


def deliver(folder: Path, calendar: Calendar, number: int, ticker: str) -> None:
    """Write the file of a ticker, a random walk of 330 bars."""
    days = calendar.between(date(2005, 1, 3), date(2013, 1, 31))[-330:]
    closes = 50 * np.exp(np.random.default_rng(number).normal(0, 0.02, len(days)).cumsum())
    lines = [f"{day},{c:.4f},{c * 1.01:.4f},{c * 0.99:.4f},{c:.4f},1000" for day, c in zip(days, closes, strict=True)]
    folder.mkdir(exist_ok=True)
    (folder / f"{ticker}.csv").write_text("\n".join(["date,open,high,low,close,volume", *lines, ""]))
