"""Record a delivery: refuse what is invalid, settle its price basis, write what differs as new vintages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

import polars as pl

from ldtm_lib.database.clock import last_closed_session
from ldtm_lib.database.connection import Connection
from ldtm_lib.database.statements import statement
from ldtm_lib.errors import DatabaseUnavailable
from ldtm_lib.prices.adjustment import Settled, settle
from ldtm_lib.prices.bars import BAR_COLUMNS, KEY, Validated, validate
from ldtm_lib.prices.quarantine import quarantine, resolve
from ldtm_lib.prices.sources.protocol import Delivery
from ldtm_lib.prices.splits import HALF_A_CENT, Split, adjust
from ldtm_lib.prices.stored_bars import current_bars
from ldtm_lib.prices.stored_history import Holdings, by_ticker, read_holdings
from ldtm_lib.sessions import Calendar

SPLIT_SOURCE = "split"
"""The source of a vintage that nobody delivered: a stored bar restated by the ratio of a split."""
COUNTS = ("num_new", "num_restated", "num_unchanged", "num_refused")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What one delivery changed."""

    per_ticker: pl.DataFrame
    """Columns ticker, num_new, num_restated, num_unchanged, num_refused; one row per ticker, sorted."""
    splits: tuple[Split, ...] = ()
    """Splits that the store did not know before."""
    notes: tuple[str, ...] = ()
    """What an operator should look at."""


def record(conn: Connection, delivery: Delivery, *, source: str, calendar: Calendar) -> Recorded:
    """Bring the store up to a delivery, within the caller's transaction.

    A bar with other values than the current one becomes a new vintage, an equal one writes nothing; all vintages
    of a call bear one moment of the database's clock. Refused bars go into quarantine. A split, declared or
    noticed by the ratio at which at least three stored bars arrive, restates what the delivery does not cover:
    a ticker's current bars are always on one basis. Bars on an older basis are restated before they are compared.
    Two calls at once wait for each other. The number of SQL statements does not depend on the delivery's size.
    """
    conn.execute(statement("prices/lock"))
    validated = _refuse_unclosed(validate(delivery.bars, calendar), last_closed_session(conn))
    valid = validated.valid
    quarantine(conn, validated.refused, source)
    resolve(conn, valid)

    holdings = read_holdings(conn, valid, delivery.splits)
    settled = _settle(valid, delivery, holdings, calendar)
    unapplied = tuple(split for s in settled.values() for split in s.unapplied)
    applied = tuple(split for s in settled.values() for split in s.applied)

    delivered = _settled_bars(valid, settled)
    new = delivered.join(holdings.bars, on=KEY, how="anti")
    restated = _differing(delivered, holdings.bars)
    split_only = _restated_by_splits(conn, unapplied).join(delivered, on=KEY, how="anti")
    changed = pl.concat([restated, split_only])
    moment = _moment(conn, changed)
    _add_splits(conn, unapplied, applied, moment)
    _add_bars(conn, pl.concat([new, restated]), source, moment)
    _add_bars(conn, split_only, SPLIT_SOURCE, moment)
    return Recorded(
        per_ticker=_counts(
            new=new, restated=changed, unchanged=_neither(valid, new, restated), refused=validated.refused
        ),
        splits=tuple(sorted((*unapplied, *applied), key=lambda split: (split.ticker, split.session))),
        notes=tuple(note for s in settled.values() for note in s.notes),
    )


def _refuse_unclosed(validated: Validated, newest_closed: date) -> Validated:
    """Refuse bars of sessions that still trade, or have not begun: their values are not final."""
    unclosed = pl.col("session") > newest_closed
    refused = validated.valid.filter(unclosed).with_columns(
        reason=pl.format("session {} has not closed yet", pl.col("session"))
    )
    return Validated(valid=validated.valid.filter(~unclosed), refused=pl.concat([validated.refused, refused]))


