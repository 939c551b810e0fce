"""Read what the bars on both sides of a delivery tell: which splits each side lacks, and which one nobody has told of.

Evidence comes first: bars of the same session in the delivery and in the store tell by their ratio. Before a split
that takes a known one back, bars arrive as from a source that has forgotten the known one; so a reading must account
for as many bars as it can, not for some. Where bars do not tell, the dates decide: a delivery has applied the splits
up to its basis, the store those up to its newest bar.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt
import polars as pl

from ldtm_lib.prices.splits import Floats, Split, adjust, is_same_price, restatement_ratio
from ldtm_lib.sessions import Calendar


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What the store holds of one ticker."""

    bars: pl.DataFrame
    """Current bars of the delivered range, or the ticker's whole history; sorted by session.

    The whole history where the store has bars after the delivered range.
    """
    splits: tuple[Split, ...]
    newest: date | None
    """The newest stored session; None when nothing is stored."""
    session_before: date | None
    """The session of the last stored bar before the first delivered one."""
    close_before: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One way to read a delivery: what each side lacks, and what is then left to be noticed."""

    missing: tuple[Split, ...]
    """Known splits that the delivered bars have not applied."""
    unapplied: tuple[Split, ...]
    """Splits just declared that the stored bars have not applied."""
    noticed: tuple[Split, ...]
    """The split by which the delivery restates stored bars without saying so, or none."""
    is_undated: bool
    """Whether all bars on both sides are restated by a split, and stored bars after them do not tell since when."""
    bars: pl.DataFrame
    """The delivered bars with what they lack."""
    reference: pl.DataFrame
    """The stored bars with what they lack, but for the noticed split."""
    close_before: float | None
    """The stored close before the first delivered bar, on the basis of `reference`."""
    num_same: int
    """Bars on both sides that have the same close."""
    num_explained: int
    """The same, once the noticed split is applied too."""


def best_reading(
    delivered: pl.DataFrame,
    silent: Sequence[Split],
    fresh: Sequence[Split],
    basis: date,
    stored: Stored,
    calendar: Calendar,
) -> Reading:
    """The reading that explains most of the bars on both sides; of equals the one that notices least, then the dates'.

    `silent` are known splits that the delivery does not declare, `fresh` those that it declares and nobody knew, both
    by session. Of either a side lacks the newest, from one of them on, or none.
    """
    by_date = len([split for split in silent if split.session <= basis]), _num_applied_by_date(fresh, stored)
    readings = {
        (known, new): _read(delivered, tuple(silent[known:]), tuple(fresh[new:]), stored, calendar)
        for known in range(len(silent) + 1)
        for new in range(len(fresh) + 1)
    }

    def evidence(at: tuple[int, int]) -> tuple[int, int, int]:
        num_as_dated = sum(one == dated for one, dated in zip(at, by_date, strict=True))
        return readings[at].num_explained, readings[at].num_same, num_as_dated

    return readings[max(readings, key=evidence)]


def common_closes(left: pl.DataFrame, right: pl.DataFrame) -> tuple[list[date], Floats, Floats]:
    """Sessions on both sides with the closes of each, sorted."""
    both = left.join(right.select("session", "close"), on="session", suffix="_right").sort("session")
    return both["session"].to_list(), both["close"].to_numpy(), both["close_right"].to_numpy()


def _read(
    delivered: pl.DataFrame,
    missing: tuple[Split, ...],
    unapplied: tuple[Split, ...],
    stored: Stored,
    calendar: Calendar,
) -> Reading:
    bars, reference = adjust(delivered, missing), adjust(stored.bars, unapplied)
    _, old, new = common_closes(reference, bars)
    num_same = int(is_same_price(old, new).sum())
    close_before = _close_before(stored, unapplied)
    told_until = max([stored.newest or date.min, *(split.session for split in (*stored.splits, *unapplied))])
    noticed = _notice(bars, reference, close_before, told_until, calendar)
    return Reading(
        missing=missing,
        unapplied=unapplied,
        noticed=noticed or (),
        is_undated=noticed is None,
        bars=bars,
        reference=reference,
        close_before=close_before,
        num_same=num_same,
        num_explained=len(old) if noticed else num_same,
    )


def _notice(
    bars: pl.DataFrame, reference: pl.DataFrame, close_before: float | None, told_until: date, calendar: Calendar
) -> tuple[Split, ...] | None:
    """The split of a delivery whose first bars on both sides come at one ratio, and all later ones as they are stored.

    The delivery must be the side that goes on without a jump, at the split and where it follows an older bar. A split
    of all bars on both sides comes after every split that was told of and, where no later bar is stored, after every
    stored bar; where some are, they jump by its ratio on its session. None when they do not tell.
    """
    sessions, old, new = common_closes(reference, bars)
    restated = ~is_same_price(old, new)
    num_restated = len(old) if restated.all() else int(np.argmin(restated))
    ratio = restatement_ratio(old[:num_restated], new[:num_restated])
    if ratio is None or restated[num_restated:].any():
        return ()
    is_in_between = num_restated < len(sessions)
    jumps = [close_before / bars["close"][0]] if close_before is not None else []
    jumps += [old[num_restated - 1] / new[num_restated]] if is_in_between else []
    if not all(_is_nearer(jump, ratio) for jump in jumps):
        return ()
    later = reference.filter(pl.col("session") > sessions[-1])
    if is_in_between:
        since = sessions[num_restated]
    elif later.is_empty():
        since = _first_after(told_until, bars, calendar)
    else:
        since = _only_jump(float(old[-1]), later, ratio)
    return None if since is None else (Split(ticker=bars["ticker"][0], session=since, ratio=ratio),)


def _only_jump(close_before: float, later: pl.DataFrame, ratio: float) -> date | None:
    """The session on which stored bars after a close jump by a split's ratio; None when they do so never or often."""
    closes = np.concatenate([[close_before], later["close"].to_numpy()])
    jumps = np.flatnonzero(_is_nearer(closes[:-1] / closes[1:], ratio))
    return later["session"][int(jumps[0])] if len(jumps) == 1 else None


