"""The probe of a GPU: a training step of three networks, compared with the same step in float32 on the CPU.

A GPU, a driver or a compiler may compute something other than the program states. A loss alone does not show this,
since networks learn even with half of a gradient missing. Forecasts, every block of gradients, an update and sums of
losses are therefore compared, and separately the parts that a single step hardly shows, such as weight decay and the
learning rate by the step.

Axes as in `fused.state`: M = 3 fused networks, P elements of a network's row.
"""

import math
import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ldtm_lib.errors import LdtmError
from ldtm_lib.models.fused.fit import RunStep
from ldtm_lib.models.fused.kernels.interface import REFERENCE, Operations
from ldtm_lib.models.fused.network import FusedNetwork
from ldtm_lib.models.fused.state import BACKOFF, BETA1, BETA2, EPS, GROWTH, GROWTH_INTERVAL, FusedState
from ldtm_lib.models.fused.step_graphs import StepGraphs
from ldtm_lib.models.fused.windows import WindowTables
from ldtm_lib.models.lstm import parameter_shapes
from ldtm_lib.models.objective import Objective
from ldtm_lib.settings import ArchitectureConfig, TrainingConfig

FULL, PADDED, LEFT_OUT = 0, 1, 2
NUM_NETWORKS = 3
NAMES = ("network with a full batch", "network with a padded batch", "network without rows")
GATES = ("input", "forget", "cell", "output")
TOLERANCE = 0.01
"""Largest distance of forecasts and gradients as a share of their norm; float16 and the hardware's tanh are off by
0.0015 (measured on an H100)."""
UPDATE_TOLERANCE = 1e-3
"""Largest distance of an update, from the same gradients, as a share of its norm."""
ROW_TOLERANCE = 0.05
"""Largest distance of each window's forecasts as a share of their typical norm: the norm over all windows hides a
single bad one."""
SCALE = 8192.0
OVERFLOWING_SCALE = 1e30
"""Loss scales under float16: one that overflows nothing here, one that overflows everything."""


class ProbeFailed(LdtmError):
    """A step gave other results on the GPU than on the CPU."""


def require_same_as_on_the_cpu(
    operations: Operations,
    *,
    device: torch.device,
    recipe: TrainingConfig,
    architecture: ArchitectureConfig,
    window_sessions: int,
    half_precision: bool | None = None,
) -> str:
    """Run steps of three networks at the real shape through warm-up, capture and replay; returns the distances found.

    Raises ProbeFailed, and passes on errors of the device and the compiler. The precision is float16 on a GPU unless it
    is given.
    """
    half = device.type == "cuda" if half_precision is None else half_precision
    generator = torch.Generator().manual_seed(0)
    tables = _random_tables(recipe.batch_size, window_sessions, architecture, generator)
    tested = _state(operations, tables, device, torch.float16 if half else torch.float32, recipe, architecture)
    expected = _state(REFERENCE, tables, torch.device("cpu"), torch.float32, recipe, architecture)
    run = _runner(tested)
    initial_MP = torch.stack([_random_weights(tested, generator) for _ in range(NUM_NETWORKS)])
    _place(expected, initial_MP)
    _validate(expected, lambda step, m: step(m))
    expected.training_step(NUM_NETWORKS)
    forecasts = update = sums = 0.0
    gradients: dict[str, float] = {}
    for num_computed in (NUM_NETWORKS, LEFT_OUT):  # with the network without rows, and without it
        _place(tested, initial_MP)
        if half:
            tested.scale_M.fill_(SCALE / min(1.0, recipe.huber_delta))  # which bounds gradients
        _validate(tested, run)
        run(tested.training_step, num_computed)
        forecasts = max(forecasts, _compare_forecasts(tested, expected))
        for name, apart in _compare_gradients(tested, expected).items():
            gradients[name] = max(gradients.get(name, 0.0), apart)
        update = max(update, _compare_update(tested, initial_MP))
        sums = max(sums, _compare_sums(tested, expected))
    _compare_adamw(operations, tested, initial_MP, generator)
    _compare_books(operations, tested)
    if half:
        _require_overflows_to_be_found(operations, tested)
        _require_overflow_to_be_skipped(tested, run)
    worst = max(gradients, key=lambda name: gradients[name])
    return (
        f"forecasts are off by {forecasts:.1e} of their norm, gradients by {gradients[worst]:.1e} ({worst}), "
        f"sums of losses by {sums:.1e}, {TOLERANCE:.0%} is allowed; an update by {update:.1e}"
    )