def _settle(valid: pl.DataFrame, delivery: Delivery, holdings: Holdings, calendar: Calendar) -> dict[str, Settled]:
    """Settle the price basis of the tickers where equal bars do not show at once that nothing changed."""
    declared = by_ticker(delivery.splits)
    newest: dict[str, date] = dict(valid.group_by("ticker").agg(pl.col("session").max()).iter_rows())
    plain = _on_the_stored_basis(valid, holdings.bars)
    bars = {key[0]: own for key, own in valid.partition_by("ticker", as_dict=True).items()}
    settled: dict[str, Settled] = {}
    for ticker in sorted(declared.keys() | newest.keys()):
        splits, known = declared.get(ticker, ()), holdings.splits.get(ticker, ())
        basis = delivery.basis.get(ticker) or newest.get(ticker) or max(split.session for split in splits)
        is_known = set(splits) <= set(known)
        is_newest = all(split.session <= basis for split in known)
        if is_known and is_newest and (ticker in plain or ticker not in holdings.edges):
            continue
        own = bars.get(ticker, valid.clear())
        settled[ticker] = settle(own, splits, basis, holdings.of(ticker), calendar)
    return settled


def _on_the_stored_basis(valid: pl.DataFrame, stored: pl.DataFrame) -> set[str]:
    """The tickers that have bars on both sides, all of them at the same close but for its rounding to cents."""
    both = valid.join(stored, on=KEY, suffix="_stored")
    same = (pl.col("close") - pl.col("close_stored")).abs() <= 2 * HALF_A_CENT
    judged = both.select("ticker", same=same).group_by("ticker").agg(pl.col("same").all())
    return set(judged.filter("same")["ticker"])


def _settled_bars(valid: pl.DataFrame, settled: Mapping[str, Settled]) -> pl.DataFrame:
    others = valid.filter(~pl.col("ticker").is_in(list(settled)))
    return pl.concat([others, *(s.bars for s in settled.values())])


def _differing(delivered: pl.DataFrame, stored: pl.DataFrame) -> pl.DataFrame:
    """Delivered bars of stored sessions with any other value."""
    values = BAR_COLUMNS[len(KEY) :]
    both = delivered.join(stored, on=KEY, suffix="_stored")
    return both.filter(pl.any_horizontal(pl.col(v) != pl.col(f"{v}_stored") for v in values)).select(BAR_COLUMNS)


def _neither(valid: pl.DataFrame, new: pl.DataFrame, restated: pl.DataFrame) -> pl.DataFrame:
    return valid.join(pl.concat([new, restated]), on=KEY, how="anti")


def _restated_by_splits(conn: Connection, splits: Sequence[Split]) -> pl.DataFrame:
    """The current bars before some splits, on the basis after them."""
    history = current_bars(conn, sorted({split.ticker for split in splits}))
    return _differing(adjust(history, splits), history)


def _moment(conn: Connection, changed: pl.DataFrame) -> datetime:
    """The database's clock, later than every vintage of the bars that change."""
    row = conn.execute(statement("prices/recorded_at"), {"tickers": changed["ticker"].unique().to_list()}).fetchone()
    if row is None:
        raise DatabaseUnavailable("PostgreSQL did not tell the time; try again")
    return row[0]


def _add_splits(conn: Connection, unapplied: Sequence[Split], applied: Sequence[Split], moment: datetime) -> None:
    splits = (*unapplied, *applied)
    columns = {
        "tickers": [split.ticker for split in splits],
        "sessions": [split.session for split in splits],
        "ratios": [split.ratio for split in splits],
        "applied": [False] * len(unapplied) + [True] * len(applied),
    }
    conn.execute(statement("prices/add_splits"), columns | {"recorded_at": moment})


def _add_bars(conn: Connection, bars: pl.DataFrame, source: str, moment: datetime) -> None:
    text = bars.with_columns(source=pl.lit(source), recorded_at=pl.lit(moment.isoformat())).write_csv(
        include_header=False
    )
    with conn.cursor() as cursor, cursor.copy(statement("prices/add_bars")) as rows:
        rows.write(text)


def _counts(
    *, new: pl.DataFrame, restated: pl.DataFrame, unchanged: pl.DataFrame, refused: pl.DataFrame
) -> pl.DataFrame:
    parts = [
        part.select(pl.col("ticker").fill_null(""), count=pl.lit(name))
        for name, part in zip(COUNTS, (new, restated, unchanged, refused), strict=True)
    ]
    return (
        pl.concat(parts)
        .group_by("ticker")
        .agg(pl.col("count").eq(name).sum().cast(pl.Int64).alias(name) for name in COUNTS)
        .sort("ticker")
    )
