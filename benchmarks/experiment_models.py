"""Compare networks before and after each change of heads, loss, schedule and use of the newest data.

AAPL, GOOG, IBM and MSFT of the bundled sample, the default settings with up to 100 epochs unless a variant says
otherwise. The newest four folds of 126 sessions are the test folds. Choices are made on the two folds before them, the
selection folds, by a rule that was written down first (docs/experiments.md, "Better forecasts from the same network").
The test folds then compare the chosen network with the one before the changes.

Run: .venv/bin/python benchmarks/experiment_models.py --folds selection
     .venv/bin/python benchmarks/experiment_models.py --folds test --variants before short
     .venv/bin/python benchmarks/experiment_models.py --demo

With --demo it tries settings for demo.toml on the selection folds, all of which end before the demo's first fold.
"""

import argparse
import json
import math
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from datetime import date
from functools import cache
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
import torch
from torch import Tensor
from torch.nn.functional import huber_loss

from ldtm_lib.backtest.folds import plan_folds
from ldtm_lib.backtest.walk_forward import tasks_of
from ldtm_lib.features.inputs import CLOSE
from ldtm_lib.features.window_set import Rows, WindowSet
from ldtm_lib.features.windows import windows_of
from ldtm_lib.models.fit import FitTask
from ldtm_lib.models.forecast import predict as predict_prices
from ldtm_lib.models.lstm import LdtmNetwork, initial_state, network_of
from ldtm_lib.models.single_fit import EarlyStopping, fit_alone, seed_of
from ldtm_lib.prices.sources.sample import SampleSource
from ldtm_lib.sessions import HORIZONS, LONGEST_SESSIONS, exchange_calendar
from ldtm_lib.settings import ArchitectureConfig, BacktestConfig, TrainingConfig, WindowConfig
from ldtm_lib.statistics.diebold_mariano import compare

