"""Conversion of raw or adjusted bars of a source to the price basis of a delivery."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

import polars as pl

from ldtm_lib.errors import MissingBar
from ldtm_lib.prices.bars import BAR_COLUMNS
from ldtm_lib.prices.sources.declared_splits import SPLITS_FILE
from ldtm_lib.prices.splits import Split, adjust, splits_from_adjusted_close
from ldtm_lib.prices.suspected_splits import jump_note
from ldtm_lib.settings import PriceBasis


@dataclass(frozen=True, slots=True, kw_only=True)
class BasisBars:
    """One ticker's bars of BAR_SCHEMA on one basis, the splits that were applied to them, and notes."""

    bars: pl.DataFrame
    splits: tuple[Split, ...]
    notes: tuple[str, ...]


def bars_on_basis(
    read: pl.DataFrame, is_basis: PriceBasis, declared: Iterable[Split], basis: date, first: date, last: date
) -> BasisBars:
    """The bars of one ticker from one session to another; raises MissingBar, without a remedy, if there is none.

    `read` is sorted and has at least one row, the columns of BAR_SCHEMA and `place`, and adj_close if the source has
    it. Raw bars are adjusted for the declared splits up to the session `basis` or, if none is declared, for the splits
    inferred from jumps of the adjusted close. Adjusted bars are used unchanged, as on the basis of that session.
    """
    ticker, sessions = read["ticker"][0], read["session"]
    splits = tuple(Split(ticker=ticker, session=split.session, ratio=split.ratio) for split in declared)
    notes: list[str] = []
    if is_basis == "raw" and not splits:
        splits = splits_from_adjusted_close(read) if "adj_close" in read.columns else ()
        if "adj_close" not in read.columns:
            notes.append(
                f"{ticker}: raw bars without an adjusted close and without a line in {SPLITS_FILE} "
                "are taken to have no split"
            )
    splits = tuple(split for split in splits if split.session <= basis)
    whole = read.select(BAR_COLUMNS)
    bars = (adjust(whole, splits) if is_basis == "raw" else whole).filter(pl.col("session").is_between(first, last))
    if bars.is_empty():
        raise MissingBar(
            f"{read['place'][-1]} has no bar of {ticker} from {first} to {last}, only from "
            f"{sessions[0]} to {sessions[-1]}"
        )
    return BasisBars(bars=bars, splits=splits, notes=(*notes, *_suspicions(bars, is_basis)))


def _suspicions(bars: pl.DataFrame, basis: PriceBasis) -> list[str]:
    """Notes on overnight jumps that look like a split which was neither declared nor adjusted for."""
    remedy = f"declare it in {SPLITS_FILE}" if basis == "raw" else 'the prices are raw: set source.basis = "raw"'
    jump = pl.col("before") / pl.col("close")
    jumps = bars.with_columns(before=pl.col("close").shift(1)).filter((jump > 1.3) | (jump < 1 / 1.3))
    notes = [
        jump_note(row["ticker"], row["session"], row["before"], row["close"], remedy)
        for row in jumps.iter_rows(named=True)
    ]
    return [note for note in notes if note is not None]
