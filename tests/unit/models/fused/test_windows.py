"""Windows gathered from the tables of many tickers against each ticker's own."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from ldtm_lib.features.window_set import WindowSet
from ldtm_lib.models.fit import FitTask
from ldtm_lib.models.fused.kernels.reference import gather_windows
from ldtm_lib.models.fused.windows import distinct_windows, table_sizes, tables_of
from ldtm_lib.models.objective import learning_targets
from ldtm_lib.settings import ArchitectureConfig, TrainingConfig

CPU = torch.device("cpu")


@given(seed=st.integers(0, 50))
def test_gathered_windows_are_those_of_the_ticker_to_the_bit(windows: dict[str, WindowSet], seed: int) -> None:
    sets = list(windows.values())
    tables = tables_of(sets, CPU, recipe=TrainingConfig(), architecture=ArchitectureConfig())
    choice = np.random.default_rng(seed)
    rows = [choice.integers(len(of_ticker), size=7) for of_ticker in sets]
    rows_MB = torch.stack([tables.rows_of(of_ticker, r) for of_ticker, r in zip(sets, rows, strict=True)])
    inputs = torch.full((len(sets), 30, 7, 16), 9.0)
    gather_windows(tables.bars_SI, tables.low_WI, tables.span_WI, tables.starts_W, rows_MB, inputs)
    for at, (of_ticker, r) in enumerate(zip(sets, rows, strict=True)):
        assert np.array_equal(inputs[at, ..., :11].transpose(0, 1).numpy(), of_ticker.gather(r))
        found = tables.targets_WE[rows_MB[at].long()].numpy()
        last = of_ticker.gather(r)[:, -1, 3, None]
        assert np.array_equal(found, learning_targets(of_ticker, r, TrainingConfig()) - last, equal_nan=True)
    assert (inputs[..., 11:] == 9.0).all(), "padding is left alone"


def test_the_folds_of_a_ticker_share_its_bars(tasks: list[FitTask]) -> None:
    sets = distinct_windows(tasks)
    assert [of_ticker.ticker for of_ticker in sets] == ["IBM", "GOOG"]
    tables = tables_of(sets, CPU, recipe=TrainingConfig(), architecture=ArchitectureConfig())
    held = (tables.bars_SI, tables.low_WI, tables.span_WI, tables.starts_W, tables.targets_WE)
    assert [table.nbytes for table in held] == table_sizes(sets)
    gathered = sum(4 * 30 * 11 * len(of_ticker) for of_ticker in sets)
    assert sum(table_sizes(sets)) < gathered / 8