SHAPE, RECIPE, PLAN = ArchitectureConfig(residual=False), TrainingConfig(), BacktestConfig()
TICKERS = ("AAPL", "GOOG", "IBM", "MSFT")
FIRST, LAST = date(2000, 3, 1), date(2013, 3, 1)
NUM_SELECTION_FOLDS, NEUTRAL_BAND = 2, 0.001
Folds = Literal["selection", "test"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One way to fit the network; the defaults are those before the changes."""

    residual: bool = False
    """The heads' outputs are added to the last scaled close, and their last layers start at zero."""
    weighted: bool = False
    """Each horizon's loss is divided by that of forecasting no change on the training rows."""
    huber: float | None = None
    """The error, in units of the no-change error of its horizon, from which on the loss grows linearly."""
    epochs: int = 100
    """The most epochs, over which a cosine brings the rate to 0 unless it restarts."""
    restarts: bool = False
    """Cosines over 10, 20, 40, ... epochs one after the other."""
    bound: float | None = None
    """The largest move of a target from the last close, in ranges of the window's closes per root of a session."""
    refit: bool = False
    """Train once more on training and validation rows, for as many steps as the best epoch took."""


BEFORE = Variant()
RESIDUAL = replace(BEFORE, residual=True)
ROBUST = replace(RESIDUAL, weighted=True, huber=1.0)
VARIANTS = {
    "before": BEFORE,
    "residual": RESIDUAL,
    "weighted": replace(RESIDUAL, weighted=True),
    "huber": replace(RESIDUAL, huber=1.0),
    "weighted huber": ROBUST,
    "short": replace(ROBUST, epochs=30),
    "ten": replace(ROBUST, epochs=10),
    "restarts": replace(ROBUST, restarts=True),
    "refit": replace(ROBUST, refit=True),
    "bounded": replace(ROBUST, bound=1.0),
}
FIRST_PERIOD = 10
DEMO_EPOCHS, DEMO_RATES = (4, 7, 10), (1e-3, 2e-3, 4e-3)


@cache
def folds_of(ticker: str, which: Folds) -> list[tuple[FitTask, Rows]]:
    """The training task and the test rows of each fold of a ticker."""
    bars = SampleSource().fetch([ticker], FIRST, LAST).bars
    windows = windows_of(bars, exchange_calendar(), WindowConfig())[ticker]
    plans = plan_folds(windows, PLAN, RECIPE)
    if which == "selection":
        before = windows.sessions[plans[0].test_rows[0]] - 1
        windows = windows.known_by(date.fromisoformat(str(before)))
        plans = plan_folds(windows, PLAN.replace(num_folds=NUM_SELECTION_FOLDS), RECIPE)
    return [(task, plan.test_rows) for task, plan in zip(tasks_of(windows, plans, None), plans, strict=True)]


def fit(task: FitTask, variant: Variant, seed: int) -> tuple[LdtmNetwork, int, int]:
    """Train one network; returns it, its best epoch and the epochs that it took."""
    recipe = RECIPE.replace(seed=seed)
    windows, rows = task.windows, task.training_rows
    inputs, targets = examples(windows, rows)
    held_inputs, held_targets = examples(windows, task.validation_rows)
    no_change = no_change_errors(inputs, targets)
    moves = targets - inputs[:, -1, CLOSE, None]
    if variant.bound is not None:
        bounds = variant.bound * torch.tensor([float(LONGEST_SESSIONS[horizon]) for horizon in HORIZONS]).sqrt()
        targets = inputs[:, -1, CLOSE, None] + moves.clamp(-bounds, bounds)
        held_last = held_inputs[:, -1, CLOSE, None]
        held_targets = held_last + (held_targets - held_last).clamp(-bounds, bounds)
        no_change = no_change_errors(inputs, targets)
    scale = no_change.sqrt() if variant.weighted or variant.huber else torch.ones(SHAPE.num_horizons)
    weights = torch.ones(SHAPE.num_horizons) if variant.weighted else scale**2

    def loss_of(predicted: Tensor, wanted: Tensor) -> Tensor:
        errors = (predicted - wanted) / scale
        by_row = (
            errors**2
            if variant.huber is None
            else 2 * huber_loss(errors, torch.zeros_like(errors), reduction="none", delta=variant.huber)
        )
        return (by_row * weights).mean()

    generator = torch.Generator().manual_seed(seed_of(task.ticker, task.fold, seed))
    network = start(variant, generator)
    descent = Descent(network, recipe, variant, loss_of, num_rows=len(inputs))
    stopping, best = EarlyStopping(patience=recipe.patience), network.state_dict()
    while stopping.epoch < variant.epochs and not stopping.exhausted:
        descent.epoch(inputs, targets, torch.randperm(len(inputs), generator=generator))
        with torch.inference_mode():
            held = loss_of(predict(network, held_inputs, variant), held_targets).item()
        if stopping.improves(held):
            best = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
    if not variant.refit:
        network.load_state_dict(best)
        return network, stopping.best_epoch, stopping.epoch
    # the same seed again: training and validation rows, purged as before, for the steps of the best epoch
    inputs, targets = torch.cat([inputs, held_inputs]), torch.cat([targets, held_targets])
    generator = torch.Generator().manual_seed(seed_of(task.ticker, task.fold, seed))
    network = start(variant, generator)
    again = Descent(network, recipe, variant, loss_of, num_rows=len(task.training_rows))
    num_left = stopping.best_epoch * descent.steps_per_epoch
    while num_left:
        order = torch.randperm(len(inputs), generator=generator)[: num_left * recipe.batch_size]
        num_left -= again.epoch(inputs, targets, order)
    return network, stopping.best_epoch, stopping.epoch


def start(variant: Variant, generator: torch.Generator) -> LdtmNetwork:
    state = initial_state(SHAPE, generator)
    if variant.residual:
        for name, tensor in state.items():
            if name.startswith("heads.") and name.split(".")[2] == "2":
                tensor.zero_()
    return network_of(state, SHAPE)


class Descent:
    """The optimizer of one network and its current step."""

    def __init__(self, network: LdtmNetwork, recipe: TrainingConfig, variant: Variant, loss_of: Any, *, num_rows: int):
        self.network, self.recipe, self.variant, self.loss_of = network, recipe, variant, loss_of
        self.steps_per_epoch, self.step = math.ceil(num_rows / recipe.batch_size), 0
        self.optimizer = torch.optim.AdamW(network.parameters(), weight_decay=recipe.weight_decay, fused=True)

    def rate(self) -> float:
        epochs = self.step / self.steps_per_epoch
        length = float(self.variant.epochs)
        if self.variant.restarts:
            length, begun = FIRST_PERIOD, 0.0
            while epochs >= begun + length:
                begun, length = begun + length, 2 * length
            epochs -= begun
        return self.recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * min(1.0, epochs / length)))

    def epoch(self, inputs: Tensor, targets: Tensor, order: Tensor) -> int:
        """Train on rows in a given order; returns the number of steps."""
        batches = torch.split(order, self.recipe.batch_size)
        for rows in batches:
            self.optimizer.param_groups[0]["lr"] = self.rate()
            self.optimizer.zero_grad()
            torch.autograd.backward(self.loss_of(predict(self.network, inputs[rows], self.variant), targets[rows]))
            self.optimizer.step()
            self.step += 1
        return len(batches)


def predict(network: LdtmNetwork, inputs: Tensor, variant: Variant) -> Tensor:
    moves: Tensor = network(inputs)
    return moves + inputs[:, -1, CLOSE, None] if variant.residual else moves


