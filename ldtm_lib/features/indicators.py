"""The eleven inputs of a network, computed over all tickers at once.

Returns and averages count bars of the ticker, not days: where a session has no bar, they use the bar before it.
RSI is J. Welles Wilder's, New Concepts in Technical Trading Systems (1978): the averages of gains and losses start as
the plain mean of the first 14 changes and then move by 1/14 of the difference to each new change.
"""

import polars as pl

from ldtm_lib.features.inputs import INPUTS

RSI_BARS = 14
WARMUP_BARS = 19
"""Bars before the first one that has all inputs: MA-20 reads 19 earlier closes, the others fewer."""

_CLOSE = pl.col("close")
_CHANGE = _CLOSE.diff()


def add_indicators(bars: pl.DataFrame) -> pl.DataFrame:
    """Bars with their six engineered inputs, sorted by ticker and session.

    `bars` has the columns of BAR_SCHEMA, in any order of rows. The new columns are Float64 and null during warm-up:
    1 and 5 bars for the returns, 14 for RSI, 4, 9 and 19 for the averages. A value depends on no other ticker and on no
    later session.
    """
    return (
        bars.lazy()
        .sort("ticker", "session")
        .with_columns(
            _log_return(1).over("ticker").alias("log_return_1"),
            _log_return(5).over("ticker").alias("log_return_5"),
            _wilder_average(_CHANGE.clip(lower_bound=0.0)).over("ticker").alias("average_gain"),
            _wilder_average((-_CHANGE).clip(lower_bound=0.0)).over("ticker").alias("average_loss"),
            *(_to_moving_average(n).over("ticker").alias(f"close_to_ma_{n}") for n in (5, 10, 20)),
        )
        .with_columns(_strength().alias("rsi_14"))
        .select(*bars.columns, *INPUTS[5:])
        .collect()
    )


def _log_return(num_bars: int) -> pl.Expr:
    return (_CLOSE / _CLOSE.shift(num_bars)).log()


def _to_moving_average(num_bars: int) -> pl.Expr:
    return _CLOSE / _CLOSE.rolling_mean(num_bars)


def _wilder_average(moves: pl.Expr) -> pl.Expr:
    """Wilder's average of one ticker's moves, the first of which is null: it has no bar before it."""
    bar = pl.int_range(pl.len())
    seed = moves.slice(1, RSI_BARS).mean()
    seeded = pl.when(bar > RSI_BARS).then(moves).when(bar == RSI_BARS).then(seed)
    return seeded.ewm_mean(alpha=1 / RSI_BARS, adjust=False)


def _strength() -> pl.Expr:
    """Wilder's relative strength index, 0 to 100: 100 without any loss, 50 if no close has moved at all."""
    gain, loss = pl.col("average_gain"), pl.col("average_loss")
    moved = gain + loss
    return pl.when(moved == 0.0).then(pl.lit(50.0)).otherwise(100.0 * gain / moved)
