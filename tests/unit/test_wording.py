"""Counts and figures as people read them."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from ldtm_lib.wording import counted, duration_text, mib_of, moment_text, moment_texts, named, price_text

CLOSE = datetime(2026, 11, 20, 21, 0, 5, 250_000, UTC)


def test_one_is_singular_and_thousands_have_commas() -> None:
    assert [counted(number, "ticker") for number in (0, 1, 1204)] == ["0 tickers", "1 ticker", "1,204 tickers"]


def test_a_long_list_is_cut_and_the_others_are_counted() -> None:
    assert named(["AAPL", "MSFT"]) == "AAPL, MSFT"
    assert named(["AAPL", "MSFT", "IBM"], 1) == "AAPL and 2 more"


def test_a_price_below_one_has_four_decimals() -> None:
    assert [price_text(price) for price in (1204.5, 1.0, 0.03125)] == ["1204.50", "1.00", "0.0312"]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.44, "0.4 s"), (119.0, "119.0 s"), (120, "2 min"), (7199, "120 min"), (9000, "2.5 h")]
)
def test_a_duration_has_the_unit_of_its_length(seconds: float, text: str) -> None:
    assert duration_text(seconds, 1) == text


def test_a_size_is_in_mib() -> None:
    assert mib_of(5 * 2**20 + 2**19) == 5.5


def test_a_moment_is_in_utc_and_has_microseconds_only_to_differ_from_another() -> None:
    there = CLOSE.astimezone(timezone(timedelta(hours=-5)))
    assert moment_text(there) == "2026-11-20 21:00:05 UTC"
    assert moment_texts(there, CLOSE + timedelta(seconds=1)) == ("2026-11-20 21:00:05 UTC", "2026-11-20 21:00:06 UTC")
    assert moment_texts(CLOSE, CLOSE.replace(microsecond=250_001)) == (
        "2026-11-20 21:00:05.250000 UTC",
        "2026-11-20 21:00:05.250001 UTC",
    )