def examples(windows: WindowSet, rows: Rows) -> tuple[Tensor, Tensor]:
    return torch.as_tensor(windows.gather(rows)), torch.as_tensor(windows.targets[rows])


def no_change_errors(inputs: Tensor, targets: Tensor) -> Tensor:
    """The mean squared error of forecasting no change, by horizon."""
    return ((targets - inputs[:, -1, CLOSE, None]) ** 2).mean(0)


def run(name: str, which: Folds, ticker: str, fold: int, seed: int) -> list[dict[str, Any]]:
    """Train one network and list its forecasts of the test rows."""
    task, rows = folds_of(ticker, which)[fold - 1]
    started = time.process_time()
    network, best_epoch, num_epochs = fit(task, VARIANTS[name], seed)
    seconds = time.process_time() - started
    windows = task.windows
    with torch.inference_mode():
        scaled = predict(network, torch.as_tensor(windows.gather(rows)), VARIANTS[name]).numpy().astype(np.float64)
    prices, close, actual = windows.unscale(scaled, rows), windows.close[rows], windows.target_prices[rows]
    cells: list[dict[str, Any]] = []
    for at, session in enumerate(windows.sessions[rows]):
        cell: dict[str, Any] = {
            "variant": name,
            "folds": which,
            "ticker": ticker,
            "fold": fold,
            "seed": seed,
            "session": str(session),
            "best_epoch": best_epoch,
            "num_epochs": num_epochs,
            "seconds": seconds,
        }
        for h, horizon in enumerate(HORIZONS):
            cell[f"{horizon}_move"] = prices[at, h] / close[at] - 1
            cell[f"{horizon}_came"] = actual[at, h] / close[at] - 1
        cells.append(cell)
    return cells


def report(cells: pl.DataFrame, baseline: str) -> None:
    """Print one line per variant: relative errors by horizon, score, direction, and paired test against a baseline."""
    for h in HORIZONS:
        price = 1 + pl.col(f"{h}_came")
        cells = cells.with_columns(
            ((pl.col(f"{h}_move") - pl.col(f"{h}_came")).abs() / price).alias(f"{h}_error"),
            (pl.col(f"{h}_came").abs() / price).alias(f"{h}_no_change"),
        )
    cell = ["variant", "ticker", "fold", "seed"]
    ratios = cells.group_by(cell, maintain_order=True).agg(
        *(pl.mean(f"{h}_error") / pl.mean(f"{h}_no_change") for h in HORIZONS),
        pl.first("best_epoch", "num_epochs", "seconds"),
    )
    scored = ratios.with_columns(score=pl.mean_horizontal(*(f"{h}_error" for h in HORIZONS)))
    seeds = scored.group_by("variant", "seed", maintain_order=True).agg(pl.mean("score"))
    means = scored.group_by("variant", maintain_order=True).agg(
        *(pl.mean(f"{h}_error") for h in HORIZONS), pl.mean("score", "best_epoch", "num_epochs", "seconds")
    )
    calls = cells.filter(pl.col("next_day_move").abs() > NEUTRAL_BAND)
    right = calls.group_by("variant").agg(
        direction=(pl.col("next_day_move").sign() == pl.col("next_day_came").sign()).mean(), calls=pl.len()
    )
    moves = cells.group_by("variant").agg(correlation=pl.corr("next_day_move", "next_day_came"), rows=pl.len())
    series = {name: by_session(of) for (name,), of in cells.group_by("variant", maintain_order=True)}
    print(
        f"{'error / no change':20}{'next day':>9}{'Monday':>8}{'month':>8}{'score':>8}  "
        f"{'score by seed':24}{'p better':>9}{'p worse':>8}{'direction':>10}{'calls':>7}{'corr':>7}"
        f"{'best':>6}{'epochs':>7}{'CPU s':>7}"
    )
    for row in means.join(right, on="variant", how="left").join(moves, on="variant").iter_rows(named=True):
        name = row["variant"]
        tested = compare(series[name], series[baseline]) if name != baseline and baseline in series else None
        by_seed = " ".join(f"{s:.4f}" for s in seeds.filter(variant=name).sort("seed")["score"])
        p = f"{tested.p_better:9.3f}{tested.p_worse:8.3f}" if tested else " " * 17
        direction = "" if row["direction"] is None else f"{row['direction']:.1%}"
        coverage = 0 if row["calls"] is None else row["calls"] / row["rows"]
        print(
            f"{name:20}{row['next_day_error']:9.4f}{row['next_monday_error']:8.4f}{row['one_month_error']:8.4f}"
            f"{row['score']:8.4f}  {by_seed:24}{p}{direction:>10}{coverage:>7.1%}{row['correlation'] or 0:7.3f}"
            f"{row['best_epoch']:6.1f}{row['num_epochs']:7.1f}{row['seconds']:7.1f}"
        )


