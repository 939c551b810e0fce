"""Compare five design choices with their alternatives, on real bars, by forecasts of sessions that no network saw.

All designs have heads that predict the price, and the squared error unless they say otherwise; `experiment_models.py`
compares heads and losses. AAPL, GOOG, IBM and MSFT are tested by walk-forward over the demo's two folds with the demo's
recipe. One training loop serves every design; for the chosen one it does the same as `fit_alone`, which is checked at
the end. The best epoch has the lowest validation loss, measured by the loss that the design trains with. Targets are
always scaled by the range of the window's closes.

Run: .venv/bin/python benchmarks/experiment_designs.py --seeds 0 1
"""

import argparse
import math
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cache
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn
from torch.nn.functional import huber_loss, l1_loss, mse_loss

from ldtm_lib.backtest.folds import furthest_session, plan_folds
from ldtm_lib.backtest.walk_forward import tasks_of
from ldtm_lib.features.scaling import scale_prices
from ldtm_lib.features.window_set import Rows, WindowSet
from ldtm_lib.features.windows import windows_of
from ldtm_lib.models.fit import FitTask
from ldtm_lib.models.lstm import LdtmNetwork, initial_state, network_of
from ldtm_lib.models.single_fit import EarlyStopping, fit_alone, learning_rate, seed_of
from ldtm_lib.prices.sources.sample import SampleSource
from ldtm_lib.sessions import exchange_calendar
from ldtm_lib.settings import ArchitectureConfig, TrainingConfig, load_settings

SETTINGS = load_settings(Path(__file__).parents[1] / "demo.toml")
SHAPE, WINDOW_SESSIONS = SETTINGS.architecture.replace(residual=False), SETTINGS.window.window_sessions
SQUARED = {"horizon_weights": "equal", "huber_delta": 1e9, "max_target_move": 1e9}
"""Settings under which the loss is the mean squared error, by which all designs are compared."""
TICKERS = ("AAPL", "GOOG", "IBM", "MSFT")
FIRST, LAST = date(2000, 3, 1), date(2013, 3, 1)
CHOSEN, NO_CHANGE, NUM_WORKERS = "chosen", "no change", 2
FIGURES = ("mse", "mae", "next_day_error", "one_month_error", "direction", "coverage")
Examples = tuple[Tensor, Tensor]


class Transformer(nn.Module):
    """A causal pre-norm encoder whose last position feeds LDTM's own heads; about as many parameters as the LSTM."""

    def __init__(self, shape: ArchitectureConfig, *, width: int = 96, inner: int = 333, num_heads: int = 4) -> None:
        super().__init__()
        self.read = nn.Linear(shape.num_inputs, width)
        self.positions = nn.Parameter(0.02 * torch.randn(WINDOW_SESSIONS, width))
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(width, num_heads, inner, dropout=0.0, batch_first=True, norm_first=True)
            for _ in range(shape.num_layers)
        )
        self.norm = nn.LayerNorm(width)
        self.heads = LdtmNetwork(shape.replace(hidden=width)).heads

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
        hidden = nn.Linear(shape.hidden, shape.head_hidden)
        self.heads = nn.ModuleList([nn.Sequential(hidden, nn.ReLU(), nn.Linear(shape.head_hidden, shape.num_horizons))])


def by_training_rows(task: FitTask) -> WindowSet:
    """The task's windows as z-scores, with each input's mean and deviation over the windows of its training rows."""
    windows = task.windows
    raw = replace(windows, low=np.zeros_like(windows.low), span=np.ones_like(windows.span))
    inputs = raw.gather(task.training_rows).astype(np.float64)
    mean, std = (np.broadcast_to(of((0, 1)).astype(np.float32), windows.low.shape) for of in (inputs.mean, inputs.std))
    return replace(windows, low=mean, span=std)


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """One way to build, feed and fit a network; the defaults are LDTM's own."""

    build: Callable[[torch.Generator], nn.Module] = lambda own: network_of(initial_state(SHAPE, own), SHAPE)
    loss: Callable[[Tensor, Tensor], Tensor] = mse_loss
    normalise: Callable[[FitTask], WindowSet] = lambda task: task.windows
    shared_by_tickers: bool = False
    recipe: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Differences from the demo's recipe."""


DESIGNS = {
    CHOSEN: Design(),
    "chosen, rate 1e-3": Design(recipe={"learning_rate": 1e-3}),
    "1 transformer": Design(build=lambda _: Transformer(SHAPE)),
    "1 transformer, rate 1e-3": Design(build=lambda _: Transformer(SHAPE), recipe={"learning_rate": 1e-3}),
    "2 shared network": Design(shared_by_tickers=True),
    "2 shared, 2 epochs": Design(shared_by_tickers=True, recipe={"max_epochs": 2}),  # about as many steps as chosen
    "3 global z-score": Design(normalise=by_training_rows),
    "4 shared head": Design(build=lambda _: SharedHead(SHAPE)),
    "5 absolute loss": Design(loss=l1_loss),
    "5 Huber loss": Design(loss=huber_loss),
}


