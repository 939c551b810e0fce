"""The splits of one ticker's bars according to a source: the evidence that takes precedence, and contradictions.

Lines of splits.csv take precedence over a column of split ratios, and both over jumps of the adjusted close. Declared
splits are used unchanged; an adjusted close shows a split only if it moves by exactly a split ratio.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date

import numpy as np
import polars as pl

from ldtm_lib.errors import MalformedFile
from ldtm_lib.prices.bars import KEY
from ldtm_lib.prices.mixed_bases import LONG_GAP
from ldtm_lib.prices.sources.declared_splits import MOST_SPLIT_RATIO, SPLITS_FILE
from ldtm_lib.prices.split_ratios import (
    SAME_RATIO,
    fitting_ratios,
    is_large_move,
    is_same_ratio,
    only_ratio,
    ratio_bounds,
    rounding_of,
)
from ldtm_lib.prices.splits import Split
from ldtm_lib.settings import PriceBasis

LEAST_JUMP = 0.1
"""Smallest relative move of close / adj_close that may be a split; a smaller one is a dividend."""
SESSIONS_AROUND = 5
"""Number of sessions before and after a declared split that are searched for its jump in the raw prices."""
JUMP_TOLERANCE = 0.15
"""Largest relative difference between the ratio of a declared split and a price move on another session for which the
split is taken to have a wrong date."""
LARGEST_MOVE_BESIDE = 1.4
"""Largest factor, either way, by which the market may move on the session of a split."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitEvidence:
    """The splits of some bars, sorted, and notes on evidence that was not taken as a split."""

    splits: tuple[Split, ...]
    notes: tuple[str, ...] = ()
    complete_from: date | None = None
    """The day from which the splits are complete; None if the source does not mention splits."""


def splits_of_bars(read: pl.DataFrame, basis: PriceBasis, declared: Sequence[Split]) -> SplitEvidence:
    """The splits of one ticker's bars, sorted by session; `declared` are its lines of splits.csv.

    `read` has the columns of BAR_SCHEMA, `place`, and where the source has them `split_ratio` and `adj_close`. Raises
    MalformedFile for a column of ratios that cannot be those of splits, for a declared split whose jump the raw bars
    do not have on its session, and for an adjusted close that is too coarse to tell a ratio.
    """
    ticker = read["ticker"][0]
    in_column = _splits_in_column(ticker, read) if "split_ratio" in read.columns else ()
    if declared or in_column:
        splits = _sorted(ticker, declared or in_column)
        if basis == "raw":
            _require_jumps(read, splits)
        notes = _contradictions(declared, in_column) if declared else ()
        return SplitEvidence(splits=splits, notes=notes, complete_from=date.min if declared else read["session"][0])
    if basis == "adjusted" or "split_ratio" in read.columns:
        return SplitEvidence(splits=(), complete_from=read["session"][0] if "split_ratio" in read.columns else None)
    if "adj_close" not in read.columns:
        note = (
            f"{ticker}: raw bars without an adjusted close and without a line in {SPLITS_FILE} are taken to have no "
            "split"
        )
        return SplitEvidence(splits=(), notes=(note,))
    return replace(splits_from_adjusted_close(read), complete_from=read["session"][0])


def splits_from_adjusted_close(bars: pl.DataFrame) -> SplitEvidence:
    """The splits of raw bars, inferred from the jumps of close / adj_close.

    `bars` has the columns ticker, session, close (raw) and adj_close. A dividend moves the quotient by its yield, a
    split by its ratio; a larger move that is not a split ratio is noted. Raises MalformedFile if the decimals of
    the adjusted close allow several ratios.
    """
    splits: list[Split] = []
    notes: list[str] = []
    usable = bars.sort(KEY).filter((pl.col("close") > 0) & (pl.col("adj_close") > 0))
    for (name,), own in usable.partition_by("ticker", as_dict=True, maintain_order=True).items():
        ticker, sessions = str(name), own["session"].to_list()
        close, adjusted = own["close"].to_numpy(), own["adj_close"].to_numpy()
        least, greatest = ratio_bounds(close, adjusted, np.zeros(len(close)), rounding_of(adjusted))
        factor = close / adjusted
        for at in np.flatnonzero(np.abs(factor[:-1] / factor[1:] - 1) > LEAST_JUMP) + 1:
            jump = float(factor[at - 1] / factor[at])
            low, high = float(least[at - 1] / greatest[at]), float(greatest[at - 1] / least[at])
            ratio = only_ratio(low, high)
            if ratio is None and len(fitting_ratios(low, high)):
                raise MalformedFile(
                    f"{ticker}: close / adj_close moves by {jump:.4g} on {sessions[at]}, and the decimals of adj_close "
                    f"({adjusted[at - 1]:g}, {adjusted[at]:g}) do not show the ratio of a split; declare it in "
                    f"{SPLITS_FILE}"
                )
            if ratio is not None:
                splits.append(Split(ticker=ticker, session=sessions[at], ratio=ratio))
            else:
                notes.append(
                    f"{ticker}: close / adj_close moves by {jump:.6g} on {sessions[at]}, which is not a ratio of small "
                    "whole numbers: a spin-off or a special dividend, not a split; prices before it stay as traded"
                )
    return SplitEvidence(splits=tuple(splits), notes=tuple(notes))


