"""The file of the newest calibration by placebo: anything else in its place counts as no calibration."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from ldtm_lib.placebo.kept import FILE, KeptCalibration, KeptTally, keep, kept_calibration

TALLY = '{"num_models": 1, "num_passed": 0, "num_passed_strict": 0, "coins_expected": %s}'


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "null",
        "[" * 100_000,
        '{"calibrated_at": 1}',
        '{"calibrated_at": "2026-01-02", "total": {}, "by_ticker": {}}',
        '{"calibrated_at": "2026-01-02", "total": %s, "by_ticker": []}' % (TALLY % "0.1"),
        '{"calibrated_at": "2026-01-02", "total": %s, "by_ticker": {"A": []}}' % (TALLY % "0.1"),
        '{"calibrated_at": "2026-01-02", "total": %s, "by_ticker": {}}' % (TALLY % '"many"'),
    ],
)
def test_a_file_that_is_no_calibration_counts_as_none(tmp_path: Path, content: str) -> None:
    (tmp_path / FILE).write_text(content)
    assert kept_calibration(tmp_path) is None


def test_a_calibration_is_read_as_it_was_kept(tmp_path: Path) -> None:
    tally = KeptTally(num_models=4, num_passed=1, num_passed_strict=0, coins_expected=0.8)
    kept = KeptCalibration(calibrated_at=datetime(2026, 1, 2, tzinfo=UTC), total=tally, by_ticker={"AAPL": tally})
    keep(tmp_path, kept)
    assert kept_calibration(tmp_path) == kept
