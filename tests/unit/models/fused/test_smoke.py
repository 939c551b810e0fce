"""The trial of a device: it passes with the reference operations, and each kind of wrong operation fails it."""

import dataclasses
from typing import Any

import pytest
import torch

from ldtm_lib.models.cpu import one_thread_each
from ldtm_lib.models.fused.kernels.interface import REFERENCE, Operations
from ldtm_lib.models.fused.smoke import SmokeSizes, SmokeStep, smoke
from ldtm_lib.settings import ArchitectureConfig, GpuConfig, TrainingConfig

SIZES = SmokeSizes(num_networks=3, num_rows=80, num_validation_rows=20, num_compared=2)
RECIPE = TrainingConfig(batch_size=16)


def steps(
    small: ArchitectureConfig, operations: Operations = REFERENCE, *, half_precision: bool = False
) -> dict[str, SmokeStep]:
    with one_thread_each():
        found = smoke(
            torch.device("cpu"),
            small,
            RECIPE,
            GpuConfig(),
            sizes=SIZES,
            operations=operations,
            half_precision=half_precision,
        )
        return {step.name: step for step in found}


def of_gate(gates: torch.Tensor, at: int) -> torch.Tensor:
    return gates.chunk(4, dim=3)[at]


def without_forget_gradient(*arguments: Any, **named: Any) -> None:
    REFERENCE.lstm_backward(*arguments, **named)
    of_gate(arguments[0], 1).zero_()


def exchanged_gates(*arguments: Any, **named: Any) -> None:
    REFERENCE.lstm_backward(*arguments, **named)
    cell, output = (of_gate(arguments[0], at) for at in (2, 3))
    swapped = cell.clone()
    cell.copy_(output)
    output.copy_(swapped)


def scaled_states(*arguments: Any, **named: Any) -> None:
    REFERENCE.lstm_forward(*arguments, **named)
    arguments[2].mul_(1.05)


def states_that_are_no_numbers(*arguments: Any, **named: Any) -> None:
    REFERENCE.lstm_forward(*arguments, **named)
    arguments[2].fill_(torch.nan)


def windows_of_another_row(*arguments: Any) -> None:
    REFERENCE.gather_windows(*arguments[:4], (arguments[4] - 1).clamp_(min=0), arguments[5])


def uncorrected_update(*arguments: Any, **named: Any) -> None:
    REFERENCE.adamw(*arguments, **{**named, "bias_correction2_sqrt_M": torch.ones_like(named["learning_rate_M"])})


def does_not_compile(*arguments: Any, **named: Any) -> None:
    raise NotImplementedError("out of resource: shared memory")


@pytest.mark.parametrize("half_precision", [False, True])
def test_the_reference_passes_every_step(small: ArchitectureConfig, half_precision: bool) -> None:
    found = steps(small, half_precision=half_precision)
    assert list(found) == ["epoch", "training", "gradients"]
    assert all(step.passed for step in found.values()), found
    assert found["epoch"].detail.startswith("3 of 3 networks x 80 windows in ")
    assert f"plain operations in float{16 if half_precision else 32}" in found["epoch"].detail
    assert "T000: validation loss" in found["training"].detail
    assert "gradients of 28 blocks" in found["gradients"].detail
    assert all(step.seconds > 0 for step in found.values())


@pytest.mark.parametrize("half_precision", [False, True])
def test_a_forget_gate_without_gradient_fails_though_losses_are_ordinary(
    small: ArchitectureConfig, half_precision: bool
) -> None:
    broken = dataclasses.replace(REFERENCE, lstm_backward=without_forget_gradient)
    found = steps(small, broken, half_precision=half_precision)
    assert found["epoch"].passed
    assert found["training"].passed, "this is why losses alone would not do"
    assert not found["gradients"].passed
    wrong = found["gradients"].detail.partition("; wrong: ")[2].split(", ")
    layers = [f"lstm.weight_{side}_l{layer}" for side in ("ih", "hh") for layer in (0, 1)]
    assert {f"gradient of {layer} (forget gate) 1.0e+00" for layer in layers} <= set(wrong)
    assert not any("heads" in name for name in wrong)


@pytest.mark.parametrize(
    ("changed", "wrong"),
    [
        ({"lstm_backward": exchanged_gates}, "(cell gate)"),
        ({"lstm_forward": scaled_states}, "lstm.weight_hh_l1 (forget gate)"),
        ({"gather_windows": windows_of_another_row}, "forecasts"),
        ({"adamw": uncorrected_update}, "updates"),
    ],
)
@pytest.mark.parametrize("half_precision", [False, True])
def test_a_wrong_operation_fails_the_comparison(
    small: ArchitectureConfig, changed: dict[str, Any], wrong: str, half_precision: bool
) -> None:
    found = steps(small, dataclasses.replace(REFERENCE, **changed), half_precision=half_precision)
    assert not found["gradients"].passed
    assert wrong in found["gradients"].detail.partition("; wrong: ")[2]


def test_states_that_are_no_numbers_fail_every_step(small: ArchitectureConfig) -> None:
    found = steps(small, dataclasses.replace(REFERENCE, lstm_forward=states_that_are_no_numbers))
    assert not any(step.passed for step in found.values())
    assert found["epoch"].detail.startswith("0 of 3 networks")
    assert found["training"].detail == "T000 final was not trained"
    assert "forecasts nan" in found["gradients"].detail


def test_a_kernel_that_does_not_compile_is_a_failed_step_not_the_end(small: ArchitectureConfig) -> None:
    found = steps(small, dataclasses.replace(REFERENCE, lstm_backward=does_not_compile))
    assert [step.passed for step in found.values()] == [False, False, False]
    assert found["epoch"].detail == "NotImplementedError: out of resource: shared memory"
    assert found["gradients"].detail == "NotImplementedError: out of resource: shared memory"
