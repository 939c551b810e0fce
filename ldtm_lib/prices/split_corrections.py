"""Comparison of declared splits with those on record: new splits, corrections, and those that are not recorded.

A correction is a further row of its session, whose ratio is the factor between the right split and the one on record; a
withdrawal is the factor to 1. So the product of a session's rows is the split that counts, and every row stays on
record.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

from ldtm_lib.prices.split_ratios import SAME_RATIO, is_same_ratio
from ldtm_lib.prices.splits import RATIO_TOLERANCE, Split

Origin = Literal["declared", "inferred", "operator"]
"""Origin of a row of the record."""
SAME_SPLIT_WITHIN = timedelta(days=31)
"""A split that was noticed by a restatement is dated by the bars around it; its declaration may name another day."""
MOVED_WITHIN = timedelta(days=366)
"""Largest shift of a declared date: if day and month were exchanged, the dates are at most 11 months apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """One change of the record in words, and the rows that make it."""

    rows: tuple[Split, ...]
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """Declared splits of a delivery, compared with those on record."""

    new: tuple[Split, ...]
    """Splits that are not on record, and the rows of the corrections; sorted by session."""
    corrections: tuple[Correction, ...]
    undeclared: tuple[Split, ...]
    """Splits on record that the delivery does not declare, and the factors from declared splits that the operator ruled
    out to the operator's; sorted by session."""
    notes: tuple[str, ...]


def compare_with_record(
    declared: Sequence[Split],
    known: Sequence[Split],
    origins: Mapping[date, Origin],
    *,
    complete_from: date,
) -> Declared:
    """Compare the declared splits of one ticker with its known ones, of which `origins` has every session.

    Only the operator can change a split that the operator stated. If a split of the same ratio is on record for another
    session that the source does not declare, one of the dates is wrong: a declared split is moved, if the splits of the
    source are complete at its session (from `complete_from` on) and the dates are at most MOVED_WITHIN apart; an
    inferred split at most SAME_SPLIT_WITHIN away is taken to be the declared one.
    """
    by_session, sessions = {split.session: split for split in known}, {split.session for split in declared}
    new: list[Split] = []
    corrections: list[Correction] = []
    same: set[date] = set()
    ruled_out: list[Split] = []
    notes: list[str] = []
    for split in sorted(declared, key=lambda each: each.session):
        on_record = by_session.get(split.session)
        known_ratio = on_record.ratio if on_record else 1.0
        origin_on_record = origins.get(split.session)
        tolerance = RATIO_TOLERANCE if origin_on_record == "inferred" else SAME_RATIO
        if is_same_ratio(split.ratio, known_ratio, tolerance):
            same.add(split.session)
        elif origin_on_record == "operator":
            notes.append(_ruled_out(split, known_ratio))
            same.add(split.session)
            ruled_out.append(Split(ticker=split.ticker, session=split.session, ratio=known_ratio / split.ratio))
        elif on_record is not None:
            same.add(split.session)
            row = Split(ticker=split.ticker, session=split.session, ratio=split.ratio / known_ratio)
            message = f"the split of {known_ratio:g} for 1 on {split.session} is declared to be {split.ratio:g} for 1"
            corrections.append(Correction(rows=(row,), message=f"{split.ticker}: {message}"))
        elif other := _dated_otherwise(split, known, sessions, origins, complete_from):
            same.add(other.session)
            if origins.get(other.session) == "declared":
                taken_back = Split(ticker=other.ticker, session=other.session, ratio=1 / other.ratio)
                message = f"the split of {split.ratio:g} for 1 on {other.session} is declared to be of {split.session}"
                corrections.append(Correction(rows=(taken_back, split), message=f"{split.ticker}: {message}"))
        else:
            new.append(split)
    rows = (*new, *(row for correction in corrections for row in correction.rows))
    return Declared(
        new=tuple(sorted(rows, key=lambda split: split.session)),
        corrections=tuple(corrections),
        undeclared=tuple(
            sorted((*(s for s in known if s.session not in same), *ruled_out), key=lambda split: split.session)
        ),
        notes=tuple(notes),
    )


def _dated_otherwise(
    split: Split, known: Sequence[Split], declared: set[date], origins: Mapping[date, Origin], complete_from: date
) -> Split | None:
    """The nearest split on record of the same ratio whose session is not declared and may be a wrong one."""

    def may_be(other: Split) -> bool:
        distance = abs(split.session - other.session)
        if origins.get(other.session) == "declared":
            return other.session >= complete_from and distance <= MOVED_WITHIN
        return origins.get(other.session) == "inferred" and distance <= SAME_SPLIT_WITHIN

    alike = [
        other
        for other in known
        if other.session not in declared and is_same_ratio(split.ratio, other.ratio, RATIO_TOLERANCE) and may_be(other)
    ]
    return min(alike, key=lambda other: abs(split.session - other.session), default=None)


def _ruled_out(split: Split, ratio: float) -> str:
    stated = "no split" if ratio == 1 else f"a split of {ratio:g} for 1"
    return (
        f"{split.ticker}: the source declares a split of {split.ratio:g} for 1 on {split.session}, but {stated} was "
        "stated by hand, which counts; correct the source, or run ldtm prices split "
        f"{split.ticker} {split.session} RATIO"
    )
