"""Five design choices against their alternatives, on real bars: what each costs in forecasts that could be tested.

AAPL, GOOG, IBM and MSFT walk forward over the demo's two folds of 126 sessions with the demo's recipe. One loop
trains every design; for the chosen one it walks the path of `fit_alone`, which is checked at the end. The weights of
the epoch with the lowest validation loss are kept, by the loss that the design trains with; targets are always scaled
by the window's close range and all designs are scored by the same figures.

Run: .venv/bin/python benchmarks/experiment_designs.py --seeds 0 1
"""

import argparse
import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import date
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn
from torch.nn.functional import huber_loss, l1_loss, mse_loss

from ldtm_lib.backtest.folds import plan_folds
from ldtm_lib.backtest.walk_forward import tasks_of
from ldtm_lib.config import ArchitectureConfig, TrainingConfig
from ldtm_lib.features.scaling import scale_prices
from ldtm_lib.features.window_set import Rows, WindowSet
from ldtm_lib.features.windows import windows_of
from ldtm_lib.models.fit import FitTask
from ldtm_lib.models.lstm import LdtmNetwork, initial_state, network_of
from ldtm_lib.models.schedule import EarlyStopping, learning_rate, seed_of
from ldtm_lib.models.single_fit import fit_alone
from ldtm_lib.prices.sources.sample import SampleSource
from ldtm_lib.sessions import exchange_calendar
from ldtm_lib.settings_file import load_settings

SETTINGS = load_settings(Path(__file__).parents[1] / "demo.toml")
SHAPE, WINDOW_SESSIONS, NEUTRAL_BAND = SETTINGS.architecture, SETTINGS.window.window_sessions, 0.001
TICKERS = ("AAPL", "GOOG", "IBM", "MSFT")
FIRST, LAST = date(2000, 3, 1), date(2013, 3, 1)
NUM_WORKERS = 2
CHOSEN = "chosen"
FIGURES = ("mse", "mae", "next_day_error", "one_month_error", "direction", "coverage")
Build = Callable[[torch.Generator], nn.Module]
Loss = Callable[[Tensor, Tensor], Tensor]
Normalise = Callable[[FitTask], WindowSet]


class Transformer(nn.Module):
    """A causal pre-norm encoder whose last position feeds LDTM's own heads; as many parameters as the LSTM."""

    def __init__(self, shape: ArchitectureConfig, *, width: int = 96, inner: int = 333, num_heads: int = 4) -> None:
        super().__init__()
        self.read = nn.Linear(shape.num_inputs, width)
        self.positions = nn.Parameter(0.02 * torch.randn(WINDOW_SESSIONS, width))
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(width, num_heads, inner, dropout=0.0, batch_first=True, norm_first=True)
            for _ in range(shape.num_layers)
        )
        self.norm = nn.LayerNorm(width)
        self.heads = LdtmNetwork(dataclasses.replace(shape, hidden=width)).heads

    def forward(self, inputs: Tensor) -> Tensor:
        steps = self.read(inputs) + self.positions
        mask = nn.Transformer.generate_square_subsequent_mask(WINDOW_SESSIONS)
        for layer in self.layers:
            steps = layer(steps, src_mask=mask, is_causal=True)
        last = self.norm(steps[:, -1])
        return torch.cat([head(last) for head in self.heads], dim=1)


class SharedHead(LdtmNetwork):
    """LDTM's LSTM with one head for all horizons."""

    def __init__(self, shape: ArchitectureConfig) -> None:
        super().__init__(shape)
        sizes = (shape.hidden, shape.head_hidden, shape.num_horizons)
        self.heads = nn.ModuleList([nn.Sequential(nn.Linear(*sizes[:2]), nn.ReLU(), nn.Linear(*sizes[1:]))])


def seeded(network: Callable[[ArchitectureConfig], nn.Module]) -> Build:
    """PyTorch's own initialisation from the seed of a generator."""

    def build(generator: torch.Generator) -> nn.Module:
        torch.manual_seed(generator.initial_seed())
        return network(SHAPE)

    return build


