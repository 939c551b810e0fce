"""Split inference: known splits that the delivered or the stored bars of a ticker lack, and an undeclared split.

The first evidence is the ratio of delivered to stored closes of the same sessions. If a split reverses an earlier one,
the bars before both look as if the source did not know the earlier split; a hypothesis must therefore explain as many
bars as possible, not only some. If the bars do not decide, the dates do: a delivery is taken to have applied the splits
up to its basis, and stored bars those up to the newest stored session.
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt
import polars as pl

from ldtm_lib.prices.bars import PRICE_COLUMNS
from ldtm_lib.prices.mixed_bases import LONG_GAP
from ldtm_lib.prices.split_corrections import Origin
from ldtm_lib.prices.split_ratios import Floats
from ldtm_lib.prices.splits import Split, adjust, is_same_price, restatement_ratio
from ldtm_lib.sessions import Calendar


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredHistory:
    """The stored bars and known splits of one ticker."""

    bars: pl.DataFrame
    """Current bars, sorted by session.

    The ticker's whole history if a split is newly declared or if there are stored bars after the delivered range;
    otherwise only the bars of the delivered range.
    """
    splits: tuple[Split, ...]
    origins: Mapping[date, Origin]
    """Origin of the newest row of each session with a split, a withdrawn one included."""
    restated: Set[date]
    """Sessions of splits whose ratio restated stored bars that have not been delivered again since."""
    newest: date | None
    """The newest stored session; None when nothing is stored."""
    session_before: date | None
    """The session of the last stored bar before the first delivered one."""
    close_before: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitHypothesis:
    """One explanation of a delivery: the splits that each side lacks, and an undeclared split inferred from them."""

    missing: tuple[Split, ...]
    """Known splits that the delivered bars have not applied."""
    unapplied: tuple[Split, ...]
    """Newly declared splits that the stored bars have not applied."""
    inferred: tuple[Split, ...]
    """The undeclared split by which the delivery restates stored bars, if there is one."""
    is_undated: bool
    """True if a split restates all common bars and later stored bars do not show its session."""
    bars: pl.DataFrame
    """The delivered bars, adjusted for `missing`."""
    reference: pl.DataFrame
    """The stored bars, adjusted for `unapplied` but not for `inferred`."""
    close_before: float | None
    """The stored close before the first delivered bar, on the basis of `reference`."""
    num_same: int
    """Common bars that have the same close."""
    num_explained: int
    """Common bars that have the same close once `inferred` is applied too."""

    @property
    def evidence(self) -> tuple[int, int]:
        """Evidence for the hypothesis; more is better."""
        return self.num_explained, self.num_same


def infer_splits(
    delivered: pl.DataFrame,
    undeclared: Sequence[Split],
    newly_declared: Sequence[Split],
    basis: date,
    stored: StoredHistory,
    calendar: Calendar,
) -> SplitHypothesis:
    """The hypothesis that explains the most common bars.

    Ties go to the one that explains more of them without an inferred split, then to the one that the dates suggest.

    `undeclared` are known splits that the delivery does not declare, `newly_declared` are declared splits that were not
    known before; both are sorted by session. A side lacks either no split or all splits from some session on.
    """
    as_dated = (
        len([split for split in undeclared if split.session <= basis]),
        _num_applied_by_date(newly_declared, stored),
    )
    hypotheses = {
        (known, new): _hypothesis(delivered, tuple(undeclared[known:]), tuple(newly_declared[new:]), stored, calendar)
        for known in range(len(undeclared) + 1)
        for new in range(len(newly_declared) + 1)
    }

    def evidence(at: tuple[int, int]) -> tuple[int, int, int]:
        num_as_dated = sum(one == dated for one, dated in zip(at, as_dated, strict=True))
        return (*hypotheses[at].evidence, num_as_dated)

    return hypotheses[max(hypotheses, key=evidence)]


def common_closes(left: pl.DataFrame, right: pl.DataFrame) -> tuple[list[date], Floats, Floats]:
    """Sessions of both frames with the closes of each, sorted."""
    both = left.join(right.select("session", "close"), on="session", suffix="_right").sort("session")
    return both["session"].to_list(), both["close"].to_numpy(), both["close_right"].to_numpy()


def _hypothesis(
    delivered: pl.DataFrame,
    missing: tuple[Split, ...],
    unapplied: tuple[Split, ...],
    stored: StoredHistory,
    calendar: Calendar,
) -> SplitHypothesis:
    bars, reference = adjust(delivered, missing), adjust(stored.bars, unapplied)
    _, old, new = common_closes(reference, bars)
    num_same = int(is_same_price(old, new).sum())
    close_before = _close_before(stored, unapplied)
    known_until = max([stored.newest or date.min, *(split.session for split in (*stored.splits, *unapplied))])
    inferred = _inferred_split(bars, reference, close_before, known_until, calendar)
    return SplitHypothesis(
        missing=missing,
        unapplied=unapplied,
        inferred=inferred or (),
        is_undated=inferred is None,
        bars=bars,
        reference=reference,
        close_before=close_before,
        num_same=num_same,
        num_explained=len(old) if inferred else num_same,
    )


def _inferred_split(
    bars: pl.DataFrame, reference: pl.DataFrame, close_before: float | None, known_until: date, calendar: Calendar
) -> tuple[Split, ...] | None:
    """The undeclared split of a delivery whose first common bars differ by one ratio, and whose later ones are equal.

    The delivered bars must continue without a jump, at the split and after an older stored bar. A split that restates
    all common bars comes after every known split and, if no later bar is stored, after every stored bar; if later bars
    are stored, they jump by its ratio on its session. None if they do not show the session.
    """
    sessions, old, new = common_closes(reference, bars)
    restated = ~is_same_price(old, new)
    num_restated = len(old) if restated.all() else int(np.argmin(restated))
    first = pl.col("session").is_in(sessions[:num_restated])
    prices = (frame.filter(first).sort("session").select(PRICE_COLUMNS).to_numpy() for frame in (reference, bars))
    ratio = restatement_ratio(*prices)
    if ratio is None or restated[num_restated:].any():
        return ()
    is_in_between = num_restated < len(sessions)
    jumps = [close_before / bars["close"][0]] if close_before is not None else []
    jumps += [old[num_restated - 1] / new[num_restated]] if is_in_between else []
    if not all(is_nearer(jump, ratio) for jump in jumps):
        return ()
    later = reference.filter(pl.col("session") > sessions[-1])
    if is_in_between:
        since = sessions[num_restated]
    elif later.is_empty():
        since = _first_after(known_until, bars, calendar)
    else:
        since = _only_jump(float(old[-1]), later, ratio)
    return None if since is None else (Split(ticker=bars["ticker"][0], session=since, ratio=ratio),)


def _only_jump(close_before: float, later: pl.DataFrame, ratio: float) -> date | None:
    """The only session on which stored bars after a close jump by a split's ratio; None if there is none or several."""
    closes = np.concatenate([[close_before], later["close"].to_numpy()])
    jumps = np.flatnonzero(is_nearer(closes[:-1] / closes[1:], ratio))
    return later["session"][int(jumps[0])] if len(jumps) == 1 else None


