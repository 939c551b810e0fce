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
LEAST_PRICE, MOST_PRICE = 1e-8, 1e12
"""Bounds of a price in its currency. Prices of funds that were merged often reach 1e9 once they are split-adjusted."""
MOST_VOLUME = 1e15
"""Bound of a session's volume in shares."""
MOST_PRICE_RATIO = 1e4
"""Bound of the ratio of high to low, and of the closes of two neighbouring bars of a file."""

ORDER_TOLERANCE = 8 * 2.0**-52
"""Largest relative error of high and low against open and close: eight units in the last place. A source that
multiplies each price by its own rounded factor is wrong by one or two."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Validated:
    """Valid and refused bars: `valid` has the columns of BAR_SCHEMA, `refused` an additional column `reason`."""

    valid: pl.DataFrame
    refused: pl.DataFrame


def empty_bars() -> pl.DataFrame:
    """A frame of BAR_SCHEMA without rows."""
    return pl.DataFrame(schema=BAR_SCHEMA)


def validate(bars: pl.DataFrame, calendar: Calendar, places: pl.DataFrame | None = None) -> Validated:
    """Separate valid bars from bars to refuse; `reason` of a refused bar names every rule that it breaks.

    A bar is valid when its session is in the calendar, its prices and volume are within their bounds, and its high and
    low enclose open and close; those that miss by no more than ORDER_TOLERANCE are set to enclose them. The same bar
    twice counts once; two different bars of one session are both refused. Both frames come back sorted by ticker and
    session. `places` has the columns of KEY and `place`, such as "AAPL.csv, line 7", which reasons then begin with.
    """
    bars = _enclosing(bars.select(pl.col(name).cast(dtype) for name, dtype in BAR_SCHEMA.items()).sort(KEY))
    if bars.select(_repeats(1).any()).item():
        bars = bars.unique().sort(KEY)
    judged = bars.with_columns(reason=_reason(calendar))
    return Validated(
        valid=judged.filter(pl.col("reason") == "").select(BAR_COLUMNS),
        refused=_placed(judged.filter(pl.col("reason") != ""), places),
    )


def _enclosing(bars: pl.DataFrame) -> pl.DataFrame:
    """Bars whose high and low enclose open and close where they miss them by the error of a float."""
    high, low = pl.col("high"), pl.col("low")
    top, bottom = pl.max_horizontal("open", "close"), pl.min_horizontal("open", "close")
    return bars.with_columns(
        high=pl.when((high < top) & (high >= top * (1 - ORDER_TOLERANCE))).then(top).otherwise(high),
        low=pl.when((low > bottom) & (low <= bottom * (1 + ORDER_TOLERANCE))).then(bottom).otherwise(low),
    )


def _placed(refused: pl.DataFrame, places: pl.DataFrame | None) -> pl.DataFrame:
    """Refused bars whose reason names the place of the bar, where that is known."""
    if places is None or refused.is_empty():
        return refused
    known = refused.join(places.unique(KEY, keep="first"), on=KEY, how="left", maintain_order="left")
    placed = pl.concat_str(pl.col("place") + ": ", "reason", ignore_nulls=True)
    return known.with_columns(reason=placed).drop("place")


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
        *(
            _says(pl.col(name).is_between(0, LEAST_PRICE, closed="none"), _beyond(name, "below", LEAST_PRICE))
            for name in PRICE_COLUMNS
        ),
        *(
            _says(pl.col(name).is_finite() & (pl.col(name) > most), _beyond(name, "above", most))
            for name, most in (*dict.fromkeys(PRICE_COLUMNS, MOST_PRICE).items(), ("volume", MOST_VOLUME))
        ),
        _says(
            (low > 0) & low.is_finite() & high.is_finite() & (high / low > MOST_PRICE_RATIO),
            pl.format(f"high {{}} is more than {MOST_PRICE_RATIO:,.0f} times low {{}}", _shown("high"), _shown("low")),
        ),
        *(_orders("high", "below", name, high < pl.col(name)) for name in ("open", "close", "low")),
        *(_orders("low", "above", name, low > pl.col(name)) for name in ("open", "close")),
        _says(pl.col("volume") < 0, pl.format("volume {} is negative", _shown("volume"))),
    ]
    return pl.concat_str(rules, separator="; ", ignore_nulls=True)


def _repeats(num_rows: int) -> pl.Expr:
    """True if a bar is of the session of the bar `num_rows` rows before it, in sorted bars."""
    is_inside = pl.int_range(pl.len()).is_between(num_rows, pl.len().cast(pl.Int64) - 1 + num_rows)
    return is_inside & pl.all_horizontal(pl.col(name).eq_missing(pl.col(name).shift(num_rows)) for name in KEY)


def _says(broken: pl.Expr, words: pl.Expr) -> pl.Expr:
    return pl.when(broken.fill_null(value=False)).then(words)


def _orders(edge: str, wrongly: str, name: str, is_wrong: pl.Expr) -> pl.Expr:
    """A broken order of two prices; a price that is not a number is reported already."""
    both = ~_is_no_number(edge) & ~_is_no_number(name)
    return _says(both & is_wrong, pl.format(f"{edge} {{}} is {wrongly} {name} {{}}", _shown(edge), _shown(name)))


def _beyond(name: str, side: str, bound: float) -> pl.Expr:
    return pl.format(f"{name} {{}} is {side} the bound of {bound:g}", _shown(name))


def _is_no_number(name: str) -> pl.Expr:
    return pl.col(name).is_null() | ~pl.col(name).is_finite()


def _shown(name: str) -> pl.Expr:
    return pl.col(name).cast(pl.String).fill_null("missing")
