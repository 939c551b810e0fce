"""The search for outliers as a loop over all bars of one ticker: the reference of `ldtm_lib.prices.outliers`."""

from collections.abc import Sequence

FACTOR, LONGEST = 3.0, 3


def is_beyond(close: float, *others: float) -> bool:
    return close > FACTOR * max(others) or close * FACTOR < min(others)


def is_spike(closes: Sequence[float], at: Sequence[int], before: int, run: Sequence[int], after: int) -> bool:
    """Whether the closes of a run are a spike between two bars; `at` numbers the sessions."""
    one, other = closes[before], closes[after]
    return (
        at[after] - at[before] <= LONGEST + 1
        and max(one, other) <= FACTOR * min(one, other)
        and all(is_beyond(closes[bar], one, other) for bar in run)
    )


def plain_outliers(closes: Sequence[float], at: Sequence[int], judged: Sequence[bool]) -> list[int]:
    """The positions of the outliers, delivered and stored ones; stored ones only as parts of spikes that returned."""
    outliers = set[int]()
    before = 0
    bar = 1
    while bar < len(closes):
        lengths = range(1, min(LONGEST, len(closes) - 1 - bar) + 1)
        spikes = [n for n in lengths if is_spike(closes, at, before, range(bar, bar + n), bar + n)]
        ratio = closes[bar] / closes[before]
        rest, beginning = range(bar, len(closes)), range(bar)
        is_unit = at[bar] - at[before] <= LONGEST + 1 and 0.8 <= max(ratio, 1 / ratio) / 100 <= 1.25
        if spikes:
            outliers.update(range(bar, bar + spikes[0]))
            bar = bar + spikes[0]
        elif is_unit and len(rest) <= LONGEST and all(judged[b] and is_beyond(closes[b], closes[before]) for b in rest):
            outliers.update(rest)
            break
        elif (
            is_unit
            and not outliers
            and len(beginning) <= LONGEST
            and all(judged[b] and is_beyond(closes[b], closes[bar]) for b in beginning)
        ):
            outliers.update(beginning)
        before = bar
        bar += 1
    return sorted(outliers)
