"""What the owner's file may say about the GPUs."""

from pathlib import Path

import pytest

from ldtm_lib.errors import ConfigurationError
from ldtm_lib.gpu.locks import MOST_SLOTS
from ldtm_lib.settings import GpuConfig, load_settings


def load(folder: Path, lines: str) -> GpuConfig:
    path = folder / "universe.toml"
    path.write_text(f'tickers = ["AAPL"]\n[gpu]\n{lines}\n')
    return load_settings(path).gpu


def test_the_defaults_are_six_hundred_mib_a_job_and_no_pause(tmp_path: Path) -> None:
    assert load(tmp_path, "") == GpuConfig(mib_per_job=600, reserve_mib=2048, max_jobs=4, pause_ms=0.0)


def test_a_pause_is_read_in_milliseconds(tmp_path: Path) -> None:
    assert load(tmp_path, "pause_ms = 2").pause_ms == 2.0
    assert load(tmp_path, f"max_jobs = {MOST_SLOTS}").max_jobs == MOST_SLOTS


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("pause_ms = -0.5", "gpu.pause_ms is -0.5; it must be at least 0"),
        ("pause_ms = 5000", "gpu.pause_ms is 5000; it must be at most 1000"),
        ("max_jobs = 0", "gpu.max_jobs is 0; it must be at least 1"),
        ("max_jobs = 65", "gpu.max_jobs is 65; it must be at most 64"),
        ("mib_per_job = 0", "gpu.mib_per_job is 0; it must be at least 1"),
        ("reserve_mib = -1", "gpu.reserve_mib is -1; it must be at least 0"),
    ],
)
def test_what_no_run_could_mean_is_refused(tmp_path: Path, lines: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        load(tmp_path, lines)
    assert str(refused.value).endswith(message)
