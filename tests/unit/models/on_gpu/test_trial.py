"""The trial of a device: it passes with the reference operations, and each kind of wrong operation fails it."""

import dataclasses
from typing import Any

import pytest
import torch

from ldtm_lib.models.cpu import one_thread_each
from ldtm_lib.models.fused.kernels.interface import REFERENCE, Operations
from ldtm_lib.models.on_gpu.trial import TrialSizes, TrialStep, trial
from ldtm_lib.settings import ArchitectureConfig, GpuConfig, TrainingConfig

SIZES = TrialSizes(num_networks=3, num_rows=80, num_validation_rows=20)
RECIPE = TrainingConfig(batch_size=16)


def steps(
    small: ArchitectureConfig, operations: Operations = REFERENCE, *, half_precision: bool = False
) -> dict[str, TrialStep]:
    with one_thread_each():
        found = trial(
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


def states_that_are_no_numbers(*arguments: Any, **named: Any) -> None:
    REFERENCE.lstm_forward(*arguments, **named)
    arguments[2].fill_(torch.nan)


def does_not_compile(*arguments: Any, **named: Any) -> None:
    raise NotImplementedError("out of resource: shared memory")


@pytest.mark.parametrize("half_precision", [False, True])
def test_the_reference_passes_every_step(small: ArchitectureConfig, half_precision: bool) -> None:
    found = steps(small, half_precision=half_precision)
    assert list(found) == ["probe", "epoch", "training"]
    assert all(step.passed for step in found.values()), found
    assert found["epoch"].detail.startswith("3 of 3 networks x 80 windows in ")
    assert f"plain operations in float{16 if half_precision else 32}" in found["epoch"].detail
    assert "T000: validation loss" in found["training"].detail
    assert "of their norm, gradients by " in found["probe"].detail
    assert all(step.seconds > 0 for step in found.values())


@pytest.mark.parametrize("half_precision", [False, True])
def test_a_forget_gate_without_gradient_fails_though_losses_are_ordinary(
    small: ArchitectureConfig, half_precision: bool
) -> None:
    broken = dataclasses.replace(REFERENCE, lstm_backward=without_forget_gradient)
    found = steps(small, broken, half_precision=half_precision)
    assert found["epoch"].passed
    assert found["training"].passed, "this is why losses alone would not do"
    assert not found["probe"].passed
    assert found["probe"].detail.startswith("ProbeFailed: gradients of lstm.weight_ih_l0")


def test_states_that_are_no_numbers_fail_every_step(small: ArchitectureConfig) -> None:
    found = steps(small, dataclasses.replace(REFERENCE, lstm_forward=states_that_are_no_numbers))
    assert not any(step.passed for step in found.values())
    assert found["epoch"].detail.startswith("0 of 3 networks")
    assert found["training"].detail == "T000 final was not trained"
    assert "forecasts of the network with a full batch differ by nan" in found["probe"].detail


def test_a_kernel_that_does_not_compile_is_a_failed_step_not_the_end(small: ArchitectureConfig) -> None:
    found = steps(small, dataclasses.replace(REFERENCE, lstm_backward=does_not_compile))
    assert [step.passed for step in found.values()] == [False, False, False]
    assert found["epoch"].detail == "NotImplementedError: out of resource: shared memory"
    assert found["probe"].detail == "NotImplementedError: out of resource: shared memory"