def _runner(state: FusedState) -> RunStep:
    """A function that runs a step as a training does: as a captured graph on a GPU."""
    device = state.parameters_MP.device
    if device.type != "cuda":
        return lambda step, m: step(m)
    graphs = StepGraphs(device, num_networks=NUM_NETWORKS)
    graphs.warm_up(state.training_step, state.validation_step)

    def run(step: Callable[[int], None], m: int) -> None:
        graphs.run(step, m)
        torch.cuda.synchronize(device)

    return run


def _random_tables(
    batch_size: int, window_sessions: int, architecture: ArchitectureConfig, generator: torch.Generator
) -> WindowTables:
    """Two batches of windows with scaled values of about 0 to 2; in every seventh window one input never moves."""
    num_windows = 2 * batch_size
    shape = (num_windows, architecture.num_inputs)
    span_WI = 0.5 + torch.rand(shape, generator=generator)
    span_WI[::7, 0] = 0
    return WindowTables(
        bars_SI=torch.rand(num_windows + window_sessions - 1, architecture.num_inputs, generator=generator),
        low_WI=torch.rand(shape, generator=generator) / 10,
        span_WI=span_WI,
        starts_W=torch.arange(num_windows),
        # errors of one sign: where they cancel out in a sum, rounding is a large share of what is left
        targets_WE=1 + torch.randn(num_windows, architecture.num_horizons, generator=generator) / 10,
        first_window={},
    )


def _state(
    operations: Operations,
    tables: WindowTables,
    device: torch.device,
    dtype: torch.dtype,
    recipe: TrainingConfig,
    architecture: ArchitectureConfig,
) -> FusedState:
    num_windows = len(tables.starts_W)
    network = FusedNetwork(
        architecture,
        operations,
        num_networks=NUM_NETWORKS,
        batch_size=recipe.batch_size,
        window_sessions=len(tables.bars_SI) - num_windows + 1,
        delta=recipe.huber_delta,
        dtype=dtype,
        device=device,
    )
    on_device = replace(
        tables,
        bars_SI=tables.bars_SI.to(device),
        low_WI=tables.low_WI.to(device),
        span_WI=tables.span_WI.to(device),
        starts_W=tables.starts_W.to(device),
        targets_WE=tables.targets_WE.to(device),
    )
    return FusedState(
        network,
        on_device,
        recipe,
        windows_on_device=True,
        max_training_rows=num_windows,
        max_validation_rows=recipe.batch_size + 1,
    )


def _random_weights(state: FusedState, generator: torch.Generator) -> Tensor:
    """A network's row (P,) in which no parameter is 0, unlike the last layers of newly initialised heads.

    Inner biases of the heads are large, because gradients jump where a unit passes 0, which a rounding error could
    cause.
    """
    layout = state.network.layout
    row_P = torch.empty(layout.num_elements)
    reach = 1 / math.sqrt(layout.architecture.hidden)
    shapes = parameter_shapes(layout.architecture)
    drawn = {name: reach * (2 * torch.rand(shape, generator=generator) - 1) for name, shape in shapes.items()}
    for name, tensor in drawn.items():
        if re.fullmatch(r"heads\.\d+\.0\.bias", name):
            tensor.copy_(torch.where(tensor < 0, -0.5, 0.5))
    layout.write(row_P, drawn)
    return row_P


