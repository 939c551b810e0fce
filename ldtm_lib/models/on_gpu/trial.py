"""First trial of a device: the probe, an epoch of all networks, and one network compared with the CPU's reference.

`python -m ldtm_lib.models.on_gpu.trial cuda:0 600` tries a device within 600 MiB; `--architecture` and `--recipe` are
those sections of a configuration as JSON. The exit status is 1 when a step fails.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from ldtm_lib.models.fit import Fit, FitTask
from ldtm_lib.models.forecast import predict
from ldtm_lib.models.fused.kernels.interface import REFERENCE, Operations, operations_for
from ldtm_lib.models.fused.synthetic import synthetic_windows
from ldtm_lib.models.fused.trainer import fit_fused
from ldtm_lib.models.on_gpu.probe import require_same_as_on_the_cpu
from ldtm_lib.models.single_fit import fit_alone
from ldtm_lib.sessions import ONE_MONTH_SESSIONS
from ldtm_lib.settings import ArchitectureConfig, GpuConfig, TrainingConfig
from ldtm_lib.wording import counted

CPU = torch.device("cpu")
LOSS_TOLERANCE = 0.03
"""Largest relative difference of a validation loss between a training in float16 and the same one in float32."""
PRICE_TOLERANCE = 0.005
"""Largest relative difference of a price between forecasts of the two."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialStep:
    """One step of a trial."""

    name: str
    passed: bool
    detail: str
    """The figures, or the error that ended the step."""
    seconds: float

    def __str__(self) -> str:
        return f"{'PASS' if self.passed else 'FAIL'} {self.name} ({self.seconds:.1f} s): {self.detail}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialSizes:
    """The number of networks and windows of a trial."""

    num_networks: int = 103
    num_rows: int = 1000
    """Training windows of a network."""
    num_validation_rows: int = 64


def trial(
    device: torch.device,
    architecture: ArchitectureConfig,
    recipe: TrainingConfig,
    gpu: GpuConfig,
    *,
    sizes: TrialSizes | None = None,
    operations: Operations | None = None,
    half_precision: bool | None = None,
) -> Iterator[TrialStep]:
    """Try a device on synthetic windows, within the memory that `gpu` grants; yields each step as it ends.

    Operations and precision are those of `fit_fused` unless they are given. An error fails its own step; the other
    steps still run.
    """
    sizes = sizes or TrialSizes()
    if operations is None:
        found: list[Operations] = []

        def device_answers() -> tuple[bool, str]:
            found.append(operations_for(device, architecture))
            name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
            return True, f"{name}, {'no kernels' if found[0] is REFERENCE else 'kernels'}, torch {torch.__version__}"

        yield _step("device", device_answers)
        if not found:
            return
        (operations,) = found
    half_precision = device.type == "cuda" if half_precision is None else half_precision
    tasks = synthetic_tasks(sizes.num_networks, sizes.num_rows, sizes.num_validation_rows)
    one_epoch = recipe.replace(max_epochs=1)
    fits: list[Fit] = []

    def epoch() -> tuple[bool, str]:
        results = fit_fused(
            tasks,
            recipe=one_epoch,
            architecture=architecture,
            device=device,
            gpu=gpu,
            on_progress=lambda _: None,
            operations=operations,
            half_precision=half_precision,
        )
        fits.extend(result for result in results if isinstance(result, Fit))
        how = f"{'plain operations' if operations is REFERENCE else 'kernels'} in float{16 if half_precision else 32}"
        loss = np.mean([fit.validation_loss for fit in fits]) if fits else np.nan
        return len(fits) == len(tasks), (
            f"{len(fits)} of {counted(len(tasks), 'network')} x {counted(sizes.num_rows, 'window')} in "
            f"{sum(fit.duration_seconds for fit in fits):.2f} s without set-up, {how}; mean validation loss {loss:.4f}"
        )

    def training() -> tuple[bool, str]:
        fit = next((fit for fit in fits if fit.task is tasks[0]), None)
        return compare_fit(fit, one_epoch, architecture) if fit else (False, f"{tasks[0].name} was not trained")

    def probe() -> tuple[bool, str]:
        return True, require_same_as_on_the_cpu(
            operations,
            device=device,
            recipe=recipe,
            architecture=architecture,
            window_sessions=tasks[0].windows.window_sessions,
            half_precision=half_precision,
        )

    yield _step("probe", probe)
    yield _step("epoch", epoch)
    yield _step("training", training)


def _step(name: str, work: Callable[[], tuple[bool, str]]) -> TrialStep:
    began, products = time.perf_counter(), torch.backends.cuda.matmul
    reduced = products.allow_fp16_reduced_precision_reduction
    products.allow_fp16_reduced_precision_reduction = False  # as in a training
    try:
        passed, detail = work()
    except Exception as error:  # errors of compilers and drivers too, whose classes have no common parent
        passed, detail = False, f"{type(error).__name__}: {error}"
    finally:
        products.allow_fp16_reduced_precision_reduction = reduced
    return TrialStep(name=name, passed=passed, detail=detail, seconds=time.perf_counter() - began)


def synthetic_tasks(num_tasks: int, num_rows: int, num_validation_rows: int) -> list[FitTask]:
    """One network per ticker, each on synthetic windows of its own; no label reaches into the validation rows."""
    first = num_rows + ONE_MONTH_SESSIONS
    return [
        FitTask(
            ticker=f"T{at:03}",
            fold=None,
            windows=synthetic_windows(f"T{at:03}", first + num_validation_rows, seed=at),
            training_rows=np.arange(num_rows),
            validation_rows=np.arange(first, first + num_validation_rows),
        )
        for at in range(num_tasks)
    ]


def compare_fit(fit: Fit, recipe: TrainingConfig, architecture: ArchitectureConfig) -> tuple[bool, str]:
    """True if a trained network is the one that the reference trains in float32 on the CPU; and the figures."""
    reference = fit_alone(fit.task, recipe=recipe, architecture=architecture, device=CPU, on_progress=lambda _: None)
    loss = abs(fit.validation_loss / reference.validation_loss - 1)
    prices = [
        predict(each.state, fit.task.windows, fit.task.validation_rows, architecture, CPU) for each in (fit, reference)
    ]
    apart = float(np.abs(prices[0] / prices[1] - 1).max())
    return loss <= LOSS_TOLERANCE and apart <= PRICE_TOLERANCE, (
        f"{fit.task.ticker}: validation loss {fit.validation_loss:.5f}, reference {reference.validation_loss:.5f}, "
        f"{loss:.2%} apart (at most {LOSS_TOLERANCE:.0%}); forecasts at most {apart:.2%} of the price apart (at most "
        f"{PRICE_TOLERANCE:.1%})"
    )


def main() -> int:
    """Print each step as it ends; returns the exit status."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("device", type=torch.device)
    arguments.add_argument("mib", type=int)
    arguments.add_argument("--architecture", type=ArchitectureConfig.model_validate_json, default=ArchitectureConfig())
    arguments.add_argument("--recipe", type=TrainingConfig.model_validate_json, default=TrainingConfig())
    given = arguments.parse_args()
    passed = True
    for step in trial(given.device, given.architecture, given.recipe, GpuConfig(mib_per_job=given.mib)):
        sys.stdout.write(f"{step}\n")
        sys.stdout.flush()
        passed = passed and step.passed
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