def _first_after(session: date, bars: pl.DataFrame, calendar: Calendar) -> date:
    """The first later session of a bar, or of the calendar."""
    later = bars.filter(pl.col("session") > session)["session"]
    return calendar.offset(session, 1) if later.is_empty() else later[0]


def _close_before(stored: Stored, unapplied: Sequence[Split]) -> float | None:
    """The close before the first delivered bar, on the basis after some splits."""
    if stored.session_before is None or stored.close_before is None:
        return None
    ratios = [split.ratio for split in unapplied if stored.session_before < split.session]
    return stored.close_before / float(np.prod(ratios))


def _num_applied_by_date(fresh: Sequence[Split], stored: Stored) -> int:
    """How many of the splits just declared the stored bars have had all along, by where they end and jump."""
    num_applied = len(fresh)
    while num_applied and _looks_unapplied(stored, fresh[num_applied - 1]):
        num_applied -= 1
    return num_applied


def _looks_unapplied(stored: Stored, split: Split) -> bool:
    """Whether stored bars end before a split, or jump by its ratio on its session."""
    if stored.newest is not None and stored.newest < split.session:
        return True
    before = stored.bars.filter(pl.col("session") < split.session).tail(1)
    since = stored.bars.filter(pl.col("session") >= split.session).head(1)
    if before.is_empty() or since.is_empty():
        return False
    return bool(_is_nearer(before["close"][0] / since["close"][0], split.ratio))


def _is_nearer(measured: Floats | float, ratio: float) -> npt.NDArray[np.bool_]:
    """Whether a measured ratio is nearer to a split's than to one."""
    return np.abs(np.log(measured / ratio)) < np.abs(np.log(measured))
