"""Section of `gpu.py` that times each recurrence kernel under every tiling.

Axes: M networks, T sessions of a window, B windows of a batch, H hidden units, G = 4 H gates.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from gpu_sizes import Sizes
from sections import LeftOut
from torch import Tensor

from ldtm_lib.models.fused.kernels.interface import REFERENCE, Operations
from ldtm_lib.models.fused.kernels.tiling import (
    CHOSEN,
    CONSUMER,
    HOPPER_ALTERNATIVES,
    Tiling,
    Tilings,
    obstacle,
    smaller_tilings,
    tilings_of,
)
from ldtm_lib.models.fused.network import FusedNetwork
from ldtm_lib.models.lstm import initial_state

HOPPER = (9, 0)
LARGEST_DISTANCE = 0.01
"""Share of the norm of the plain operations' results in float16: allows for rounding over all sessions and for the
hardware's tanh."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """One launch of a training step's recurrence."""

    name: str
    forward: bool
    run: Callable[[Callable[..., None]], None]
    """Launches an operation on the buffers."""
    restore: Callable[[], None]
    """Restores the contents of the buffers before the launch in a training step."""
    results: Sequence[Tensor]


def kernels(sizes: Sizes, folder: Path) -> bool:
    """Time every recurrence kernel under every tiling; tilings that a training uses come first."""
    forward, backward = _recurrences(sizes)
    passed = True
    for batch_size in sizes.batch_sizes:
        try:
            launches = _launches(sizes, batch_size)
            expected = {launch.name: _results(launch, REFERENCE) for launch in launches}
        except torch.OutOfMemoryError as error:
            print(f"  batch {batch_size:3}: left out, {str(error).partition(chr(10))[0][:160]}")
            continue
        best: dict[str, tuple[float, str]] = {}
        for launch, tiling, chosen in _in_order(sizes, launches):
            operation = forward if launch.forward else backward
            begin = f"  batch {batch_size:3}, {launch.name:15} {_words(tiling)}{' (the choice)' if chosen else '':13}"
            try:
                ms, apart = _measure(sizes, launch, tiling, operation, expected[launch.name])
            except Exception as error:  # errors of Triton's compiler and of CUDA have no common base class
                print(
                    f"{begin} {type(error).__name__}: {str(error).strip().splitlines()[0][:160] if str(error) else ''}"
                )
                sizes.synchronize()  # raises if the device is lost: later results would be wrong
                passed = passed and not chosen
                continue
            wrong = not apart <= LARGEST_DISTANCE
            print(f"{begin} {ms:7.3f} ms, {apart:.1e} from the plain operations{' WRONG' if wrong else ''}")
            passed = passed and not (wrong and chosen)
            if not wrong:
                best[launch.name] = min(best.get(launch.name, (ms, _words(tiling))), (ms, _words(tiling)))
        for name, (ms, words) in best.items():
            print(f"  batch {batch_size:3}, {name:15} fastest: {words} {ms:7.3f} ms")
    return passed


def _recurrences(sizes: Sizes) -> tuple[Callable[..., None], Callable[..., None]]:
    """The recurrence kernels, which take a tiling; in a rehearsal on a CPU, the plain operations instead."""
    if sizes.kernels:
        return sizes.kernels.lstm_forward, sizes.kernels.lstm_backward
    if sizes.on_cuda:
        raise LeftOut(f"the kernels do not run here: {obstacle(sizes.device, sizes.architecture.hidden)}")

    def forward(*arguments: Tensor, tiling: Tiling, **named: Any) -> None:
        REFERENCE.lstm_forward(*arguments, **named)

    def backward(*arguments: Tensor, tiling: Tiling, **named: Any) -> None:
        REFERENCE.lstm_backward(*arguments, **named)

    return forward, backward


def tilings_to_try(choice: Tilings, capability: tuple[int, int], hidden: int) -> Sequence[Tilings]:
    """The choice, the alternatives for the same GPU, the smaller tilings, and the choices for other GPUs."""
    made_for_it = HOPPER_ALTERNATIVES if capability == HOPPER else ()
    return [choice, *made_for_it, smaller_tilings(capability, hidden), *CHOSEN.values(), CONSUMER]


def _in_order(sizes: Sizes, launches: Sequence[Launch]) -> list[tuple[Launch, Tiling, bool]]:
    """Every launch with every tiling of its direction, and True for the choice; the choices come first."""
    hidden, device = sizes.architecture.hidden, sizes.device
    capability = torch.cuda.get_device_capability(device) if sizes.on_cuda else HOPPER
    choice = tilings_of(device, hidden)
    found: list[tuple[Launch, Tiling, bool]] = []
    for launch in launches:
        of_direction = [
            each.forward if launch.forward else each.backward for each in tilings_to_try(choice, capability, hidden)
        ]
        found += [(launch, tiling, at == 0) for at, tiling in enumerate(dict.fromkeys(of_direction))]
    return sorted(found, key=lambda entry: not entry[2])


def _words(tiling: Tiling) -> str:
    kept = "resident" if tiling.resident else "cached  "
    return f"rows {tiling.rows:2}, warps {tiling.warps:2}, stages {tiling.stages}, weights {kept}"


def _measure(
    sizes: Sizes, launch: Launch, tiling: Tiling, operation: Callable[..., None], expected: Sequence[Tensor]
) -> tuple[float, float]:
    """The median of a launch in milliseconds, and its distance from the plain operations as a share of their norm."""

    def run(*arguments: Any, **named: Any) -> None:
        operation(*arguments, **named, tiling=tiling)

    launch.restore()
    launch.run(run)
    sizes.synchronize()
    pairs = zip(launch.results, expected, strict=True)
    apart = max(_distance(found, wanted) for found, wanted in pairs)
    return sizes.median_ms(lambda: launch.run(run), launch.restore), apart


def _results(launch: Launch, operations: Operations) -> list[Tensor]:
    """Contents of the buffers after a launch by some operations."""
    launch.restore()
    launch.run(operations.lstm_forward if launch.forward else operations.lstm_backward)
    return [tensor.clone() for tensor in launch.results]


def _distance(found: Tensor, expected: Tensor) -> float:
    """Relative distance in float32; network by network, since all at once would need several times their memory."""
    apart = size = 0.0
    for one, other in zip(found, expected, strict=True):
        apart += float((one.float() - other.float()).square().sum())
        size += float(other.float().square().sum())
    return (apart / max(size, 1e-24)) ** 0.5


def _launches(sizes: Sizes, batch_size: int) -> list[Launch]:
    """The four launches of a step of all networks, on the buffers of a fused network with random weights and inputs."""
    M, window_sessions = sizes.num_tickers, sizes.num_sessions
    network = FusedNetwork(
        sizes.architecture,
        REFERENCE,
        num_networks=M,
        batch_size=batch_size,
        window_sessions=window_sessions,
        delta=1.0,
        dtype=torch.float16,
        device=sizes.device,
    )
    flat_MP = torch.zeros(M, network.layout.num_elements)
    for at, row_P in enumerate(flat_MP):
        moving = sizes.architecture.replace(residual=False)
        network.layout.write(row_P, initial_state(moving, torch.Generator().manual_seed(at)))
    flat_MP = flat_MP.to(sizes.device, torch.float16)
    weights = network.layout.weights(flat_MP)
    network.inputs_MTBK[..., : sizes.architecture.num_inputs].uniform_()
    network.valid_MB[:] = True
    active_M = network.valid_MB[:, 0]
    first_hidden, second_hidden = network.first_hidden_MTBH, network.second_hidden_MTBH
    network.forward(flat_MP, M)
    first_gates, second_gates = network.first_gates_MTBG, network.second_gates_MTBG
    first_activated, second_activated = first_gates.clone(), second_gates.clone()
    shares = torch.empty_like(second_gates)
    torch.bmm(first_hidden.flatten(1, 2), weights.second_ih_MGH.transpose(1, 2), out=shares.flatten(1, 2))
    grad_last_MBH = torch.randn_like(network.second_cell_MTBH[:, 0])
    grad_hidden_MTBH = torch.randn_like(network.first_cell_MTBH)

    def first_forward(operation: Callable[..., None]) -> None:
        operation(
            first_gates,
            weights.first_hh_MGH,
            first_hidden,
            network.first_cell_MTBH,
            active_M=active_M,
            inputs_MTBK=network.inputs_MTBK,
            weight_ih_MGI=weights.first_ih_MGK,
        )

    def second_forward(operation: Callable[..., None]) -> None:
        operation(second_gates, weights.second_hh_MGH, second_hidden, network.second_cell_MTBH, active_M=active_M)

    def second_backward(operation: Callable[..., None]) -> None:
        operation(
            second_gates,
            weights.second_hh_MGH,
            network.second_cell_MTBH,
            active_M=active_M,
            grad_last_MBH=grad_last_MBH,
        )

    def first_backward(operation: Callable[..., None]) -> None:
        operation(
            first_gates,
            weights.first_hh_MGH,
            network.first_cell_MTBH,
            active_M=active_M,
            grad_hidden_MTBH=grad_hidden_MTBH,
        )

    def launch(name: str, run: Callable[..., None], gates_before: Tensor, gates: Tensor, *others: Tensor) -> Launch:
        forward, others_before = name.endswith("forward"), [other.clone() for other in others]

        def restore() -> None:
            gates.copy_(gates_before)
            for other, before in zip(others, others_before, strict=True):
                other.copy_(before)

        return Launch(name=name, forward=forward, run=run, restore=restore, results=[gates, *others])

    first_cell, second_cell = network.first_cell_MTBH, network.second_cell_MTBH
    return [
        launch("first forward", first_forward, first_activated, first_gates, first_hidden, first_cell),
        launch("second forward", second_forward, shares, second_gates, second_hidden, second_cell),
        launch("second backward", second_backward, second_activated, second_gates, second_cell),
        launch("first backward", first_backward, first_activated, first_gates, first_cell),
    ]
