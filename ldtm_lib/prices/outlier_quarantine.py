"""Outliers of a delivery go into quarantine, until a second delivery confirms them or they are released by hand."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta

import polars as pl

from ldtm_lib.database.connection import Connection
from ldtm_lib.database.queries import query
from ldtm_lib.prices.bars import BAR_COLUMNS, BAR_SCHEMA, KEY, PRICE_COLUMNS
from ldtm_lib.prices.outliers import OUTLIER_SCHEMA, judge_delivery, returned_spikes
from ldtm_lib.prices.splits import HALF_A_CENT, Split, adjust
from ldtm_lib.prices.stored_bars import current_bars, recent_bars
from ldtm_lib.prices.stored_history import StoredHistories
from ldtm_lib.sessions import Calendar

CONFIRMED_AFTER = timedelta(hours=20)
"""The age from which its own source confirms a quarantined bar: by the next daily run, not by a retry."""
MARGIN = timedelta(days=14)
"""Stored bars this far around a delivery are read: the neighbours of its bars, and the neighbours of those."""
SAME_CLOSE = 1e-6
"""Relative difference that is due to rounding of floats, as after adjusting for splits and back."""

SEEN_SCHEMA = pl.Schema(
    {"ticker": pl.String, "session": pl.Date}
    | {f"{name}_seen": pl.Float64 for name in PRICE_COLUMNS}
    | {"reason_seen": pl.String, "source_seen": pl.String, "is_old": pl.Boolean, "is_resolved": pl.Boolean}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutlierJudgement:
    """Delivered bars to record, those to put into quarantine (with `reason`), and notes for the operator."""

    accepted: pl.DataFrame
    held: pl.DataFrame
    notes: tuple[str, ...]


def judge_outliers(
    conn: Connection,
    delivered: pl.DataFrame,
    histories: StoredHistories,
    unapplied: Iterable[Split],
    *,
    source: str,
    calendar: Calendar,
) -> OutlierJudgement:
    """Separate the outliers from delivered bars, which are on the price basis after the splits `unapplied`.

    Only bars that are new, or whose close differs from the stored one, are judged, with the stored bars around them.
    An outlier is accepted if it is in quarantine with the same prices from another source, or from the same one for
    CONFIRMED_AFTER. Volumes are left out of that comparison, since two sources never agree on them.
    """
    splits = tuple(unapplied)
    marked = _marked(delivered, adjust(histories.bars, splits))
    if marked.is_empty():
        return OutlierJudgement(accepted=delivered, held=_none_held(), notes=())
    stored = adjust(_stored_around(conn, marked, histories), splits)
    judged = judge_delivery(_series(marked, stored), calendar)
    if judged.delivered.is_empty() and judged.stored.is_empty():
        return OutlierJudgement(accepted=delivered, held=_none_held(), notes=judged.notes)
    seen = _seen(conn, pl.concat([judged.delivered, judged.stored]))
    outliers = delivered.join(judged.delivered.drop("close"), on=KEY).join(_open(seen), on=KEY, how="left")
    is_known = _is_same_bar()
    is_confirmed = is_known & ((pl.col("source_seen") != source) | pl.col("is_old"))
    confirmed = outliers.filter(is_confirmed).unique(KEY, keep="first", maintain_order=True)
    held = (
        outliers.join(confirmed, on=KEY, how="anti")
        # One row per bar in quarantine: a bar that is there already keeps its first reason.
        .with_columns(reason=pl.when(is_known).then("reason_seen").otherwise(_with_remedy()), is_known=is_known)
        .sort(*KEY, "is_known", descending=[False, False, True])
        .unique(KEY, keep="first", maintain_order=True)
        .select(*BAR_COLUMNS, "reason")
    )
    return OutlierJudgement(
        accepted=delivered.join(held, on=KEY, how="anti"),
        held=held,
        notes=(*judged.notes, *_confirmations(confirmed), *stored_outlier_notes(_unreleased(judged.stored, seen))),
    )


def recorded_outliers(
    conn: Connection, tickers: Iterable[str], *, last: date, num_bars: int, calendar: Calendar
) -> pl.DataFrame:
    """The spikes that returned among the newest stored bars of some tickers; columns of OUTLIER_SCHEMA.

    Bars that were in quarantine with the same close were released or confirmed, and are left out.
    """
    found = returned_spikes(recent_bars(conn, list(tickers), last=last, num_bars=num_bars), calendar)
    return found if found.is_empty() else _unreleased(found, _seen(conn, found))


def stored_outlier_notes(outliers: pl.DataFrame) -> tuple[str, ...]:
    """A note with the remedy for each stored bar that proved an outlier, which can only be replaced."""
    return tuple(
        f"{row['ticker']}: a stored bar is an outlier: {row['reason']}; load a corrected bar of {row['session']}"
        for row in outliers.iter_rows(named=True)
    )


def _marked(delivered: pl.DataFrame, stored: pl.DataFrame) -> pl.DataFrame:
    """The delivered closes of tickers with a bar to judge: columns of KEY, close, is_judged."""
    both = delivered.select(*KEY, "close").join(
        stored.select(*KEY, close_stored="close"), on=KEY, how="left", maintain_order="left"
    )
    difference = (pl.col("close") - pl.col("close_stored")).abs() / pl.col("close_stored")
    marked = both.select(*KEY, "close", is_judged=(difference > SAME_CLOSE).fill_null(value=True))
    tickers = marked.filter("is_judged")["ticker"].unique()
    return marked.filter(pl.col("ticker").is_in(tickers.implode()))


def _stored_around(conn: Connection, marked: pl.DataFrame, histories: StoredHistories) -> pl.DataFrame:
    """The stored bars of the delivered range and of MARGIN around it, of the marked tickers, on their price basis."""
    own = marked["ticker"].unique()
    tickers, sessions = sorted(set(own) & histories.edges.keys()), marked["session"]
    if not tickers:
        return histories.bars.clear()
    first, last = sessions.sort()[0], sessions.sort()[-1]
    around = [current_bars(conn, tickers, first=first - MARGIN, last=first)]
    if any(histories.edges[ticker].newest > last for ticker in tickers):
        around.append(current_bars(conn, tickers, first=last, last=last + MARGIN))
    inside = histories.bars.filter(pl.col("ticker").is_in(own.implode()))
    return pl.concat([inside, pl.concat(around).unique(KEY).join(inside, on=KEY, how="anti")])


def _series(marked: pl.DataFrame, stored: pl.DataFrame) -> pl.DataFrame:
    """Marked and stored closes together, as `judge_delivery` takes them."""
    others = stored.join(marked, on=KEY, how="anti").select(*KEY, "close", is_judged=pl.lit(value=False))
    return pl.concat([marked, others]).sort(KEY)


def _seen(conn: Connection, outliers: pl.DataFrame) -> pl.DataFrame:
    """All bars that were ever in quarantine for the sessions of some outliers."""
    keys = outliers.select(tickers="ticker", sessions="session").to_dict(as_series=False)
    rows = conn.execute(query("prices.seen_in_quarantine"), keys | {"age": CONFIRMED_AFTER}).fetchall()
    return pl.DataFrame(rows, schema=SEEN_SCHEMA, orient="row")


def _open(seen: pl.DataFrame) -> pl.DataFrame:
    return seen.filter(~pl.col("is_resolved"))


def _is_same_bar() -> pl.Expr:
    """True if the prices of a delivered bar are those of the one in quarantine, up to rounding to cents."""
    same = [
        (pl.col(name) - pl.col(f"{name}_seen")).abs() <= 2 * HALF_A_CENT + SAME_CLOSE * pl.col(name)
        for name in PRICE_COLUMNS
    ]
    return pl.all_horizontal(same).fill_null(value=False)


def _with_remedy() -> pl.Expr:
    return pl.format(
        "{}; if it is right, `ldtm prices release {} {}` records it, else load a corrected bar",
        "reason",
        "ticker",
        "session",
    )


def _confirmations(confirmed: pl.DataFrame) -> list[str]:
    """A note on each outlier that is recorded because a second delivery has it."""
    return [
        f"{row['ticker']}: the bar of {row['session']} with close {row['close']:g}, refused from {row['source_seen']} "
        "before, was delivered again and is recorded"
        for row in confirmed.iter_rows(named=True)
    ]


def _unreleased(stored: pl.DataFrame, seen: pl.DataFrame) -> pl.DataFrame:
    """Stored outliers without those that were in quarantine with the same close."""
    both = stored.join(seen.filter("is_resolved"), on=KEY)
    is_same = (pl.col("close") - pl.col("close_seen")).abs() <= SAME_CLOSE * pl.col("close")
    return stored.join(both.filter(is_same), on=KEY, how="anti").match_to_schema(OUTLIER_SCHEMA)


def _none_held() -> pl.DataFrame:
    return pl.DataFrame(schema=dict(BAR_SCHEMA) | {"reason": pl.String})