@cache
def folds_of(ticker: str) -> list[tuple[FitTask, Rows]]:
    """The training task and the test rows of each fold of a ticker."""
    windows = windows_of(SampleSource().fetch([ticker], FIRST, LAST).bars, exchange_calendar(), SETTINGS.window)[ticker]
    plans = plan_folds(windows, SETTINGS.backtest, SETTINGS.training)
    return [(task, plan.test_rows) for task, plan in zip(tasks_of(windows, plans, None), plans, strict=True)]


def run(name: str, recipe: TrainingConfig, tickers: tuple[str, ...], fold: int) -> list[dict[str, Any]]:
    """Train one network and score it on each of its tickers; returns one row per ticker."""
    design, folds = DESIGNS[name], [folds_of(ticker)[fold - 1] for ticker in tickers]
    first_test = min(task.windows.sessions[test_rows[0]] for task, test_rows in folds)
    for task, _ in folds:  # the labels of one ticker must not reach the test rows of another one either
        furthest = furthest_session(task.windows, task.training_rows, task.validation_rows)
        assert np.datetime64(furthest) < first_test
    started = time.process_time()
    sets = [design.normalise(task) for task, _ in folds]
    training = examples((s, task.training_rows) for s, (task, _) in zip(sets, folds, strict=True))
    validation = examples((s, task.validation_rows) for s, (task, _) in zip(sets, folds, strict=True))
    generator = torch.Generator().manual_seed(seed_of(",".join(tickers), fold, recipe.seed))
    network, loss = fit(design, recipe, generator, training, validation)
    seconds = (time.process_time() - started) / len(folds)
    cost = {"seconds": seconds, "parameters": sum(p.numel() for p in network.parameters()), "validation_loss": loss}
    key, cells = {"design": name, "seed": recipe.seed, "fold": fold}, list[dict[str, Any]]()
    for windows, (_, rows) in zip(sets, folds, strict=True):
        with torch.inference_mode():
            scaled = network(torch.as_tensor(windows.gather(rows))).numpy().astype(np.float64)
        cells.append(key | cost | score(windows, rows, scaled))
    return cells


def examples(parts: Iterable[tuple[WindowSet, Rows]]) -> Examples:
    inputs, targets = zip(*((windows.gather(rows), windows.targets[rows]) for windows, rows in parts), strict=True)
    return torch.as_tensor(np.concatenate(inputs)), torch.as_tensor(np.concatenate(targets))


def fit(
    design: Design, recipe: TrainingConfig, generator: torch.Generator, training: Examples, validation: Examples
) -> tuple[nn.Module, float]:
    """The loop of `fit_alone` for any network and loss; returns the best epoch's network and validation loss."""
    recipe, (inputs, targets) = recipe.replace(**design.recipe), training
    torch.manual_seed(generator.initial_seed())
    network = design.build(generator)
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=recipe.weight_decay, fused=True)
    stopping, best, step = EarlyStopping(patience=recipe.patience), network.state_dict(), 0
    while stopping.epoch < recipe.max_epochs and not stopping.exhausted:
        for rows in torch.split(torch.randperm(len(inputs), generator=generator), recipe.batch_size):
            optimizer.param_groups[0]["lr"] = learning_rate(recipe, step, math.ceil(len(inputs) / recipe.batch_size))
            optimizer.zero_grad()
            torch.autograd.backward(design.loss(network(inputs[rows]), targets[rows]))
            optimizer.step()
            step += 1
        with torch.inference_mode():
            loss = design.loss(network(validation[0]), validation[1]).item()
        if stopping.improves(loss):
            best = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
    network.load_state_dict(best)
    return network, stopping.best_loss


def score(windows: WindowSet, rows: Rows, scaled: np.ndarray) -> dict[str, Any]:
    """The figures of some forecasts (n, 3): errors in normalised space, and in percent of the actual price."""
    actual, close, predicted = windows.target_prices[rows], windows.close[rows], windows.unscale(scaled, rows)
    error, price_error = scaled - windows.targets[rows], 100 * np.abs(predicted / actual - 1).mean(axis=0)
    expected = predicted[:, 0] / close - 1
    directional = np.abs(expected) > SETTINGS.forecast.neutral_band
    right = directional & (np.sign(expected) == np.sign(actual[:, 0] - close))
    figures = {"ticker": windows.ticker, "mse": float((error**2).mean()), "mae": float(np.abs(error).mean())}
    errors = {"next_day_error": float(price_error[0]), "one_month_error": float(price_error[2])}
    return figures | errors | {"right": int(right.sum()), "directional": int(directional.sum()), "rows": len(rows)}


