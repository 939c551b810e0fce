"""What looks like a split that nobody declared, and what does not."""

from datetime import date

import pytest

from ldtm_lib.prices.suspected_splits import jump_note

DAY = date(2024, 3, 1)


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        (101.25, 55.63, "a crash, or a split of 2 for 1"),
        (100.0, 66.0, "a crash, or a split of 1.5 for 1"),
        (1.0, 10.4, "a leap, or a split of 0.1 for 1"),
    ],
)
def test_a_jump_by_a_splits_ratio_is_noted_with_its_remedy(before: float, after: float, says: str) -> None:
    note = jump_note("XYZ", DAY, before, after, "declare it")
    assert note == f"XYZ goes from {before:g} to {after:g} on 2024-03-01: {says}; if it was a split, declare it"


@pytest.mark.parametrize("after", [100, 80, 75, 130, 8.5, 0])
def test_jumps_that_are_like_no_split_or_too_small_are_not_noted(after: float) -> None:
    assert jump_note("XYZ", DAY, 100, after, "declare it") is None