def over_training_rows(task: FitTask) -> WindowSet:
    """The task's windows as z-scores by one mean and deviation per input, taken over its training rows' windows."""
    windows = task.windows
    raw = dataclasses.replace(windows, low=np.zeros_like(windows.low), span=np.ones_like(windows.span))
    inputs = raw.gather(task.training_rows).astype(np.float64)
    low, span = (np.broadcast_to(of((0, 1)).astype(np.float32), windows.low.shape) for of in (inputs.mean, inputs.std))
    return dataclasses.replace(windows, low=low, span=span)


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """One way to build, feed and fit a network; the defaults are LDTM's own."""

    build: Build = lambda generator: network_of(initial_state(SHAPE, generator), SHAPE)
    loss: Loss = mse_loss
    normalise: Normalise = lambda task: task.windows
    shared_by_tickers: bool = False
    learning_rate: float = SETTINGS.training.learning_rate


DESIGNS = {
    CHOSEN: Design(),
    "1 transformer": Design(build=seeded(Transformer)),
    "1 transformer, rate 1e-3": Design(build=seeded(Transformer), learning_rate=1e-3),
    "2 shared network": Design(shared_by_tickers=True),
    "3 global z-score": Design(normalise=over_training_rows),
    "4 shared head": Design(build=seeded(SharedHead)),
    "5 absolute loss": Design(loss=l1_loss),
    "5 Huber loss": Design(loss=huber_loss),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One network to train and test."""

    design: str
    recipe: TrainingConfig
    tickers: tuple[str, ...]
    fold: int


@cache
def folds_of(ticker: str) -> list[tuple[FitTask, Rows]]:
    """What each fold of a ticker trains on, and its test rows."""
    bars = SampleSource().fetch([ticker], FIRST, LAST).bars
    windows = windows_of(bars, exchange_calendar(), SETTINGS.window)[ticker]
    plans = plan_folds(windows, SETTINGS.backtest, SETTINGS.training)
    return [(task, plan.test_rows) for task, plan in zip(tasks_of(windows, plans, None), plans, strict=True)]


def run(job: Job) -> list[dict[str, object]]:
    """Train one network and score it on every ticker that it is for: one row each."""
    design = DESIGNS[job.design]
    folds = [folds_of(ticker)[job.fold - 1] for ticker in job.tickers]
    first_test = min(task.windows.sessions[test_rows[0]] for task, test_rows in folds)
    assert all(  # a shared network must not see one ticker's labels where it is tested on another
        (task.windows.target_sessions[rows] < first_test).all()
        for task, _ in folds
        for rows in (task.training_rows, task.validation_rows)
    )
    started = time.process_time()
    sets = [design.normalise(task) for task, _ in folds]
    training = examples(sets, [task.training_rows for task, _ in folds])
    validation = examples(sets, [task.validation_rows for task, _ in folds])
    name = job.tickers[0] if len(job.tickers) == 1 else "all"
    generator = torch.Generator().manual_seed(seed_of(name, job.fold, job.recipe.seed))
    network, validation_loss = fit(design, job.recipe, generator, training, validation)
    cost = {
        "seconds": (time.process_time() - started) / len(folds),
        "parameters": sum(p.numel() for p in network.parameters()),
        "validation_loss": validation_loss,
    }
    rows: list[dict[str, object]] = []
    for windows, (_, test_rows) in zip(sets, folds, strict=True):
        with torch.inference_mode():
            scaled = network(torch.as_tensor(windows.gather(test_rows))).numpy().astype(np.float64)
        key = {"design": job.design, "seed": job.recipe.seed, "ticker": windows.ticker, "fold": job.fold}
        rows.append(key | cost | score(windows, test_rows, scaled))
    return rows


def examples(sets: Sequence[WindowSet], rows: Sequence[Rows]) -> tuple[Tensor, Tensor]:
    pairs = [(windows.gather(chosen), windows.targets[chosen]) for windows, chosen in zip(sets, rows, strict=True)]
    inputs, targets = (torch.as_tensor(np.concatenate(parts)) for parts in zip(*pairs, strict=True))
    return inputs, targets


def fit(
    design: Design,
    recipe: TrainingConfig,
    generator: torch.Generator,
    training: tuple[Tensor, Tensor],
    validation: tuple[Tensor, Tensor],
) -> tuple[nn.Module, float]:
    """The loop of `fit_alone` for any network and loss; returns the best epoch's network and validation loss."""
    recipe = dataclasses.replace(recipe, learning_rate=design.learning_rate)
    inputs, targets = training
    network = design.build(generator)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True
    )
    stopping, best, step = EarlyStopping(patience=recipe.patience), network.state_dict(), 0
    while stopping.epoch < recipe.max_epochs and not stopping.exhausted:
        for rows in torch.split(torch.randperm(len(inputs), generator=generator), recipe.batch_size):
            optimizer.param_groups[0]["lr"] = learning_rate(recipe, step, math.ceil(len(inputs) / recipe.batch_size))
            optimizer.zero_grad()
            design.loss(network(inputs[rows]), targets[rows]).backward()
            optimizer.step()
            step += 1
        with torch.inference_mode():
            loss = design.loss(network(validation[0]), validation[1]).item()
        if stopping.improves(loss):
            best = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
    network.load_state_dict(best)
    return network, stopping.best_loss


