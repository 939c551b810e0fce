"""Daily bars as frames, and the rules that a valid bar satisfies."""

from dataclasses import dataclass

import polars as pl

from ldtm_lib.sessions import Calendar

BAR_COLUMNS = ("ticker", "session", "open", "high", "low", "close", "volume")
PRICE_COLUMNS = ("open", "high", "low", "close")
BAR_SCHEMA = pl.Schema(
    {"ticker": pl.String, "session": pl.Date} | dict.fromkeys((*PRICE_COLUMNS, "volume"), pl.Float64)
)
KEY = ("ticker", "session")


@dataclass(frozen=True, slots=True, kw_only=True)
class Validated:
    """Valid and refused bars: `valid` has the columns of BAR_SCHEMA, `refused` an additional column `reason`."""

    valid: pl.DataFrame
    refused: pl.DataFrame


def empty_bars() -> pl.DataFrame:
    """A frame of BAR_SCHEMA without rows."""
    return pl.DataFrame(schema=BAR_SCHEMA)


def validate(bars: pl.DataFrame, calendar: Calendar) -> Validated:
    """Separate valid bars from bars to refuse; `reason` of a refused bar names every rule that it breaks.

    A bar is valid when its session is in the calendar, its prices are finite and above zero, its high and low
    enclose open and close, and its volume is finite and not negative. The same bar twice counts once; two
    different bars of one session are both refused. Both frames come back sorted by ticker and session.
    """
    bars = bars.select(pl.col(name).cast(dtype) for name, dtype in BAR_SCHEMA.items()).sort(KEY)
    if bars.select(_repeats(1).any()).item():
        bars = bars.unique().sort(KEY)
    judged = bars.with_columns(reason=_reason(calendar))
    return Validated(
        valid=judged.filter(pl.col("reason") == "").select(BAR_COLUMNS),
        refused=judged.filter(pl.col("reason") != ""),
    )


def _reason(calendar: Calendar) -> pl.Expr:
    """The broken rules of each bar joined by "; ", or an empty text."""
    days = pl.Series(calendar.days)
    session, high, low = pl.col("session"), pl.col("high"), pl.col("low")
    rules = [
        _says(pl.col("ticker").is_null(), pl.lit("has no ticker")),
        _says(session.is_null(), pl.lit("has no session")),
        _says(
            session.is_not_null() & ~session.is_in(days.implode()),
            pl.format(f"{{}} is not a session of {calendar.name}", session),
        ),
        _says(_repeats(1) | _repeats(-1), pl.lit("the session has several bars that differ")),
        *(
            _says(_is_no_number(name), pl.format(f"{name} is {{}}", _shown(name)))
            for name in (*PRICE_COLUMNS, "volume")
        ),
        *(
            _says(~_is_no_number(name) & (pl.col(name) <= 0), pl.format(f"{name} {{}} is not above zero", _shown(name)))
            for name in PRICE_COLUMNS
        ),
        *(_orders("high", "below", name, high < pl.col(name)) for name in ("open", "close", "low")),
        *(_orders("low", "above", name, low > pl.col(name)) for name in ("open", "close")),
        _says(pl.col("volume") < 0, pl.format("volume {} is negative", _shown("volume"))),
    ]
    return pl.concat_str(rules, separator="; ", ignore_nulls=True)


def _repeats(num_rows: int) -> pl.Expr:
    """Whether a bar is of the session of the one so many rows before, in sorted bars."""
    is_inside = pl.int_range(pl.len()).is_between(num_rows, pl.len().cast(pl.Int64) - 1 + num_rows)
    return is_inside & pl.all_horizontal(pl.col(name).eq_missing(pl.col(name).shift(num_rows)) for name in KEY)


def _says(broken: pl.Expr, words: pl.Expr) -> pl.Expr:
    return pl.when(broken.fill_null(value=False)).then(words)


def _orders(edge: str, wrongly: str, name: str, is_wrong: pl.Expr) -> pl.Expr:
    """A broken order of two prices; where one is no number that is said already."""
    both = ~_is_no_number(edge) & ~_is_no_number(name)
    return _says(both & is_wrong, pl.format(f"{edge} {{}} is {wrongly} {name} {{}}", _shown(edge), _shown(name)))


def _is_no_number(name: str) -> pl.Expr:
    return pl.col(name).is_null() | ~pl.col(name).is_finite()


def _shown(name: str) -> pl.Expr:
    return pl.col(name).cast(pl.String).fill_null("missing")
