"""Adjustment: put delivered and stored bars of one ticker on one price basis, and note changes no split explains."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import polars as pl

from ldtm_lib.prices.bars import KEY, PRICE_COLUMNS
from ldtm_lib.prices.split_inference import SplitHypothesis, StoredHistory, common_closes, infer_splits
from ldtm_lib.prices.splits import (
    HALF_A_CENT,
    MIN_RESTATED_BARS,
    RATIO_TOLERANCE,
    Floats,
    Split,
    adjust,
    is_same_price,
)
from ldtm_lib.prices.suspected_splits import jump_note, rescaling_note
from ldtm_lib.sessions import Calendar

SAME_SPLIT_WITHIN = timedelta(days=31)
"""A split that was noticed by a restatement is dated by the bars around it; its declaration may name another day."""
VOLUME_ROUNDING = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Adjusted:
    """A delivery of one ticker, adjusted to the price basis that the stored bars have after the ingest."""

    bars: pl.DataFrame
    """The delivered bars; if they came on an older basis, without those that are stored already.

    Empty if they show a split whose session cannot be inferred: stored bars would end up on two price bases.
    """
    unapplied: tuple[Split, ...]
    """New splits that the stored bars do not have yet."""
    applied: tuple[Split, ...]
    """New splits that the stored bars have had all along."""
    notes: tuple[str, ...]


def adjust_delivery(
    delivered: pl.DataFrame, declared: Sequence[Split], basis: date, stored: StoredHistory, calendar: Calendar
) -> Adjusted:
    """Adjust one ticker's delivery: `delivered` is sorted by session, `basis` is the last session whose splits it has.

    A declared split that stored bars have already is the known, undeclared one of the same ratio, however far apart
    the two are dated: after weeks without bars, an inferred split is dated by the first bar that arrived.
    """
    newly_declared = [
        split for split in _by_session(declared) if not any(_is_same_split(split, k) for k in stored.splits)
    ]
    undeclared = [k for k in _by_session(stored.splits) if not any(_is_same_split(k, split) for split in declared)]
    disputed = _disputes(declared, stored.splits)
    if stored.newest is None:
        bars = adjust(delivered, [split for split in undeclared if split.session > basis])
        return Adjusted(bars=bars, unapplied=(), applied=tuple(newly_declared), notes=disputed)
    hypothesis = infer_splits(delivered, undeclared, newly_declared, basis, stored, calendar)
    if hypothesis.is_undated:
        return Adjusted(bars=delivered.clear(), unapplied=(), applied=(), notes=(*disputed, _undated(delivered)))
    bars, applied = hypothesis.bars, [split for split in newly_declared if split not in hypothesis.unapplied]
    if hypothesis.missing:
        bars = _without_rounded(bars, delivered, adjust(hypothesis.reference, hypothesis.inferred))
    return Adjusted(
        bars=bars,
        unapplied=(*hypothesis.unapplied, *hypothesis.inferred),
        applied=tuple(split for split in applied if not any(_is_alike(split, known) for known in undeclared)),
        notes=(*disputed, *_notes(hypothesis)),
    )


def _disputes(declared: Sequence[Split], known: Sequence[Split]) -> tuple[str, ...]:
    """Notes on splits that are declared with another ratio than the one on record."""
    return tuple(
        f"{new.ticker}: a split of {new.ratio:g} for 1 on {new.session} is declared, {old.ratio:g} for 1 is on record "
        "and stays; correct the source, or the row of table split"
        for new in declared
        for old in known
        if new.session == old.session and not _is_alike(new, old)
    )


def _undated(delivered: pl.DataFrame) -> str:
    """A note on a delivery that is not recorded, because stored bars would end up on two price bases."""
    ticker, sessions = delivered["ticker"][0], delivered["session"]
    return (
        f"{ticker}: the bars from {sessions[0]} to {sessions[-1]} arrive as after a split that the stored ones do not "
        "have, and later stored bars do not tell since when; nothing of it was recorded: materialize price_history of "
        f"{ticker}, whose newest bars tell, or declare the split to the source"
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
    """Notes on changed prices that no split explains."""
    bars, reference = hypothesis.bars, hypothesis.reference
    if bars.is_empty() or hypothesis.inferred:
        return ()
    if rescaled := _rescaling(reference, bars):
        return rescaled
    _, old, new = common_closes(reference, bars)
    restated = ~is_same_price(old, new)
    if not restated.any():
        return _suspicion(bars, old, hypothesis.close_before)
    return (_doubt(bars["ticker"][0], old[restated], new[restated], len(old)),)


def _suspicion(bars: pl.DataFrame, overlap: Floats, close_before: float | None) -> tuple[str, ...]:
    """A note on a jump that could be a split, if no session is both stored and delivered."""
    if len(overlap) or close_before is None:
        return ()
    ticker: str = bars["ticker"][0]
    remedy = f"materialize price_history of {ticker}, whose bars of earlier sessions tell, or declare it to the source"
    note = jump_note(ticker, bars["session"][0], close_before, bars["close"][0], remedy)
    return () if note is None else (note,)


def _rescaling(reference: pl.DataFrame, bars: pl.DataFrame) -> tuple[str, ...]:
    """A note on stored bars that arrive at a constant multiple which is not the ratio of a split."""
    both = reference.join(bars, on="session", suffix="_new").sort("session")
    stored, delivered = both.select(PRICE_COLUMNS), both.select(f"{name}_new" for name in PRICE_COLUMNS)
    note = rescaling_note(bars["ticker"][0], stored.to_numpy(), delivered.to_numpy())
    return () if note is None else (note,)


def _doubt(ticker: str, old: Floats, new: Floats, num_overlapping: int) -> str:
    """A note on stored bars whose prices change by more than a percent and that are not taken for a split."""
    ratios = old / new
    by = f"{1 / ratios.max():.4g} to {1 / ratios.min():.4g}"
    few = f"; fewer than {MIN_RESTATED_BARS} bars cannot tell a split" if num_overlapping < MIN_RESTATED_BARS else ""
    return (
        f"{ticker}: {len(old)} of {num_overlapping} stored bars arrive at {by} times their prices and are recorded as "
        f"corrections{few}; if it was a split, materialize price_history of {ticker}, or declare it to the source"
    )


def _is_same_split(one: Split, other: Split) -> bool:
    is_near = abs(one.session - other.session) <= SAME_SPLIT_WITHIN
    return one.session == other.session or (is_near and _is_alike(one, other))


def _is_alike(one: Split, other: Split) -> bool:
    return abs(one.ratio / other.ratio - 1) <= RATIO_TOLERANCE


def _by_session(splits: Sequence[Split]) -> list[Split]:
    return sorted(splits, key=lambda split: split.session)