def no_change(ticker: str, fold: int, seed: int) -> dict[str, Any]:
    """The score of the forecast that every price will be the last close."""
    task, rows = folds_of(ticker)[fold - 1]
    windows, closes = task.windows, np.repeat(task.windows.close[rows, None], SHAPE.num_horizons, axis=1)
    scaled = scale_prices(closes, windows.close_min[rows], windows.close_max[rows])
    return {"design": NO_CHANGE, "seed": seed, "fold": fold} | score(windows, rows, scaled)


def report(cells: pl.DataFrame) -> None:
    """Print per design the mean and range over the seeds, and the share of cells with a lower MSE than the chosen."""
    chosen_mse = pl.col("mse").filter(pl.col("design") == CHOSEN).first().over("ticker", "fold", "seed")
    cells = cells.with_columns(is_lower=pl.col("mse") < chosen_mse)
    per_seed = cells.group_by("design", "seed", maintain_order=True).agg(
        pl.mean("mse", "mae", "next_day_error", "one_month_error", "is_lower"),
        pl.sum("seconds"),
        pl.max("parameters").fill_null(0),
        direction=100 * pl.sum("right") / pl.sum("directional"),
        coverage=100 * pl.sum("directional") / pl.sum("rows"),
    )
    print(f"{'mean [range over seeds]':24}{''.join(map('{:>23}'.format, FIGURES))} parameters  CPU s  lower MSE")
    for (design,), seeds in per_seed.group_by("design", maintain_order=True):
        ranges = (f"{seeds[f].mean():8.3f} [{seeds[f].min():.3f} {seeds[f].max():.3f}]" for f in FIGURES)
        cost = f"{seeds['parameters'][0]:11,}{seeds['seconds'].mean():7.0f}{seeds['is_lower'].mean():11.0%}"
        print(f"{design:24}{''.join(map('{:>23}'.format, ranges))}{cost}")
    tested = [(task.windows, rows) for ticker in TICKERS for task, rows in folds_of(ticker)]
    rises = np.concatenate([windows.target_prices[rows, 0] > windows.close[rows] for windows, rows in tested])
    print(f"the next close was higher on {rises.mean():.1%} of {len(rises)} tested rows")


def report_agreement(cells: pl.DataFrame, recipe: TrainingConfig) -> None:
    """Print the validation loss of this script's loop and of `fit_alone`, on the task with the fewest rows."""
    task = min((task for t in TICKERS for task, _ in folds_of(t)), key=lambda task: len(task.training_rows))
    torch.set_num_threads(1)
    alone = fit_alone(task, recipe=recipe, architecture=SHAPE, device=torch.device("cpu"), on_progress=lambda _: None)
    same = cells.filter(design=CHOSEN, ticker=task.ticker, fold=task.fold, seed=recipe.seed)["validation_loss"].item()
    print(f"{task.name}: best validation loss {same:.6f} here, {alone.validation_loss:.6f} by fit_alone")


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare five design choices with their alternatives, on real bars.")
    parser.add_argument("--designs", nargs="+", choices=list(DESIGNS), default=list(DESIGNS), metavar="DESIGN")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1], metavar="SEED")
    parser.add_argument("--epochs", type=int, default=SETTINGS.training.max_epochs)
    options = parser.parse_args()
    started, folds = time.perf_counter(), range(1, SETTINGS.backtest.num_folds + 1)
    recipes = [SETTINGS.training.replace(max_epochs=options.epochs, seed=seed, **SQUARED) for seed in options.seeds]
    designs = sorted({CHOSEN, *options.designs}, key=lambda name: (not DESIGNS[name].shared_by_tickers, name))
    groups = {True: [TICKERS], False: [(ticker,) for ticker in TICKERS]}
    jobs = [job for d in designs for job in product([d], recipes, groups[DESIGNS[d].shared_by_tickers], folds)]
    with ProcessPoolExecutor(NUM_WORKERS, get_context("spawn"), torch.set_num_threads, (1,)) as workers:
        rows = [cell for of_job in workers.map(run, *zip(*jobs, strict=True)) for cell in of_job]
    rows += [no_change(ticker, fold, seed) for ticker in TICKERS for fold in folds for seed in options.seeds]
    cells = pl.DataFrame(rows).cast({"design": pl.Enum([NO_CHANGE, *DESIGNS])}).sort("design", "seed", "ticker", "fold")
    report(cells)
    report_agreement(cells, recipes[0])
    print(f"{len(jobs)} networks of {options.epochs} epochs, {time.perf_counter() - started:.0f} s in all")


if __name__ == "__main__":
    main()
