"""The epochs of many networks that are trained at once; `single_fit` is the plain reference for each of them.

Networks are ordered by their number of training rows, longest first, and train their epochs in parallel. When a network
stops, those behind it move up and the next waiting task takes the last slot: all slots are taken while tasks wait, and
afterwards fewer networks are computed.

Axes: M fused networks, R training rows, P elements of a network's row.
"""

import bisect
import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ldtm_lib.errors import TrainingDiverged
from ldtm_lib.models.fit import Fit, FitFailed, FitTask, Progress
from ldtm_lib.models.fused.state import FusedState
from ldtm_lib.models.lstm import initial_state
from ldtm_lib.models.objective import Objective, objective_of
from ldtm_lib.models.single_fit import EarlyStopping, require_finite, seed_of

RunStep = Callable[[Callable[[int], None], int], None]
"""Runs a step of the first m networks; on CUDA as a captured graph."""


@dataclass(slots=True, kw_only=True, eq=False)
class _Member:
    """One network in training."""

    task: FitTask
    generator: torch.Generator
    objective: Objective
    stopping: EarlyStopping
    num_steps: int
    """Steps of an epoch."""
    num_validation_steps: int
    order_R: Tensor
    """The rows of the next epoch in their order, as they are numbered in the tables."""
    training_losses: list[float] = field(default_factory=list[float])
    validation_losses: list[float] = field(default_factory=list[float])
    errors: tuple[float, ...] = ()
    """(E,) of the newest validation."""
    best_errors: tuple[float, ...] = ()
    seconds: float = 0.0


