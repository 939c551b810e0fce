"""Put what arrives and what is stored of one ticker on one price basis, and notice the splits that this takes.

Evidence comes first: bars of the same session on both sides tell by their ratio which splits each side has
applied. Where no session is on both sides, the dates decide: a delivery has applied the splits up to its basis,
the store those up to its newest bar.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import polars as pl

from ldtm_lib.prices.bars import KEY, PRICE_COLUMNS
from ldtm_lib.prices.splits import (
    HALF_A_CENT,
    MIN_RESTATED_BARS,
    RATIO_TOLERANCE,
    Floats,
    Split,
    adjust,
    is_same_price,
    restatement_ratio,
)
from ldtm_lib.prices.suspicions import jump_note, rescaling_note
from ldtm_lib.sessions import Calendar

SAME_SPLIT_WITHIN = timedelta(days=31)
"""A split that was noticed by a restatement is dated by the bars around it; its declaration may name another day."""
VOLUME_ROUNDING = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What the store holds of one ticker."""

    bars: pl.DataFrame
    """Current bars of the delivered range, or more of the ticker's history; sorted by session."""
    splits: tuple[Split, ...]
    newest: date | None
    """The newest stored session; None when nothing is stored."""
    session_before: date | None
    """The session of the last stored bar before the first delivered one."""
    close_before: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """A delivery of one ticker on the basis that the store shall have from now on."""

    bars: pl.DataFrame
    """The delivered bars; where they came on an older basis, without those that the store has already."""
    unapplied: tuple[Split, ...]
    """New splits that the stored bars do not have yet."""
    applied: tuple[Split, ...]
    """New splits that the stored bars have had all along."""
    notes: tuple[str, ...]


def settle(
    delivered: pl.DataFrame, declared: Sequence[Split], basis: date, stored: Stored, calendar: Calendar
) -> Settled:
    """Settle one ticker's delivery: `delivered` is sorted by session, `basis` is where the source's splits end."""
    fresh = [split for split in _by_session(declared) if not any(_is_same_split(split, k) for k in stored.splits)]
    disputed = _disputes(declared, stored.splits)
    missing = _missing_in_delivery(delivered, declared, basis, stored)
    bars = adjust(delivered, missing)
    if stored.newest is None:
        return Settled(bars=bars, unapplied=(), applied=tuple(fresh), notes=disputed)
    unapplied = _unapplied_in_store(bars, fresh, stored)
    reference = adjust(stored.bars, unapplied)
    noticed, notes = _notice(bars, reference, _close_before(stored, unapplied), stored.newest, calendar)
    applied = tuple(split for split in fresh if split not in unapplied)
    if missing:
        bars = _without_rounded(bars, delivered, adjust(reference, noticed))
    return Settled(bars=bars, unapplied=(*unapplied, *noticed), applied=applied, notes=(*disputed, *notes))


def _close_before(stored: Stored, unapplied: Sequence[Split]) -> float | None:
    """The close before the first delivered bar, on the basis after some splits."""
    if stored.session_before is None or stored.close_before is None:
        return None
    ratios = [split.ratio for split in unapplied if stored.session_before < split.session]
    return stored.close_before / float(np.prod(ratios))


def _disputes(declared: Sequence[Split], known: Sequence[Split]) -> tuple[str, ...]:
    """Notes on splits that are declared by another ratio than the one on record."""
    return tuple(
        f"{new.ticker}: a split of {new.ratio:g} for 1 on {new.session} is declared, {old.ratio:g} for 1 is on record "
        "and stays; correct the source, or the row of table split"
        for new in declared
        for old in known
        if new.session == old.session and abs(new.ratio / old.ratio - 1) > RATIO_TOLERANCE
    )


def _missing_in_delivery(
    delivered: pl.DataFrame, declared: Sequence[Split], basis: date, stored: Stored
) -> tuple[Split, ...]:
    """The newest of the known splits that the delivered bars have not applied yet."""
    candidates = [k for k in _by_session(stored.splits) if not any(_is_same_split(k, split) for split in declared)]
    by_date = len([split for split in candidates if split.session <= basis])
    matches = [_num_same(stored.bars, adjust(delivered, candidates[at:])) for at in range(len(candidates) + 1)]
    return tuple(candidates[_best(matches, by_date) :])


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


def _unapplied_in_store(bars: pl.DataFrame, fresh: Sequence[Split], stored: Stored) -> tuple[Split, ...]:
    """The newest of the splits just declared that the stored bars have not applied yet."""
    by_date = len(fresh)
    while by_date and _looks_unapplied(stored, fresh[by_date - 1]):
        by_date -= 1
    matches = [_num_same(adjust(stored.bars, fresh[at:]), bars) for at in range(len(fresh) + 1)]
    return tuple(fresh[_best(matches, by_date) :])