def by_session(cells: pl.DataFrame) -> np.ndarray:
    """The error over the mean no-change error by session, averaged over horizons, tickers and seeds."""
    relative = pl.mean_horizontal(
        *(pl.col(f"{h}_error") / pl.col(f"{h}_no_change").mean().over("ticker", "fold") for h in HORIZONS)
    )
    return (
        cells.with_columns(relative=relative)
        .group_by("session")
        .agg(pl.mean("relative"))
        .sort("session")["relative"]
        .to_numpy()
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folds", choices=["selection", "test"], default="selection")
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS), default=list(VARIANTS), metavar="VARIANT")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="SEED")
    parser.add_argument("--baseline", default="residual", help="the variant that the others are tested against")
    parser.add_argument("--demo", action="store_true", help="try epochs and rates for demo.toml instead")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--cache", type=Path, help="folder that keeps the forecasts of each network, to continue later")
    options = parser.parse_args()
    if options.demo:
        try_demo_settings(options.workers)
        return
    num_folds = NUM_SELECTION_FOLDS if options.folds == "selection" else PLAN.num_folds
    jobs = list(product(options.variants, [options.folds], TICKERS, range(1, num_folds + 1), options.seeds))
    rows, missing = cached(options.cache, jobs)
    with ProcessPoolExecutor(options.workers, get_context("spawn"), torch.set_num_threads, (1,)) as workers:
        running = {workers.submit(run, *job): job for job in missing}
        for done in as_completed(running):
            rows += done.result()
            if options.cache:
                path_of(options.cache, running[done]).write_text(json.dumps(done.result()))
    cells = pl.DataFrame(rows, infer_schema_length=None)
    order = pl.Enum(list(VARIANTS))
    report(
        cells.with_columns(pl.col("variant").cast(order))
        .sort("variant", "seed", "ticker", "fold", "session")
        .with_columns(pl.col("variant").cast(pl.String)),
        options.baseline,
    )


def try_demo_settings(num_workers: int) -> None:
    """Print one line per number of epochs and learning rate: score and coverage of networks trained by LDTM."""
    jobs = list(product(DEMO_EPOCHS, DEMO_RATES, TICKERS, range(1, NUM_SELECTION_FOLDS + 1)))
    with ProcessPoolExecutor(num_workers, get_context("spawn"), torch.set_num_threads, (1,)) as workers:
        figures = dict(zip(jobs, workers.map(demo_figures, *zip(*jobs, strict=True)), strict=True))
    print(f"{len(DEMO_EPOCHS) * len(DEMO_RATES)} trials, seed 0: error / no change, share of rows with a direction")
    print("epochs    rate next day   Monday    month    score coverage")
    for epochs, rate in product(DEMO_EPOCHS, DEMO_RATES):
        *ratios, coverage = np.mean([found for job, found in figures.items() if job[:2] == (epochs, rate)], axis=0)
        columns = "".join(f"{ratio:9.4f}" for ratio in (*ratios, np.mean(ratios)))
        print(f"{epochs:6}{rate:8.0e}{columns}{coverage:9.1%}")


def demo_figures(epochs: int, rate: float, ticker: str, fold: int) -> list[float]:
    """The errors of one network over those of no change, by horizon, and the share of rows with a direction."""
    task, rows = folds_of(ticker, "selection")[fold - 1]
    shape, recipe = ArchitectureConfig(), RECIPE.replace(max_epochs=epochs, learning_rate=rate)
    result = fit_alone(task, recipe=recipe, architecture=shape, device=torch.device("cpu"), on_progress=lambda _: None)
    prices = predict_prices(result.state, task.windows, rows, shape, "cpu")
    actual, close = task.windows.target_prices[rows], task.windows.close[rows, None]
    errors, no_change = (np.abs(of / actual - 1).mean(axis=0) for of in (prices, np.broadcast_to(close, actual.shape)))
    coverage = float(np.mean(np.abs(prices[:, 0] / close[:, 0] - 1) > NEUTRAL_BAND))
    return [*(errors / no_change).tolist(), coverage]


def path_of(folder: Path, job: Sequence[object]) -> Path:
    return folder / ("-".join(map(str, job)).replace(" ", "_") + ".json")


def cached(folder: Path | None, jobs: Sequence[tuple[Any, ...]]) -> tuple[list[dict[str, Any]], list[tuple[Any, ...]]]:
    """The forecasts that a folder holds, and the jobs that it does not hold."""
    if folder is None:
        return [], list(jobs)
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    missing: list[tuple[Any, ...]] = []
    for job in jobs:
        path = path_of(folder, job)
        if path.exists():
            rows += json.loads(path.read_text())
        else:
            missing.append(job)
    return rows, missing


if __name__ == "__main__":
    main()