def _splits_in_column(ticker: str, read: pl.DataFrame) -> tuple[Split, ...]:
    """The splits of a column of ratios, where 0, 1 or an empty field means none."""
    ratio = pl.col("split_ratio")
    stated = read.filter(ratio.is_not_null() & ratio.is_not_nan() & (ratio != 0) & (ratio != 1))
    wrong = stated.filter(~ratio.is_between(1 / MOST_SPLIT_RATIO, MOST_SPLIT_RATIO))
    for row in wrong.head(1).iter_rows(named=True):
        raise MalformedFile(
            f"{row['place']}, {row['line']} has a split ratio of {row['split_ratio']:g}; write the number of new "
            "shares per old share, or 0 for no split"
        )
    return tuple(
        Split(ticker=ticker, session=session, ratio=value)
        for session, value in stated.select("session", "split_ratio").iter_rows()
    )


def _require_jumps(read: pl.DataFrame, splits: Sequence[Split]) -> None:
    """Raise MalformedFile if the raw prices do not jump by the ratio of a large declared split on its session."""
    sessions, close = read["session"].to_list(), read["close"].to_numpy()
    moves = np.ones(len(close))
    moves[1:] = close[:-1] / close[1:]
    declared = {split.session for split in splits}
    for split in splits:
        at = int(read["session"].search_sorted(split.session))
        if not is_large_move(split.ratio) or not 0 < at < len(close) or sessions[at] - sessions[at - 1] > LONG_GAP:
            continue
        if abs(np.log(moves[at] / split.ratio)) <= np.log(LARGEST_MOVE_BESIDE):
            continue
        near = range(max(1, at - SESSIONS_AROUND), min(len(close), at + SESSIONS_AROUND + 1))
        fitting = [n for n in near if abs(moves[n] / split.ratio - 1) <= JUMP_TOLERANCE and sessions[n] not in declared]
        there = "there" if sessions[at] == split.session else f"on {sessions[at]}"
        move = f"the close goes from {close[at - 1]:g} to {close[at]:g} {there}"
        if fitting:
            n = fitting[0]
            move += f", and from {close[n - 1]:g} to {close[n]:g} on {sessions[n]}; correct the date"
        else:
            move += '; correct the split, or set the basis "adjusted" if the prices are adjusted'
        raise MalformedFile(
            f"{split.ticker}: the declared split of {split.ratio:g} for 1 on {split.session} does not fit the raw "
            f"prices: {move}"
        )


def _contradictions(declared: Sequence[Split], in_column: Sequence[Split]) -> tuple[str, ...]:
    """Notes on splits in the column that splits.csv lacks or has with another ratio."""
    ratios = {split.session: split.ratio for split in declared}
    return tuple(
        f"{split.ticker}: the column of splits has {split.ratio:g} for 1 on {split.session}, and {SPLITS_FILE}, which "
        f"takes precedence, has {'none' if split.session not in ratios else f'{ratios[split.session]:g} for 1'} there"
        for split in in_column
        if not is_same_ratio(ratios.get(split.session, 0), split.ratio, SAME_RATIO)
    )


def _sorted(ticker: str, splits: Sequence[Split]) -> tuple[Split, ...]:
    own = (Split(ticker=ticker, session=split.session, ratio=split.ratio) for split in splits)
    return tuple(sorted(own, key=lambda split: split.session))
