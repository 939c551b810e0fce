"""Real windows of two sample tickers, and a network small enough to train in a blink."""

import pytest

from ldtm_lib.features.window_set import WindowSet
from ldtm_lib.models.fit import FitTask
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import ArchitectureConfig, TrainingConfig
from tests.sample_tasks import RECIPE, SMALL, sample_windows, task_of


@pytest.fixture(scope="session")
def windows(calendar: Calendar) -> dict[str, WindowSet]:
    """IBM and GOOG, which never split in the sample: about 3,200 and 2,100 windows."""
    return sample_windows(calendar, "GOOG", "IBM")


@pytest.fixture(scope="session")
def small() -> ArchitectureConfig:
    return SMALL


@pytest.fixture(scope="session")
def recipe() -> TrainingConfig:
    return RECIPE


@pytest.fixture(scope="session")
def tasks(windows: dict[str, WindowSet]) -> list[FitTask]:
    """Two folds and a final model of IBM, and a final one of GOOG, on a few hundred rows each."""
    return [
        task_of(windows["IBM"], fold=0, num_rows=150),
        task_of(windows["IBM"], fold=1, num_rows=220),
        task_of(windows["IBM"], fold=None, num_rows=300),
        task_of(windows["GOOG"], fold=None, num_rows=200),
    ]
