"""Adjustment: put delivered and stored bars of one ticker on one price basis, and note changes no split explains."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date

import numpy as np
import polars as pl

from ldtm_lib.prices.bars import KEY, PRICE_COLUMNS
from ldtm_lib.prices.mixed_bases import Prices, gap_note, rescaled_bars, transitions_between
from ldtm_lib.prices.split_corrections import Correction, compare_with_record
from ldtm_lib.prices.split_inference import (
    SplitHypothesis,
    StoredHistory,
    common_closes,
    infer_splits,
    is_nearer,
    jump_at,
)
from ldtm_lib.prices.split_ratios import Floats, is_large_move, is_same_ratio
from ldtm_lib.prices.splits import HALF_A_CENT, MIN_RESTATED_BARS, RATIO_TOLERANCE, Split, adjust, is_same_price
from ldtm_lib.sessions import Calendar
from ldtm_lib.wording import counted

VOLUME_ROUNDING = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Adjusted:
    """A delivery of one ticker, adjusted to the price basis that the stored bars have after the ingest."""

    bars: pl.DataFrame
    """The delivered bars; if they came on an older basis, without those that are stored already.

    Empty where stored bars would end up on two price bases.
    """
    unapplied: tuple[Split, ...]
    """New splits and corrections that the stored bars do not have yet."""
    applied: tuple[Split, ...]
    """New splits that the stored bars have had all along."""
    inferred: tuple[Split, ...] = ()
    """A new, undeclared split that the stored bars do not have yet."""
    problem: str | None = None
    """Reason why the delivery is not recorded, with the remedy."""
    notes: tuple[str, ...]


def adjust_delivery(
    delivered: pl.DataFrame,
    declared: Sequence[Split],
    basis: date,
    stored: StoredHistory,
    calendar: Calendar,
    *,
    complete_from: date,
) -> Adjusted:
    """Adjust one ticker's delivery: `delivered` is sorted by session, `basis` is the last session whose splits it has,
    and its declared splits are complete from `complete_from` on.

    A delivery that would leave the ticker's current bars on two price bases is not recorded at all. A declared split
    that stored bars have already is taken to be the known, undeclared one of the same ratio, however far apart their
    dates are: after weeks without bars, an inferred split is dated by the first bar that arrived.
    """
    record = compare_with_record(declared, stored.splits, stored.origins, complete_from=complete_from)
    untold = [split for split in record.new if _is_untold(split, delivered, stored)]
    record = replace(
        record,
        new=tuple(split for split in record.new if split not in untold),
        notes=(*record.notes, *map(_untold, untold)),
    )
    late = [split for split in (*declared, *record.undeclared) if _is_unapplied(delivered, split)]
    restated = adjust(delivered, late)
    undeclared = tuple(split for split in record.undeclared if split not in late)
    if stored.newest is None:
        bars = adjust(restated, [split for split in undeclared if split.session > basis])
        notes = (*record.notes, *map(_applied_here, late))
        return Adjusted(bars=bars, unapplied=(), applied=record.new, notes=notes)
    hypothesis = infer_splits(restated, undeclared, record.new, basis, stored, calendar)
    if late:
        as_delivered = infer_splits(delivered, record.undeclared, record.new, basis, stored, calendar)
        if as_delivered.evidence > hypothesis.evidence:
            late, restated, hypothesis = [], delivered, as_delivered
    record = replace(record, notes=(*record.notes, *map(_applied_here, late)))
    problem, notes = _judged(restated, hypothesis, stored)
    if problem is not None:
        return Adjusted(bars=delivered.clear(), unapplied=(), applied=(), notes=record.notes, problem=problem)
    bars = hypothesis.bars
    if hypothesis.missing:
        bars = _without_rounded(bars, restated, adjust(hypothesis.reference, hypothesis.inferred))
    unproven = [c for c in record.corrections if not _is_shown(c, hypothesis)]
    inferred = [known for known in record.undeclared if stored.origins.get(known.session) == "inferred"]
    left_out = {row for correction in unproven for row in correction.rows}
    return Adjusted(
        bars=bars,
        unapplied=hypothesis.unapplied,
        inferred=hypothesis.inferred,
        applied=tuple(
            split
            for split in record.new
            if split not in hypothesis.unapplied
            and split not in left_out
            and not any(is_same_ratio(split.ratio, known.ratio, RATIO_TOLERANCE) for known in inferred)
        ),
        notes=(*record.notes, *(_outcome(c, is_recorded=c not in unproven) for c in record.corrections), *notes),
    )


def _is_unapplied(delivered: pl.DataFrame, split: Split) -> bool:
    """True if delivered bars jump by a split on its session: the source has not restated them, or not yet."""
    jump = jump_at(delivered, split.session)
    return jump is not None and is_large_move(split.ratio) and bool(is_nearer(jump, split.ratio))


def _is_untold(split: Split, delivered: pl.DataFrame, stored: StoredHistory) -> bool:
    """True if nothing shows whether the stored bars before a split lack it: its ratio is like an ordinary move."""
    if is_large_move(split.ratio) or split.session in stored.restated:
        return False
    if stored.newest is None or stored.newest < split.session or jump_at(stored.bars, split.session) is None:
        return False
    is_common = delivered["session"].is_in(stored.bars["session"].implode()) & (delivered["session"] < split.session)
    return not is_common.any()


def _untold(split: Split) -> str:
    """A note on a split that is not recorded."""
    return (
        f"{split.ticker}: the split of {split.ratio:g} for 1 on {split.session} is not recorded: no delivered bar "
        f"before it shows whether the stored ones lack it; materialize price_history of {split.ticker}"
    )


def _applied_here(split: Split) -> str:
    """A note on a split that the delivered bars lack."""
    return (
        f"{split.ticker}: the delivered prices jump by the split of {split.ratio:g} for 1 on {split.session}; "
        "the bars before it are restated"
    )


def _is_shown(correction: Correction, hypothesis: SplitHypothesis) -> bool:
    """True if prices show a correction: stored ones that lack it, or earlier common ones that have it."""
    sessions, _, _ = common_closes(hypothesis.reference, hypothesis.bars)
    first = min(row.session for row in correction.rows)
    return any(row in hypothesis.unapplied for row in correction.rows) or bool(sessions and sessions[0] < first)


def _outcome(correction: Correction, *, is_recorded: bool) -> str:
    """A correction with its outcome."""
    if is_recorded:
        return f"{correction.message}; this is recorded, and the former row stays on record"
    ticker = correction.rows[0].ticker
    return (
        f"{correction.message}, but the stored prices do not show it; the record stays until earlier bars are "
        f"delivered: materialize price_history of {ticker}, or correct the source"
    )


def _judged(
    delivered: pl.DataFrame, hypothesis: SplitHypothesis, stored: StoredHistory
) -> tuple[str | None, tuple[str, ...]]:
    """Reason why a delivery is not recorded, or None; and notes on changed prices that no split explains."""
    if delivered.is_empty():
        return None, ()
    ticker: str = delivered["ticker"][0]
    reload = f"materialize price_history of {ticker}, whose bars replace the stored ones"
    declare = f"declare it in the source or with ldtm prices split {ticker} SESSION RATIO"
    if hypothesis.is_undated:
        return _undated(delivered), ()
    if hypothesis.inferred and hypothesis.unapplied:
        split, inferred = hypothesis.unapplied[-1], hypothesis.inferred[0]
        return (
            f"{ticker}: the declared split of {split.ratio:g} for 1 on {split.session} does not explain the bars, "
            f"whose prices are those after a split of {inferred.ratio:g} for 1; none of them was recorded: correct the "
            f"declaration, or if there were two splits, {declare}"
        ), ()
    on_basis = adjust(hypothesis.reference, hypothesis.inferred)
    closes = _neighbours(on_basis, stored, hypothesis.close_before)
    rescaled = rescaled_bars(
        Prices.restated(hypothesis.bars, delivered), Prices.restated(on_basis, stored.bars), closes
    )
    if rescaled and rescaled.is_mixed:
        return (
            f"{ticker}: {rescaled.message}; no bar was recorded: if it was a split, {declare}; otherwise {reload}"
        ), ()
    if rescaled:
        return None, (
            f"{ticker}: {rescaled.message}; they replace all stored bars at the other prices, and forecasts whose "
            "actuals are open are compared with the new prices",
        )
    transitions = transitions_between(hypothesis.bars, closes)
    notes = tuple(gap_note(ticker, step) for step in transitions if step.is_large and step.is_gap)
    for step in (step for step in transitions if step.is_large and not step.is_gap):
        return (
            f"{ticker}: no session is both stored and delivered, and prices go {step.move}: a large move, or a split; "
            f"no bar was recorded: deliver the bars with a session that is stored, {reload}, or if it was a split, "
            f"{declare}"
        ), ()
    return None, (*notes, *_notes(hypothesis))


def _neighbours(stored: pl.DataFrame, history: StoredHistory, close_before: float | None) -> pl.DataFrame:
    """Session and close of the stored bars, with the last one before the first delivered one."""
    own = stored.select("session", "close")
    if history.session_before is None or close_before is None or history.session_before in own["session"]:
        return own
    return pl.concat([pl.DataFrame([(history.session_before, close_before)], schema=own.schema, orient="row"), own])


def _undated(delivered: pl.DataFrame) -> str:
    """A note on a delivery that is not recorded, because stored bars would end up on two price bases."""
    ticker, sessions = delivered["ticker"][0], delivered["session"]
    return (
        f"{ticker}: the prices of the bars from {sessions[0]} to {sessions[-1]} are those after a split that the "
        "stored ones lack, and later stored bars do not show its session; no bar was recorded: materialize "
        f"price_history of {ticker}, whose newest bars show it, or declare the split in the source"
    )


def _without_rounded(bars: pl.DataFrame, delivered: pl.DataFrame, reference: pl.DataFrame) -> pl.DataFrame:
    """Restated bars without those that differ from the stored ones by no more than rounding.

    Prices may be rounded to cents on either basis, volumes to whole lots.
    """
    stored = bars.select(KEY).join(reference, on=KEY, how="left", maintain_order="left")
    cents = HALF_A_CENT * (1 + bars["close"] / delivered["close"])
    differs = pl.Series([False]).new_from_index(0, len(bars))
    for name in PRICE_COLUMNS:
        differs |= ((bars[name] - stored[name]).abs() > cents + 1e-9 * bars[name]).fill_null(value=True)
    differs |= ((bars["volume"] - stored["volume"]).abs() > VOLUME_ROUNDING * bars["volume"] + 1).fill_null(value=True)
    return bars.filter(differs)


def _notes(hypothesis: SplitHypothesis) -> tuple[str, ...]:
    """A note on changed prices that no split explains, or on the split that explains them."""
    ticker: str = hypothesis.bars["ticker"][0]
    _, old, new = common_closes(hypothesis.reference, hypothesis.bars)
    restated = ~is_same_price(old, new)
    if hypothesis.inferred:
        split, num_restated = hypothesis.inferred[0], int(np.count_nonzero(restated))
        return (
            f"{ticker}: {counted(num_restated, 'stored bar arrives', 'stored bars arrive')} at {1 / split.ratio:.6g} "
            f"times their prices: a split of {split.ratio:g} for 1 on {split.session} is recorded; if there was none, "
            f"ldtm prices split {ticker} {split.session} 1 withdraws it",
        )
    return (_doubt(ticker, old[restated], new[restated], len(old)),) if restated.any() else ()


def _doubt(ticker: str, old: Floats, new: Floats, num_overlapping: int) -> str:
    """A note on stored bars whose prices change by more than a percent and that are not taken for a split."""
    ratios = old / new
    by = f"{1 / ratios.max():.4g} to {1 / ratios.min():.4g}"
    few = f"; fewer than {MIN_RESTATED_BARS} bars cannot show a split" if num_overlapping < MIN_RESTATED_BARS else ""
    arrive, are = ("arrives", "is") if len(old) == 1 else ("arrive", "are")
    return (
        f"{ticker}: {len(old)} of {counted(num_overlapping, 'stored bar')} {arrive} at {by} times their "
        f"prices and {are} recorded as corrections{few}; if it was a split, materialize "
        f"price_history of {ticker}, or declare it in the source"
    )
