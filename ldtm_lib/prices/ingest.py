"""Ingest a delivery: quarantine invalid bars, adjust the price basis, write differing bars as new vintages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime

import polars as pl

from ldtm_lib.database.clock import last_closed_session
from ldtm_lib.database.connection import Connection
from ldtm_lib.database.queries import query
from ldtm_lib.errors import DatabaseUnavailable
from ldtm_lib.prices.adjustment import Adjusted, adjust_delivery
from ldtm_lib.prices.bars import BAR_COLUMNS, KEY, Validated, validate
from ldtm_lib.prices.outlier_quarantine import judge_outliers
from ldtm_lib.prices.quarantine import quarantine, resolve
from ldtm_lib.prices.sources.protocol import Delivery
from ldtm_lib.prices.split_corrections import Origin
from ldtm_lib.prices.splits import HALF_A_CENT, RATIO_TOLERANCE, Split, adjust
from ldtm_lib.prices.splits_ahead import SplitsAhead
from ldtm_lib.prices.stored_bars import current_bars
from ldtm_lib.prices.stored_history import StoredHistories, by_ticker, read_stored_histories
from ldtm_lib.prices.volume_units import in_stored_units
from ldtm_lib.sessions import Calendar

SPLIT_SOURCE = "split"
"""The source of a vintage that was not delivered: a stored bar restated by the ratio of a split."""
COUNTS = ("num_new", "num_restated", "num_unchanged", "num_refused")


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestReport:
    """The changes that one delivery made."""

    per_ticker: pl.DataFrame
    """Columns ticker, num_new, num_restated, num_unchanged, num_refused; one row per ticker, sorted."""
    sessions: Mapping[str, tuple[date, date]]
    """The first and the last session of the valid bars of the delivery, by ticker."""
    splits: tuple[Split, ...] = ()
    """Splits that were not on record before."""
    notes: tuple[str, ...] = ()
    """Notes for the operator."""
    held_back: Mapping[str, str] = field(default_factory=dict[str, str])
    """The reason why no bar was recorded, by ticker: current bars would be on two price bases."""


def ingest(conn: Connection, delivery: Delivery, *, source: str, calendar: Calendar) -> IngestReport:
    """Write a delivery into the stored history, within the caller's transaction.

    A bar with other values than the current one becomes a new vintage, an equal one writes nothing; all vintages of a
    call have the same `recorded_at` by the database's clock. Invalid bars and outliers go into quarantine; volumes are
    put into the unit of the stored ones. A split, declared or inferred from the ratio at which at least three stored
    bars arrive, restates the bars that the delivery does not cover: a ticker's current bars are always on one price
    basis, and a delivery that would leave them on two is not recorded. A split whose session has not closed is recorded
    later. Bars on an older basis are restated before they are compared. Concurrent calls wait for each other. The
    number of SQL statements does not depend on the delivery's size.
    """
    conn.execute(query("prices.lock"))
    newest_closed = last_closed_session(conn)
    validated = _refuse_unclosed(validate(delivery.bars, calendar, delivery.places), newest_closed)
    valid = validated.valid

    delivery = replace(delivery, splits=tuple(_on_a_session(split, calendar) for split in delivery.splits))
    ahead = SplitsAhead.of(delivery, newest_closed)
    delivery = ahead.without(delivery)
    histories = read_stored_histories(conn, valid, delivery.splits)
    valid = ahead.on_the_basis_before(valid, histories.bars)
    adjusted = ahead.held_back(_adjust(valid, delivery, histories, calendar))
    unapplied = tuple(split for s in adjusted.values() for split in s.unapplied)
    applied = tuple(split for s in adjusted.values() for split in s.applied)
    inferred = tuple(split for s in adjusted.values() for split in s.inferred)
    restating = (*unapplied, *inferred)

    held_back = {ticker: each.problem for ticker, each in adjusted.items() if each.problem is not None}
    kept_out = valid.filter(pl.col("ticker").is_in(list(held_back)))
    valid = valid.join(kept_out, on=KEY, how="anti")

    split_now = pl.col("ticker").is_in([split.ticker for split in (*delivery.splits, *restating)])
    in_units = in_stored_units(_adjusted_bars(valid, adjusted), adjust(histories.bars.filter(~split_now), restating))
    judged = judge_outliers(conn, in_units.bars, histories, restating, source=source, calendar=calendar)
    delivered, valid = judged.accepted, valid.join(judged.held, on=KEY, how="anti")
    refused = pl.concat([validated.refused, judged.held])

    new = delivered.join(histories.bars, on=KEY, how="anti")
    restated = differing(delivered, histories.bars)
    split_only = _restated_by_splits(conn, restating).join(delivered, on=KEY, how="anti")
    changed = pl.concat([restated, split_only])
    added = pl.concat(
        [
            pl.concat([new, restated]).with_columns(source=pl.lit(source)),
            split_only.with_columns(source=pl.lit(SPLIT_SOURCE)),
        ]
    )
    moment = next_moment(conn, changed)
    add_splits(conn, unapplied, "declared", moment)
    add_splits(conn, applied, "declared", moment, is_applied=True)
    add_splits(conn, inferred, "inferred", moment)
    add_bars(conn, added, moment)
    quarantine(conn, refused, source)  # after the splits of the delivery, which its refused bars have
    resolve(conn, valid)
    return IngestReport(
        per_ticker=_counts(
            new=new,
            restated=changed,
            unchanged=_neither(valid, new, restated),
            refused=pl.concat([refused, kept_out], how="diagonal"),
        ),
        sessions=_sessions(valid),
        splits=tuple(sorted((*unapplied, *applied, *inferred), key=lambda split: (split.ticker, split.session))),
        notes=(*ahead.notes, *(note for s in adjusted.values() for note in s.notes), *in_units.notes, *judged.notes),
        held_back=held_back,
    )


def no_counts() -> pl.DataFrame:
    """The counts of a delivery without any bar: columns of `IngestReport.per_ticker`."""
    return pl.DataFrame(schema={"ticker": pl.String} | dict.fromkeys(COUNTS, pl.Int64))


def _on_a_session(split: Split, calendar: Calendar) -> Split:
    """The split on its session, or the first one after a day without trading."""
    return replace(split, session=calendar.on_or_after(split.session))


def _refuse_unclosed(validated: Validated, newest_closed: date) -> Validated:
    """Refuse bars of sessions that have not closed or not begun: their values are not final."""
    unclosed = pl.col("session") > newest_closed
    refused = validated.valid.filter(unclosed).with_columns(
        reason=pl.format("session {} has not closed yet", pl.col("session"))
    )
    return Validated(valid=validated.valid.filter(~unclosed), refused=pl.concat([validated.refused, refused]))


def _adjust(
    valid: pl.DataFrame, delivery: Delivery, histories: StoredHistories, calendar: Calendar
) -> dict[str, Adjusted]:
    """Adjust the price basis of the tickers whose bars do not show at once that nothing changed."""
    declared = by_ticker(delivery.splits)
    newest: dict[str, date] = dict(valid.group_by("ticker").agg(pl.col("session").max()).iter_rows())
    plain = _on_the_stored_basis(valid, histories.bars)
    bars = {key[0]: own for key, own in valid.partition_by("ticker", as_dict=True).items()}
    adjusted: dict[str, Adjusted] = {}
    for ticker in sorted(declared.keys() | newest.keys()):
        splits, known = declared.get(ticker, ()), histories.splits.get(ticker, ())
        basis = delivery.basis.get(ticker) or newest.get(ticker) or max(split.session for split in splits)
        is_known = set(splits) <= set(known)
        is_newest = all(split.session <= basis for split in known)
        if is_known and is_newest and (ticker in plain or ticker not in histories.edges):
            continue
        own = bars.get(ticker, valid.clear())
        complete_from = delivery.splits_from.get(ticker, own["session"][0] if len(own) else date.max)
        adjusted[ticker] = adjust_delivery(
            own, splits, basis, histories.of(ticker), calendar, complete_from=complete_from
        )
    return adjusted


def _on_the_stored_basis(valid: pl.DataFrame, stored: pl.DataFrame) -> set[str]:
    """The tickers whose delivered and stored bars have the same closes, up to rounding to cents."""
    both = valid.join(stored, on=KEY, suffix="_stored")
    distance = (pl.col("close") - pl.col("close_stored")).abs()
    same = (distance <= 2 * HALF_A_CENT) & (distance <= RATIO_TOLERANCE * pl.col("close_stored"))
    judged = both.select("ticker", same=same).group_by("ticker").agg(pl.col("same").all())
    return set(judged.filter("same")["ticker"])


def _adjusted_bars(valid: pl.DataFrame, adjusted: Mapping[str, Adjusted]) -> pl.DataFrame:
    others = valid.filter(~pl.col("ticker").is_in(list(adjusted)))
    return pl.concat([others, *(s.bars for s in adjusted.values())])


def differing(delivered: pl.DataFrame, stored: pl.DataFrame) -> pl.DataFrame:
    """Delivered bars of stored sessions with any other value."""
    values = BAR_COLUMNS[len(KEY) :]
    both = delivered.join(stored, on=KEY, suffix="_stored")
    return both.filter(pl.any_horizontal(pl.col(v) != pl.col(f"{v}_stored") for v in values)).select(BAR_COLUMNS)


def _neither(valid: pl.DataFrame, new: pl.DataFrame, restated: pl.DataFrame) -> pl.DataFrame:
    return valid.join(pl.concat([new, restated]), on=KEY, how="anti")


def _restated_by_splits(conn: Connection, splits: Sequence[Split]) -> pl.DataFrame:
    """The current bars before some splits, on the basis after them."""
    history = current_bars(conn, sorted({split.ticker for split in splits}))
    return differing(adjust(history, splits), history)


def next_moment(conn: Connection, changed: pl.DataFrame) -> datetime:
    """The database's clock, later than every vintage of the bars that change."""
    row = conn.execute(query("prices.recorded_at"), {"tickers": changed["ticker"].unique().to_list()}).fetchone()
    if row is None:
        raise DatabaseUnavailable("PostgreSQL did not return its time; try again")
    return row[0]


