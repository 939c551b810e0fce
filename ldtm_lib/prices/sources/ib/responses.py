"""From the bars of IB's client to a frame."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

import polars as pl

from ldtm_lib.prices.bars import BAR_SCHEMA


def frame_of(ticker: str, bars: Sequence[Any]) -> pl.DataFrame:
    """The bars of one ticker as a frame of BAR_SCHEMA, made as each answer arrives: the client's objects are large."""
    columns = {
        "ticker": [ticker] * len(bars),
        "session": [_day(bar.date) for bar in bars],
        **{name: [getattr(bar, name) for bar in bars] for name in ("open", "high", "low", "close", "volume")},
    }
    return pl.DataFrame(columns, schema=BAR_SCHEMA)


def _day(day: date | datetime) -> date:
    return day.date() if isinstance(day, datetime) else day
