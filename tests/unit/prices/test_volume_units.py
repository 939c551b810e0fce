"""Volumes of a source that begins to count in lots, or in shares instead of lots."""

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from ldtm_lib.prices.bars import BAR_SCHEMA
from ldtm_lib.prices.volume_units import in_stored_units
from ldtm_lib.sessions import Calendar

SHARES = [1_234_567.0, 2_050_040.0, 988_800.0, 1_111_149.0, 3_000_051.0, 1_700_000.0, 1_650_333.0]
CLOSES = [100.0, 101.5, 99.25, 98.0, 97.0, 99.0, 100.0]


def bars(calendar: Calendar, volumes: list[float], closes: list[float] = CLOSES, ticker: str = "XYZ") -> pl.DataFrame:
    start = int(np.searchsorted(calendar.days, np.datetime64("2024-03-01")))
    close = pl.Series(closes[: len(volumes)], dtype=pl.Float64)
    columns = {"ticker": [ticker] * len(volumes), "session": calendar.days[start : start + len(volumes)]}
    prices = dict.fromkeys(("open", "high", "low", "close"), close)
    return pl.DataFrame(columns | prices | {"volume": volumes}).cast(BAR_SCHEMA)


def lots(shares: list[float], *, rounded: bool = True) -> list[float]:
    return [float(round(volume / 100)) if rounded else volume / 100 for volume in shares]


def test_volumes_in_lots_leave_stored_bars_and_new_ones_are_put_into_shares(calendar: Calendar) -> None:
    stored = bars(calendar, SHARES[:5])
    delivered = bars(calendar, lots(SHARES))
    told = in_stored_units(delivered, stored)
    assert_frame_equal(told.bars[:5], stored)
    assert told.bars["volume"][5:].to_list() == [1_700_000, 1_650_300]
    assert told.notes == (
        "XYZ: the volumes of 5 of 5 stored bars, 2024-03-01 to 2024-03-07, arrive divided by 100: the source seems to "
        "count in lots of 100 shares; the stored bars stay as they are, and the volumes of 2 new bars are multiplied "
        "by 100",
    )
    again = in_stored_units(delivered, told.bars)
    assert_frame_equal(again.bars, told.bars)


def test_volumes_in_shares_instead_of_lots_are_divided(calendar: Calendar) -> None:
    stored = bars(calendar, lots(SHARES[:5]))
    told = in_stored_units(bars(calendar, SHARES), stored)
    assert_frame_equal(told.bars[:5], stored)
    assert told.bars["volume"][5:].to_list() == [17_000, 16_503.33]
    assert "arrive multiplied by 100: the source seems to count in shares instead of lots" in told.notes[0]


def test_other_tickers_and_their_order_stay(calendar: Calendar) -> None:
    others = bars(calendar, SHARES, ticker="ABC")
    stored = pl.concat([others[:5], bars(calendar, SHARES[:5])])
    told = in_stored_units(pl.concat([others, bars(calendar, lots(SHARES))]), stored)
    assert_frame_equal(told.bars.filter(pl.col("ticker") == "ABC"), others)
    assert len(told.notes) == 1


@pytest.mark.parametrize(
    "delivered",
    [
        [*lots(SHARES[:2]), *SHARES[2:5]],  # two bars may be corrections
        [*lots(SHARES[:3]), SHARES[3] * 10, SHARES[4]],  # one bar fits neither unit
        [volume / 10 for volume in SHARES[:5]],
        [volume * 1.7 for volume in SHARES[:5]],
        [0.0] * 5,
    ],
)
def test_volumes_that_show_no_other_unit_stay_as_delivered(calendar: Calendar, delivered: list[float]) -> None:
    frame = bars(calendar, delivered)
    told = in_stored_units(frame, bars(calendar, SHARES[:5]))
    assert_frame_equal(told.bars, frame)
    assert told.notes == ()


def test_a_split_of_a_hundred_is_no_unit_since_prices_change_too(calendar: Calendar) -> None:
    delivered = bars(calendar, lots(SHARES), [close * 100 for close in CLOSES])
    told = in_stored_units(delivered, bars(calendar, SHARES[:5]))
    assert_frame_equal(told.bars, delivered)
    assert told.notes == ()


def test_a_zero_and_a_correction_among_the_volumes_hide_no_unit(calendar: Calendar) -> None:
    stored = bars(calendar, [0.0, *SHARES[1:5]])
    volumes = lots(SHARES)
    volumes[4] = 31_000.0
    told = in_stored_units(bars(calendar, [0.0, *volumes[1:]]), stored)
    assert told.bars["volume"].to_list() == [0, *SHARES[1:4], 3_100_000, 1_700_000, 1_650_300]


def test_a_unit_that_changed_within_the_stored_range_restates_nothing_and_says_so(calendar: Calendar) -> None:
    delivered = bars(calendar, [*SHARES[:2], *lots(SHARES[2:])])
    told = in_stored_units(delivered, bars(calendar, SHARES[:5]))
    assert told.bars["volume"].to_list() == [*SHARES[:5], 1_700_000, 1_650_300]
    (note,) = told.notes
    assert note.startswith("XYZ: the volumes of 3 of 5 stored bars, 2024-03-05 to 2024-03-07, arrive divided by 100")
    assert note.endswith("stored or delivered volumes are in two units: compare them with another source")
    stored = bars(calendar, [*SHARES[:3], *lots(SHARES[3:5])])
    told = in_stored_units(bars(calendar, lots(SHARES)), stored)
    assert told.bars["volume"].to_list() == [*stored["volume"], *lots(SHARES[5:])]