def add_splits(
    conn: Connection, splits: Sequence[Split], origin: Origin, moment: datetime, *, is_applied: bool = False
) -> None:
    """Add splits of one origin; `is_applied` is true if the stored bars have had them all along."""
    if not splits:
        return
    columns = {
        "tickers": [split.ticker for split in splits],
        "sessions": [split.session for split in splits],
        "ratios": [split.ratio for split in splits],
    }
    named = {"origin": origin, "is_applied": is_applied, "recorded_at": moment}
    conn.execute(query("prices.add_splits"), columns | named)


def add_bars(conn: Connection, bars: pl.DataFrame, moment: datetime) -> None:
    """Add bars with their sources in one statement, recorded at `moment`.

    The database refuses a moment from before the transaction, or more than five minutes ahead of its clock.
    """
    text = bars.with_columns(recorded_at=pl.lit(moment.isoformat())).write_csv(include_header=False)
    with conn.cursor() as cursor, cursor.copy(query("prices.add_bars")) as rows:
        rows.write(text)


def _sessions(valid: pl.DataFrame) -> dict[str, tuple[date, date]]:
    """The first and the last session of bars, by ticker."""
    session = pl.col("session")
    ends = valid.group_by("ticker").agg(first=session.min(), last=session.max())
    return {ticker: (first, last) for ticker, first, last in ends.iter_rows()}


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