def _place(state: FusedState, initial_MP: Tensor) -> None:
    """Begin the first two networks: one has two batches of rows, the other a third of a batch.

    Horizons differ in units and weights, in the opposite order in the second network. With the usual `huber_delta` of
    1, some errors are beyond it and some are not.
    """
    batch_size, num_horizons = state.recipe.batch_size, state.network.targets_MBE.shape[2]
    of_horizons, ones = np.linspace(0.5, 1.5, num_horizons), (1.0,) * num_horizons
    for slot, num_rows, watched in (
        (FULL, 2 * batch_size, batch_size + 1),
        (PADDED, max(1, batch_size // 3), 1),
    ):
        objective = Objective(
            units=of_horizons if slot == FULL else of_horizons[::-1].copy(),
            weights=of_horizons[::-1].copy() if slot == FULL else of_horizons,
            delta=state.network.delta,
            no_change_losses=ones,
            no_change_errors=ones,
        )
        rows = torch.arange(watched, dtype=torch.int32)
        state.place(slot, initial_MP[slot], rows, num_rows=num_rows, objective=objective)
        state.order_MR[slot, :num_rows] = torch.arange(num_rows, dtype=torch.int32).roll(slot).to(state.order_MR.device)
    state.parameters_MP[LEFT_OUT] = initial_MP[LEFT_OUT].to(state.parameters_MP.device)
    state.begin_epoch()


def _validate(state: FusedState, run: RunStep) -> None:
    """Validate both batches of validation rows, of which only the first network has a second one."""
    run(state.validation_step, NUM_NETWORKS)
    run(state.validation_step, NUM_NETWORKS)


def _compare_forecasts(tested: FusedState, expected: FusedState) -> float:
    distance = 0.0
    for slot in (FULL, PADDED):
        valid_B = expected.network.valid_MB[slot]
        if not torch.equal(tested.network.valid_MB[slot].cpu(), valid_B):
            raise ProbeFailed(f"the {NAMES[slot]} has other windows on the device than on the CPU")
        found_BE = tested.network.predictions_MBE[slot].cpu()[valid_B]
        expected_BE = expected.network.predictions_MBE[slot][valid_B]
        what = f"forecasts of the {NAMES[slot]}"
        distance = max(distance, _distance(found_BE, expected_BE, what, TOLERANCE))
        typical = float(expected_BE.square().sum(1).mean().sqrt())
        farthest = float((found_BE - expected_BE).square().sum(1).max().sqrt())
        if not farthest <= ROW_TOLERANCE * typical:
            raise ProbeFailed(f"{what} are {farthest / typical:.1%} off in one window, {ROW_TOLERANCE:.0%} is allowed")
    return distance


def _compare_gradients(tested: FusedState, expected: FusedState) -> dict[str, float]:
    """Distances by block, each the larger of the two networks."""
    distances: dict[str, float] = {}
    grads_MP = tested.grads_MP.cpu().float() / tested.scale_M.cpu()[:, None]
    for slot in (FULL, PADDED):
        found = _blocks(tested, grads_MP[slot])
        for name, block in _blocks(expected, expected.grads_MP[slot]).items():
            apart = _distance(found[name], block, f"gradients of {name} of the {NAMES[slot]}", TOLERANCE)
            distances[name] = max(distances.get(name, 0.0), apart)
    return distances


def _blocks(state: FusedState, row_P: Tensor) -> dict[str, Tensor]:
    """The parts of a network's row by name, with each gate's weights as a separate part."""
    parts: dict[str, Tensor] = {}
    for name, block in state.network.layout.read(row_P).items():
        if name.startswith("lstm"):
            parts |= {f"{name} ({gate} gate)": part for gate, part in zip(GATES, block.chunk(4), strict=True)}
        else:
            parts[name] = block
    return parts


def _compare_update(tested: FusedState, initial_MP: Tensor) -> float:
    """Compare an update of AdamW from the device's own gradients; a network without rows must not change."""
    parameters_MP, recipe = initial_MP.clone(), tested.recipe
    scale_M = tested.scale_M.cpu()
    update_M = torch.tensor([slot != LEFT_OUT for slot in range(NUM_NETWORKS)])
    ones_M = torch.ones(NUM_NETWORKS)
    REFERENCE.adamw(
        parameters_MP,
        None,
        tested.grads_MP.cpu(),
        torch.zeros_like(initial_MP),
        torch.zeros_like(initial_MP),
        learning_rate_M=recipe.learning_rate * ones_M,
        bias_correction1_M=(1 - BETA1) * ones_M,
        bias_correction2_sqrt_M=math.sqrt(1 - BETA2) * ones_M,
        inverse_scale_M=1 / scale_M,
        update_M=update_M,
        weight_decay=recipe.weight_decay,
        beta1=BETA1,
        beta2=BETA2,
        eps=EPS,
    )
    found_MP = tested.parameters_MP.cpu()
    distances = [
        _distance(
            found_MP[slot] - initial_MP[slot],
            parameters_MP[slot] - initial_MP[slot],
            f"update of the {NAMES[slot]}",
            UPDATE_TOLERANCE,
        )
        for slot in (FULL, PADDED)
    ]
    if not torch.equal(found_MP[LEFT_OUT], initial_MP[LEFT_OUT]):
        raise ProbeFailed(f"the {NAMES[LEFT_OUT]} was updated")
    if tested.half_MP is not None and not torch.equal(tested.half_MP[:LEFT_OUT].cpu(), found_MP[:LEFT_OUT].half()):
        raise ProbeFailed("the float16 copy of the parameters differs from the parameters")
    return max(distances)


def _compare_sums(tested: FusedState, expected: FusedState) -> float:
    """Compare losses of training, and losses and squared errors of validation, by which an epoch is judged."""
    found_SME, expected_SME = tested.means(), expected.means()
    return max(
        _distance(found_SME[at, slot], expected_SME[at, slot], f"{what} of the {NAMES[slot]}", TOLERANCE)
        for at, what in enumerate(("losses", "validation losses", "validation squares"))
        for slot in (FULL, PADDED)
    )


def _compare_adamw(operations: Operations, tested: FusedState, initial_MP: Tensor, generator: torch.Generator) -> None:
    """Compare AdamW in the middle of a training, with parameters so large that weight decay shows."""
    device, half = tested.parameters_MP.device, tested.half_MP is not None
    update_M = torch.tensor([slot != LEFT_OUT for slot in range(NUM_NETWORKS)])
    ones_M = torch.ones(NUM_NETWORKS)
    numbers = {
        "learning_rate_M": 0.1 * ones_M,
        "bias_correction1_M": 0.5 * ones_M,
        "bias_correction2_sqrt_M": 0.2 * ones_M,
        "inverse_scale_M": ones_M / SCALE,
        "update_M": update_M,
    }
    drawn_MP = [torch.randn(initial_MP.shape, generator=generator) for _ in range(4)]
    grads_MP = (SCALE / 1000 * drawn_MP[1]).to(tested.grads_MP.dtype)
    expected = [100 * drawn_MP[0], grads_MP, drawn_MP[2] / 1000, (drawn_MP[3] / 1000).square()]
    found = [tensor.clone().to(device) for tensor in expected]
    recipe, half_MP = tested.recipe, torch.zeros(initial_MP.shape, dtype=torch.float16, device=device) if half else None
    constants = {"weight_decay": recipe.weight_decay, "beta1": BETA1, "beta2": BETA2, "eps": EPS}
    before_MP = expected[0].clone()
    REFERENCE.adamw(expected[0], None, *expected[1:], **numbers, **constants)
    on_device = {name: number.to(device) for name, number in numbers.items()}
    operations.adamw(found[0], half_MP, *found[1:], **on_device, **constants)
    for slot in range(NUM_NETWORKS):
        moved_P = found[0][slot].cpu() - before_MP[slot], expected[0][slot] - before_MP[slot]
        _distance(*moved_P, f"AdamW's update of the {NAMES[slot]}", UPDATE_TOLERANCE)
        for at, what in ((2, "first"), (3, "second")):
            what = f"AdamW's {what} moments of the {NAMES[slot]}"
            _distance(found[at][slot].cpu(), expected[at][slot], what, UPDATE_TOLERANCE)


def _compare_books(operations: Operations, tested: FusedState) -> None:
    """Compare the learning rate, bias corrections, counts and loss scales in the middle of a training."""
    device, half = tested.parameters_MP.device, tested.half_MP is not None
    books = {
        "active_M": torch.tensor([True, True, False]),
        "num_steps_M": torch.tensor([90, 30, 60]),
        "attempts_M": torch.tensor([60, 10, 20]),
        "updates_M": torch.tensor([50, 9, 20]),
        "streak_M": torch.tensor([GROWTH_INTERVAL - 1, 7, 5]),
        "scale_M": torch.tensor([SCALE, SCALE / 2, SCALE / 4]) if half else torch.ones(NUM_NETWORKS),
        "learning_rate_M": torch.zeros(NUM_NETWORKS),
        "bias_correction1_M": torch.zeros(NUM_NETWORKS),
        "bias_correction2_sqrt_M": torch.zeros(NUM_NETWORKS),
        "inverse_scale_M": torch.zeros(NUM_NETWORKS),
        "update_M": torch.zeros(NUM_NETWORKS, dtype=torch.bool),
    }
    found = {name: book.clone().to(device) for name, book in books.items()}
    overflow_M = torch.tensor([0, 1, 0], dtype=torch.int32)
    for each, operation, place in ((books, REFERENCE, torch.device("cpu")), (found, operations, device)):
        operation.plan_updates(
            **each,
            overflow_M=overflow_M.clone().to(place) if half else None,
            learning_rate=tested.recipe.learning_rate,
            beta1=BETA1,
            beta2=BETA2,
            backoff=BACKOFF,
            growth=GROWTH,
            growth_interval=GROWTH_INTERVAL,
        )
    for name, book in books.items():
        numbers = found[name].cpu().double()[:LEFT_OUT], book.double()[:LEFT_OUT]
        _distance(*numbers, f"the numbers {name} of a step", UPDATE_TOLERANCE)
    if bool(found["update_M"][LEFT_OUT]):
        raise ProbeFailed(f"the {NAMES[LEFT_OUT]} is to be updated")


def _require_overflows_to_be_found(operations: Operations, tested: FusedState) -> None:
    """Require that a single gradient that is not finite marks its network, at any position."""
    device = tested.grads_MP.device
    for place, value in ((0, math.nan), (-1, math.inf), (-1, math.nan), (tested.grads_MP.shape[1] // 2, -math.inf)):
        grads_MP = torch.zeros_like(tested.grads_MP)
        grads_MP[FULL, place] = grads_MP[LEFT_OUT, place] = value
        overflow_M = torch.zeros(NUM_NETWORKS, dtype=torch.int32, device=device)
        operations.find_overflows(grads_MP, torch.tensor([True, True, False], device=device), overflow_M)
        if not torch.equal(overflow_M.cpu(), torch.tensor([1, 0, 0], dtype=torch.int32)):
            marked = ", ".join(str(int(mark)) for mark in overflow_M.cpu().numpy())
            raise ProbeFailed(f"a gradient of {value} at {place} marks networks by {marked} instead of 1, 0, 0")


def _require_overflow_to_be_skipped(tested: FusedState, run: RunStep) -> None:
    """Require that a network with gradients beyond float16 keeps its weights and halves its loss scale, and only it."""
    before_MP = tested.parameters_MP.cpu().clone()
    tested.begin_epoch()
    tested.attempts_M.zero_()  # in its last step a network learns nothing
    tested.scale_M[FULL] = OVERFLOWING_SCALE
    run(tested.training_step, NUM_NETWORKS)
    after_MP, scale = tested.parameters_MP.cpu(), float(tested.scale_M[FULL])
    if not torch.equal(after_MP[FULL], before_MP[FULL]):
        raise ProbeFailed("a network whose gradients overflow was updated")
    if not math.isclose(scale, OVERFLOWING_SCALE / 2, rel_tol=1e-5):
        raise ProbeFailed(f"an overflow took the loss scale from {OVERFLOWING_SCALE:g} to {scale:g}, not to half of it")
    if torch.equal(after_MP[PADDED], before_MP[PADDED]):
        raise ProbeFailed("an overflow of one network kept another one from its update")


def _distance(found: Tensor, expected: Tensor, what: str, tolerance: float) -> float:
    """The distance of two tensors as a share of the norm of the second. Raises ProbeFailed beyond the tolerance."""
    norm = math.sqrt(float(expected.square().sum()))
    apart = math.sqrt(float((found.float() - expected).square().sum()))
    if not apart <= tolerance * norm:
        share = f"{apart / norm:.1%}" if norm else "more than 100%"
        raise ProbeFailed(
            f"{what} differ by {share} of their norm from those in float32 on the CPU, {tolerance:.1%} is allowed"
        )
    return apart / norm if norm else 0.0
