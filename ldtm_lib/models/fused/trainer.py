"""Training of many networks at once on one device, within a budget of its memory."""

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager

import torch

from ldtm_lib.errors import LdtmError, TooFewBars
from ldtm_lib.models.fit import Fit, FitFailed, FitTask, Progress
from ldtm_lib.models.fused.fit import FusedFit, RunStep
from ldtm_lib.models.fused.kernels.interface import REFERENCE, Operations, operations_for
from ldtm_lib.models.fused.memory import MemoryPlan, plan_memory
from ldtm_lib.models.fused.network import FusedNetwork
from ldtm_lib.models.fused.state import FusedState
from ldtm_lib.models.fused.step_graphs import StepGraphs
from ldtm_lib.models.fused.windows import distinct_windows, tables_of
from ldtm_lib.models.single_fit import require_rows
from ldtm_lib.settings import ArchitectureConfig, GpuConfig, TrainingConfig

MIB = 2**20


class OutOfDeviceMemory(LdtmError):
    """Not even one network fits into the free memory of the device."""


def fit_fused(
    tasks: Sequence[FitTask],
    *,
    recipe: TrainingConfig,
    architecture: ArchitectureConfig,
    device: torch.device,
    gpu: GpuConfig,
    on_progress: Callable[[Progress], None],
    on_notice: Callable[[str], None] = lambda text: None,
    operations: Operations | None = None,
    half_precision: bool | None = None,
) -> Iterator[Fit | FitFailed]:
    """Train all tasks, as many at once as the budget holds; yields each as it ends.

    When the device runs out of memory, the number of networks is halved, and `on_notice` is called with a text for the
    log; results that were yielded stay valid, and the other networks start again with the same results. Unless they are
    given, `operations` are those of `operations_for`, and the precision is float16 on a GPU and float32 elsewhere.
    """
    if str(device) == "cuda":
        device = torch.device("cuda", torch.cuda.current_device())
    operations = operations or operations_for(device, architecture)
    half_precision = device.type == "cuda" if half_precision is None else half_precision
    trainable, hopeless = _with_rows(tasks)
    yield from hopeless
    if not trainable:
        return
    plan = plan_memory(
        trainable,
        recipe=recipe,
        architecture=architecture,
        budget_mib=gpu.mib_per_job,
        half_precision=half_precision,
        kernels=operations is not REFERENCE,
    )
    if device.type == "cuda" and not plan.windows_on_device:
        on_notice(
            "the bars that windows are gathered from take more than a quarter of "
            f"{gpu.mib_per_job} MiB and stay in the host's memory, so that steps are not captured and take longer; "
            "raise [gpu] mib_per_job, or leave it unset"
        )
    num_networks = plan.num_networks
    left = {id(task): task for task in trainable}
    with _budget(device, gpu.mib_per_job):
        while left:
            try:
                for result in _fit_at_once(
                    list(left.values()),
                    plan,
                    min(num_networks, len(left)),
                    recipe=recipe,
                    architecture=architecture,
                    operations=operations,
                    dtype=torch.float16 if half_precision else torch.float32,
                    device=device,
                    pause_seconds=gpu.pause_ms / 1000,
                    on_progress=on_progress,
                ):
                    del left[id(result.task)]
                    yield result
            except RuntimeError as error:
                if not _is_shortage(error):
                    raise
                shortage = str(error).partition("\n")[0]
            else:
                break
            if num_networks == 1:
                raise OutOfDeviceMemory(
                    f"{device} has no room for one network: {shortage} Lower [gpu] mib_per_job, now {gpu.mib_per_job}, "
                    "or wait until the other tenants of the GPU take less"
                )
            halved = max(1, min(num_networks, len(left)) // 2)
            on_notice(
                f"{device} has no room for {num_networks} networks at once in {gpu.mib_per_job} MiB ({shortage}); "
                f"{halved} at once from here on"
            )
            num_networks = halved
            if device.type == "cuda":
                torch.cuda.empty_cache()


def _fit_at_once(
    tasks: Sequence[FitTask],
    plan: MemoryPlan,
    num_networks: int,
    *,
    recipe: TrainingConfig,
    architecture: ArchitectureConfig,
    operations: Operations,
    dtype: torch.dtype,
    device: torch.device,
    pause_seconds: float,
    on_progress: Callable[[Progress], None],
) -> Iterator[Fit | FitFailed]:
    window_sets = distinct_windows(tasks)
    with _training_stream(device):
        network = FusedNetwork(
            architecture,
            operations,
            num_networks=num_networks,
            batch_size=recipe.batch_size,
            window_sessions=window_sets[0].window_sessions,
            delta=recipe.huber_delta,
            dtype=dtype,
            device=device,
        )
        state = FusedState(
            network,
            tables_of(
                window_sets,
                device if plan.windows_on_device else torch.device("cpu"),
                recipe=recipe,
                architecture=architecture,
            ),
            recipe,
            windows_on_device=plan.windows_on_device,
            max_training_rows=max(len(task.training_rows) for task in tasks),
            max_validation_rows=max(len(task.validation_rows) for task in tasks),
        )
        yield from FusedFit(state, tasks, run_step=_runner(state, num_networks, pause_seconds)).results(on_progress)


def _runner(state: FusedState, num_networks: int, pause_seconds: float) -> RunStep:
    """Run steps as CUDA graphs if possible; the pause after each step leaves the GPU to its other users."""
    device = state.parameters_MP.device

    def run_plainly(step: Callable[[int], None], m: int) -> None:
        step(m)

    run = run_plainly
    if device.type == "cuda" and state.windows_on_device:
        graphs = StepGraphs(device, num_networks=num_networks)
        graphs.warm_up(state.training_step, state.validation_step)
        run = graphs.run
    if not pause_seconds:
        return run

    def run_and_pause(step: Callable[[int], None], m: int) -> None:
        run(step, m)
        if device.type == "cuda":
            torch.cuda.current_stream(device).synchronize()
        time.sleep(pause_seconds)

    return run_and_pause


def _is_shortage(error: RuntimeError) -> bool:
    """True if an error means that the device's memory is used up: the allocator's, the driver's or a library's own."""
    words = str(error)
    signs = ("out of memory", "ALLOC_FAILED", "CUBLAS_STATUS_NOT_INITIALIZED")  # the last: no workspace for cuBLAS
    return isinstance(error, torch.OutOfMemoryError) or any(sign in words for sign in signs)


def _with_rows(tasks: Sequence[FitTask]) -> tuple[list[FitTask], list[FitFailed]]:
    trainable: list[FitTask] = []
    hopeless: list[FitFailed] = []
    for task in tasks:
        try:
            require_rows(task)
        except TooFewBars as reason:
            hopeless.append(FitFailed(task=task, reason=reason))
        else:
            trainable.append(task)
    return trainable, hopeless


@contextmanager
def _budget(device: torch.device, budget_mib: int) -> Generator[None, None, None]:
    """Limit this process to a budget of a GPU's memory within the block; peaks are counted from its start."""
    if device.type != "cuda":
        yield
        return
    set_fraction: Callable[[float, torch.device], None] = torch.cuda.set_per_process_memory_fraction  # pyright: ignore
    set_fraction(min(1.0, budget_mib * MIB / torch.cuda.mem_get_info(device)[1]), device)
    torch.cuda.reset_peak_memory_stats(device)
    try:
        yield
    finally:
        set_fraction(1.0, device)
        torch.cuda.empty_cache()


@contextmanager
def _training_stream(device: torch.device) -> Generator[None, None, None]:
    """Run the block on a stream of the lowest priority of CUDA, 0, so that other work in this process goes first.

    PyTorch keeps a workspace of cuBLAS, 32 MiB on an H100, for every stream that ever had a product, and counts it
    against the budget: it is freed with the stream.
    """
    if device.type != "cuda":
        yield
        return
    try:
        with torch.cuda.device(device), torch.cuda.stream(torch.cuda.Stream(device, priority=0)):
            yield
    finally:
        torch._C._cuda_clearCublasWorkspaces()  # pyright: ignore[reportPrivateUsage]
