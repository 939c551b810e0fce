"""Training on a GPU by the fastest method that works: the next method trains the networks that one leaves untrained.

No error of a GPU, its driver or a compiler ends a training. Each step down gives a notice, and is recorded with the
networks that are trained after it.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace

from ldtm_lib.errors import TrainingDiverged
from ldtm_lib.models.fit import Fit, FitFailed, FitTask, Progress
from ldtm_lib.models.on_gpu.methods import METHODS, Job, Method
from ldtm_lib.models.on_gpu.notice import TrainingNotice
from ldtm_lib.models.on_gpu.worker import Broken, train_in_a_process
from ldtm_lib.models.single_fit import validation_loss

MOST_DEVIATION = 0.03
"""Largest relative deviation of a network's validation loss on the CPU from the one that the GPU found."""
ON_THE_CPU = "each on a core of the CPU"


def fit_down_the_ladder(
    job: Job,
    *,
    on_progress: Callable[[Progress], None],
    on_notice: Callable[[TrainingNotice], None],
    methods: Sequence[Method] = METHODS,
    while_waiting: Callable[[], None] = lambda: None,
) -> Iterator[Fit | FitFailed | FitTask]:
    """Train the tasks of a job; yields each as it ends, and in the end those that no method on the GPU could train.

    Each fit names the method that trained it. A fit whose validation loss is different on the CPU is refused, and its
    network is trained by the next method, as is a network that diverges. `while_waiting` is called twice a second, and
    may raise an error to end the training.
    """
    left = {id(task): task for task in job.tasks}
    below = [*(method.name for method in methods[1:]), ON_THE_CPU]
    why = ""
    for method, next_name in zip(methods, below, strict=True):
        if not left:
            return
        by = method.name + (f", after {why}" if why else "")
        reasons: list[str] = []
        of_this_method = replace(job, tasks=list(left.values()))
        with closing(train_in_a_process(method, of_this_method, while_waiting=while_waiting)) as messages:
            for message in messages:
                match message:
                    case Progress():
                        on_progress(message)
                    case TrainingNotice():
                        by = f"{by}; {message.text}"
                        on_notice(message)
                    case Broken(reason):
                        reasons.append(reason)
                    case Fit() | FitFailed() if id(message.task) not in left:
                        continue  # a repeated result
                    case Fit():
                        if refusal := _refusal(message, job):
                            reasons.append(refusal)
                            continue
                        del left[id(message.task)]
                        yield replace(message, method=by)
                    case FitFailed(reason=TrainingDiverged() as reason):  # the device may be the cause; the CPU decides
                        reasons.append(str(reason))
                    case FitFailed():
                        del left[id(message.task)]
                        yield message
        if left:
            more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
            why = f"{method.name}: {reasons[-1] if reasons else 'it ended early'}{more}"
            networks = "1 network is" if len(left) == 1 else f"{len(left)} networks are"
            on_notice(TrainingNotice(text=f"{why}; {networks} trained {_by(next_name)}", is_step_down=True))
    yield from left.values()


def _refusal(fit: Fit, job: Job) -> str:
    """Reason why a fit is refused; empty if the CPU computes the same loss, up to MOST_DEVIATION."""
    try:
        found = validation_loss(fit, recipe=job.recipe, architecture=job.architecture)
    except Exception as error:  # weights may not form a network
        return f"{fit.task.name} is refused: its loss cannot be computed on the CPU: {type(error).__name__}: {error}"
    if math.isclose(found, fit.validation_loss, rel_tol=MOST_DEVIATION):
        return ""
    return (
        f"{fit.task.name} is refused: its validation loss is {fit.validation_loss:.5g} on {fit.device} and {found:.5g} "
        f"on the CPU, more than {MOST_DEVIATION:.0%} apart"
    )


def _by(name: str) -> str:
    return name.replace("all networks fused", "fused")