def score(windows: WindowSet, rows: Rows, scaled: np.ndarray) -> dict[str, float]:
    """The figures of some forecasts (n, 3), errors in normalised space or as a share of the price that came."""
    actual, close = windows.target_prices[rows], windows.close[rows]
    error = scaled - windows.targets[rows]
    price_error = np.abs(windows.unscale(scaled, rows) / actual - 1).mean(axis=0)
    expected = windows.unscale(scaled, rows)[:, 0] / close - 1
    names_one = np.abs(expected) > NEUTRAL_BAND
    is_right = names_one & (np.sign(expected) == np.sign(actual[:, 0] - close))
    return {
        "mse": float((error**2).mean()),
        "mae": float(np.abs(error).mean()),
        "next_day_error": float(price_error[0]),
        "one_month_error": float(price_error[2]),
        "num_right": int(is_right.sum()),
        "num_directional": int(names_one.sum()),
        "num_rows": len(rows),
    }


def report(cells: pl.DataFrame) -> None:
    """Per design the mean over the seeds and the range, and in how many cells its MSE is below the chosen one's."""
    pooled = pl.sum("num_right", "num_directional", "num_rows")
    per_seed = (
        cells.group_by("design", "seed", maintain_order=True)
        .agg(pl.mean("mse", "mae", "next_day_error", "one_month_error"), pooled, pl.sum("seconds"), pl.max("parameters"))
        .with_columns(
            direction=pl.col("num_right") / pl.col("num_directional"),
            coverage=pl.col("num_directional") / pl.col("num_rows"),
        )
    )
    key = ["ticker", "fold", "seed"]
    paired = cells.join(cells.filter(pl.col("design") == CHOSEN), on=key, suffix="_chosen")
    for (name,), of_design in per_seed.group_by("design", maintain_order=True):
        columns = [of_design[figure] * (1 if figure[0] == "m" else 100) for figure in FIGURES]
        shown = "".join(f" {c.mean():7.3f} [{c.min():6.3f} {c.max():6.3f}]" for c in columns)
        wins = paired.filter(pl.col("design") == name).select(pl.col("mse") < pl.col("mse_chosen")).to_series()
        cost = f"{of_design['parameters'][0]:9,} {of_design['seconds'].mean():7.1f}" if "seconds" in of_design else ""
        print(f"{name:26}{shown} {cost} {wins.sum():3}/{len(wins)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--designs", nargs="+", choices=list(DESIGNS), default=list(DESIGNS), metavar="DESIGN")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1], metavar="SEED")
    parser.add_argument("--epochs", type=int, default=SETTINGS.training.max_epochs)
    options = parser.parse_args()