def _looks_unapplied(stored: Stored, split: Split) -> bool:
    """Whether stored bars end before a split, or jump by its ratio on its session."""
    if stored.newest is not None and stored.newest < split.session:
        return True
    before = stored.bars.filter(pl.col("session") < split.session).tail(1)
    since = stored.bars.filter(pl.col("session") >= split.session).head(1)
    if before.is_empty() or since.is_empty():
        return False
    return _is_nearer(before["close"][0] / since["close"][0], split.ratio)


def _notice(
    bars: pl.DataFrame, reference: pl.DataFrame, close_before: float | None, newest: date, calendar: Calendar
) -> tuple[tuple[Split, ...], tuple[str, ...]]:
    """The split by which the delivery restates stored bars without saying so, or a note where it cannot be told."""
    if bars.is_empty():
        return (), ()
    sessions, old, new = _common_closes(reference, bars)
    restated = ~is_same_price(old, new)
    rescaled = _rescaling(reference, bars)
    if not restated.any():
        return (), rescaled or _suspicion(bars, old, close_before)
    num_restated = len(old) if restated.all() else int(np.argmin(restated))
    ticker: str = bars["ticker"][0]
    ratio = restatement_ratio(old[:num_restated], new[:num_restated])
    goes_on = bool((~restated[num_restated:]).all())
    is_continuous = close_before is None or ratio is None or _is_nearer(close_before / bars["close"][0], ratio)
    if ratio is None or not goes_on or not is_continuous:
        return (), rescaled or (_doubt(ticker, old[restated], new[restated], len(old)),)
    since = sessions[num_restated] if num_restated < len(sessions) else _first_after(newest, bars, calendar)
    return (Split(ticker=ticker, session=since, ratio=ratio),), ()


def _first_after(newest: date, bars: pl.DataFrame, calendar: Calendar) -> date:
    """The first session on a new basis that every stored bar precedes."""
    later = bars.filter(pl.col("session") > newest)["session"]
    return calendar.offset(newest, 1) if later.is_empty() else later[0]


def _suspicion(bars: pl.DataFrame, overlap: Floats, close_before: float | None) -> tuple[str, ...]:
    """A note on a jump that could be a split, when no bar on both sides tells."""
    if len(overlap) or close_before is None:
        return ()
    ticker: str = bars["ticker"][0]
    remedy = f"materialize price_history of {ticker}, whose bars of earlier sessions tell, or declare it to the source"
    note = jump_note(ticker, bars["session"][0], close_before, bars["close"][0], remedy)
    return () if note is None else (note,)


def _rescaling(reference: pl.DataFrame, bars: pl.DataFrame) -> tuple[str, ...]:
    """A note on stored bars that arrive at a constant multiple which is no split's."""
    both = reference.join(bars, on="session", suffix="_new").sort("session")
    stored, delivered = both.select(PRICE_COLUMNS), both.select(f"{name}_new" for name in PRICE_COLUMNS)
    note = rescaling_note(bars["ticker"][0], stored.to_numpy(), delivered.to_numpy())
    return () if note is None else (note,)


def _doubt(ticker: str, old: Floats, new: Floats, num_overlapping: int) -> str:
    """A note on stored bars whose prices change by more than a percent without being taken for a split."""
    ratios = old / new
    by = f"{1 / ratios.max():.4g} to {1 / ratios.min():.4g}"
    few = f"; fewer than {MIN_RESTATED_BARS} bars cannot tell a split" if num_overlapping < MIN_RESTATED_BARS else ""
    return (
        f"{ticker}: {len(old)} of {num_overlapping} stored bars arrive at {by} times their prices and are recorded as "
        f"corrections{few}; if it was a split, materialize price_history of {ticker}, or declare it to the source"
    )


def _common_closes(left: pl.DataFrame, right: pl.DataFrame) -> tuple[list[date], Floats, Floats]:
    """Sessions on both sides with the closes of each, sorted."""
    both = left.join(right.select("session", "close"), on="session", suffix="_right").sort("session")
    return both["session"].to_list(), both["close"].to_numpy(), both["close_right"].to_numpy()


def _num_same(left: pl.DataFrame, right: pl.DataFrame) -> int:
    _, old, new = _common_closes(left, right)
    return int(is_same_price(old, new).sum())


def _best(matches: Sequence[int], by_date: int) -> int:
    """Where most bars match; the dates decide between equals."""
    return by_date if matches[by_date] == max(matches) else int(np.argmax(matches))


def _is_nearer(measured: float, ratio: float) -> bool:
    """Whether a measured ratio is nearer to a split's than to one."""
    return bool(abs(np.log(measured / ratio)) < abs(np.log(measured)))


def _is_same_split(one: Split, other: Split) -> bool:
    alike = abs(one.ratio / other.ratio - 1) <= RATIO_TOLERANCE
    return one.session == other.session or (alike and abs(one.session - other.session) <= SAME_SPLIT_WITHIN)


def _by_session(splits: Sequence[Split]) -> list[Split]:
    return sorted(splits, key=lambda split: split.session)