def _first_after(session: date, bars: pl.DataFrame, calendar: Calendar) -> date:
    """The first later session that has a bar, or the next one of the calendar if no bar is later."""
    later = bars.filter(pl.col("session") > session)["session"]
    return calendar.offset(session, 1) if later.is_empty() else later[0]


def _close_before(stored: StoredHistory, unapplied: Sequence[Split]) -> float | None:
    """The stored close before the first delivered bar, adjusted for the unapplied splits after it."""
    if stored.session_before is None or stored.close_before is None:
        return None
    ratios = [split.ratio for split in unapplied if stored.session_before < split.session]
    return stored.close_before / float(np.prod(ratios))


def _num_applied_by_date(newly_declared: Sequence[Split], stored: StoredHistory) -> int:
    """The number of newly declared splits that stored bars have applied, judged by their end and their jumps."""
    num_applied = len(newly_declared)
    while num_applied and _looks_unapplied(stored, newly_declared[num_applied - 1]):
        num_applied -= 1
    return num_applied


def _looks_unapplied(stored: StoredHistory, split: Split) -> bool:
    """True if stored bars end before a split, were restated by the ratio that it corrects, or jump by its ratio."""
    if (stored.newest is not None and stored.newest < split.session) or split.session in stored.restated:
        return True
    jump = jump_at(stored.bars, split.session)
    return jump is not None and bool(is_nearer(jump, split.ratio))


def jump_at(bars: pl.DataFrame, session: date) -> float | None:
    """The last close before a session, divided by the first close since; None if one is missing or the gap is long."""
    before = bars.filter(pl.col("session") < session).tail(1)
    since = bars.filter(pl.col("session") >= session).head(1)
    if before.is_empty() or since.is_empty() or since["session"][0] - before["session"][0] > LONG_GAP:
        return None
    return float(before["close"][0] / since["close"][0])


def is_nearer(measured: Floats | float, ratio: float) -> npt.NDArray[np.bool_]:
    """True if a measured ratio is nearer to the ratio of a split than to 1."""
    return np.abs(np.log(measured / ratio)) < np.abs(np.log(measured))
