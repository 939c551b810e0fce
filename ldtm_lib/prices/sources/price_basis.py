"""Conversion of raw or adjusted bars of a source to the price basis of a delivery."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

import polars as pl

from ldtm_lib.errors import MalformedFile, MissingBar
from ldtm_lib.prices.bars import BAR_COLUMNS, KEY, LEAST_PRICE, MOST_PRICE, MOST_PRICE_RATIO
from ldtm_lib.prices.mixed_bases import Transition, gap_note
from ldtm_lib.prices.sources.declared_splits import SPLITS_FILE
from ldtm_lib.prices.sources.split_evidence import splits_of_bars
from ldtm_lib.prices.splits import Split, adjust
from ldtm_lib.prices.suspected_splits import jump_note
from ldtm_lib.settings import PriceBasis


@dataclass(frozen=True, slots=True, kw_only=True)
class BasisBars:
    """One ticker's bars of BAR_SCHEMA on one basis, the splits that were applied to them, and notes."""

    bars: pl.DataFrame
    splits: tuple[Split, ...]
    notes: tuple[str, ...]
    places: pl.DataFrame
    """As in a delivery."""
    basis: date
    """The last session whose splits the bars have."""
    splits_from: date | None
    """The day from which the splits are complete; None if the source does not mention splits."""


def bars_on_basis(
    read: pl.DataFrame, is_basis: PriceBasis, declared: Iterable[Split], basis: date, first: date, last: date
) -> BasisBars:
    """The bars of one ticker from one session to another; raises MissingBar, without a remedy, if there is none,
    and MalformedFile for a jump of the close beyond MOST_PRICE_RATIO, which no split explains.

    `read` is sorted and has at least one row, the columns of BAR_SCHEMA, `place` and `line`, and split_ratio and
    adj_close if the source has them. Raw bars are adjusted for their splits up to the session `basis` (see
    `splits_of_bars`). Adjusted bars are used unchanged, as on the basis of that session.
    """
    ticker, sessions = read["ticker"][0], read["session"]
    found = splits_of_bars(read, is_basis, tuple(declared))
    splits = tuple(split for split in found.splits if split.session <= basis)
    whole = read.select(BAR_COLUMNS)
    bars = (adjust(whole, splits) if is_basis == "raw" else whole).filter(pl.col("session").is_between(first, last))
    if bars.is_empty():
        raise MissingBar(
            f"{read['place'][-1]} has no bar of {ticker} from {first} to {last}, only from "
            f"{sessions[0]} to {sessions[-1]}"
        )
    within = read.filter(pl.col("session").is_between(first, last))
    places = within.select(*KEY, place=pl.format("{}, {}", "place", "line"))
    _require_neighbours(bars, places, is_basis)
    return BasisBars(
        bars=bars,
        splits=splits,
        notes=(*found.notes, *_suspicions(bars, is_basis)),
        places=places,
        basis=date.min if is_basis == "raw" and found.complete_from is None else basis,
        splits_from=found.complete_from,
    )


def _require_neighbours(bars: pl.DataFrame, places: pl.DataFrame, basis: PriceBasis) -> None:
    """Raise MalformedFile for two neighbouring bars whose closes no trading can explain; `places` is in their order."""
    possible = (
        bars.select("close")
        .with_columns(places["place"])
        .filter(pl.col("close").is_between(LEAST_PRICE, MOST_PRICE))  # the others are refused one by one
        .with_columns(before=pl.col("close").shift(1), place_before=pl.col("place").shift(1))
    )
    ratio = pl.col("close") / pl.col("before")
    beyond = possible.filter((ratio > MOST_PRICE_RATIO) | (ratio < 1 / MOST_PRICE_RATIO))
    for row in beyond.head(1).iter_rows(named=True):
        split = f", or declare its split in {SPLITS_FILE}" if basis == "raw" else ""
        raise MalformedFile(
            f"{row['place']}: the close goes from {row['before']:g} ({row['place_before']}) to "
            f"{row['close']:g}, above the bound of a ratio of {MOST_PRICE_RATIO:,.0f}; correct the bar{split}"
        )


def _suspicions(bars: pl.DataFrame, basis: PriceBasis) -> list[str]:
    """Notes on overnight jumps that look like a split which was neither declared nor adjusted for."""
    remedy = f"declare it in {SPLITS_FILE}" if basis == "raw" else 'the prices are raw: set source.basis = "raw"'
    jump = pl.col("before") / pl.col("close")
    before = bars.with_columns(before=pl.col("close").shift(1), session_before=pl.col("session").shift(1))
    jumps = before.filter((jump > 1.3) | (jump < 1 / 1.3))
    notes: list[str | None] = []
    for row in jumps.iter_rows(named=True):
        step = Transition(
            session=row["session_before"], close=row["before"], later_session=row["session"], later_close=row["close"]
        )
        notes.append(
            gap_note(row["ticker"], step)
            if step.is_gap
            else jump_note(row["ticker"], row["session"], row["before"], row["close"], remedy)
        )
    return [note for note in notes if note is not None]