class FusedFit:
    """Trains tasks, all of which have rows, as many at once as the state has slots."""

    def __init__(self, state: FusedState, tasks: Sequence[FitTask], *, run_step: RunStep) -> None:
        self._state, self._recipe, self._run_step = state, state.recipe, run_step
        self._waiting = deque(sorted(tasks, key=lambda task: len(task.training_rows), reverse=True))
        self._members: list[_Member] = []
        self._orders_MR = torch.zeros(
            state.order_MR.shape, dtype=torch.int32, pin_memory=state.order_MR.device.type == "cuda"
        )

    def results(self, on_progress: Callable[[Progress], None]) -> Iterator[Fit | FitFailed]:
        """Train all tasks; yields each when its epochs are over."""
        while self._waiting or self._members:
            while self._waiting and len(self._members) < len(self._orders_MR):
                self._begin(self._waiting.popleft())
            seconds = self._walk_an_epoch()
            ended = self._judge_epoch(seconds, on_progress)
            yield from ended.values()
            self._close_ranks(set(ended))

    def _begin(self, task: FitTask) -> None:
        """Begin a network in the next slot."""
        state, recipe = self._state, self._recipe
        objective = objective_of(task, recipe)
        generator = torch.Generator().manual_seed(seed_of(task.ticker, task.fold, recipe.seed))
        weights_P = torch.empty(state.network.layout.num_elements)
        state.network.layout.write(weights_P, initial_state(state.network.layout.architecture, generator))
        state.place(
            len(self._members),
            weights_P,
            state.tables.rows_of(task.windows, task.validation_rows),
            num_rows=len(task.training_rows),
            objective=objective,
        )
        self._members.append(
            _Member(
                task=task,
                generator=generator,
                objective=objective,
                stopping=EarlyStopping(patience=recipe.patience),
                num_steps=math.ceil(len(task.training_rows) / recipe.batch_size),
                num_validation_steps=math.ceil(len(task.validation_rows) / recipe.batch_size),
                order_R=self._draw_order(task, generator),
            )
        )

    def _draw_order(self, task: FitTask, generator: torch.Generator) -> Tensor:
        rows = torch.randperm(len(task.training_rows), generator=generator).numpy()
        return self._state.tables.rows_of(task.windows, task.training_rows[rows])

    def _walk_an_epoch(self) -> float:
        """Train every network for one epoch and validate it; returns the seconds that it took."""
        started = time.perf_counter()
        state, members = self._state, self._members
        for slot, member in enumerate(members):
            self._orders_MR[slot, : len(member.order_R)] = member.order_R
        state.order_MR[: len(members)].copy_(self._orders_MR[: len(members)], non_blocking=True)
        state.begin_epoch()
        for step in range(members[0].num_steps):
            num_left = bisect.bisect_left(members, -step, key=lambda member: -member.num_steps)
            self._run_step(state.training_step, num_left)
        for step in range(max(member.num_validation_steps for member in members)):
            last = max(slot for slot, member in enumerate(members) if member.num_validation_steps > step)
            self._run_step(state.validation_step, last + 1)
        for member in members:  # while a GPU still computes
            member.order_R = self._draw_order(member.task, member.generator)
        training_ME, validation_ME, squares_ME = state.means().numpy()
        for slot, member in enumerate(members):
            member.errors = tuple(float(square) for square in squares_ME[slot])
            member.training_losses.append(member.objective.loss(training_ME[slot]))
            member.validation_losses.append(member.objective.loss(validation_ME[slot]))
        return time.perf_counter() - started

    def _judge_epoch(self, seconds: float, on_progress: Callable[[Progress], None]) -> dict[int, Fit | FitFailed]:
        """Keep the weights that improved; returns the networks whose training is over, by slot."""
        seconds_per_step = seconds / sum(member.num_steps for member in self._members)
        improved_M = torch.zeros(len(self._orders_MR), dtype=torch.bool)
        over: list[int] = []
        failed: dict[int, Fit | FitFailed] = {}
        for slot, member in enumerate(self._members):
            member.seconds += member.num_steps * seconds_per_step
            training, validation = member.training_losses[-1], member.validation_losses[-1]
            try:
                require_finite(member.task, self._recipe, member.stopping.epoch + 1, training, validation)
            except TrainingDiverged as reason:
                failed[slot] = FitFailed(task=member.task, reason=reason)
                continue
            if member.stopping.improves(validation):
                improved_M[slot], member.best_errors = True, member.errors
            on_progress(self._progress(member))
            if member.stopping.exhausted or member.stopping.epoch == self._recipe.max_epochs:
                over.append(slot)
        self._state.keep_best(improved_M)
        return failed | {slot: self._fit(slot) for slot in over}

    def _close_ranks(self, ended: set[int]) -> None:
        """Move the networks that continue to the first slots."""
        staying = [slot for slot in range(len(self._members)) if slot not in ended]
        for to, slot in enumerate(staying):
            if to != slot:
                self._state.move(slot, to)
        for slot in range(len(staying), len(self._members)):
            self._state.clear(slot)
        self._members = [self._members[slot] for slot in staying]

    def _progress(self, member: _Member) -> Progress:
        return Progress(
            ticker=member.task.ticker,
            fold=member.task.fold,
            epoch=member.stopping.epoch,
            max_epochs=self._recipe.max_epochs,
            expected_epochs=min(member.stopping.best_epoch + self._recipe.patience, self._recipe.max_epochs),
            training_loss=member.training_losses[-1],
            validation_loss=member.validation_losses[-1],
            best_validation_loss=member.stopping.best_loss,
        )

    def _fit(self, slot: int) -> Fit:
        member, state = self._members[slot], self._state
        device = state.parameters_MP.device
        return Fit(
            task=member.task,
            state=state.network.layout.read(state.best_MP[slot].cpu()),
            validation_loss=member.stopping.best_loss,
            horizon_errors=member.best_errors,
            no_change_loss=member.objective.no_change_loss,
            no_change_errors=member.objective.no_change_errors,
            training_losses=tuple(member.training_losses),
            validation_losses=tuple(member.validation_losses),
            num_epochs=member.stopping.epoch,
            best_epoch=member.stopping.best_epoch,
            duration_seconds=member.seconds,
            device=str(device),
            vram_peak_mib=torch.cuda.max_memory_allocated(device) / 2**20 if device.type == "cuda" else None,
        )
