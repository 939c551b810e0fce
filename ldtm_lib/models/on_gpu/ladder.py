"""Training on a GPU by the fastest method that works: what one method leaves untrained, the next one trains.

No error of a GPU, its driver or a compiler ends a training. Each step down is a notice, and stands on the record of the
networks that were trained after it.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace

from ldtm_lib.errors import LdtmError
from ldtm_lib.models.fit import Fit, FitFailed, FitTask, Progress
from ldtm_lib.models.on_gpu.methods import METHODS, Job, Method
from ldtm_lib.models.on_gpu.notice import TrainingNotice
from ldtm_lib.models.on_gpu.worker import Broken, Notice, train_in_a_process
from ldtm_lib.models.single_fit import validation_loss

MOST_DEVIATION = 0.03
"""Of a network's validation loss on the CPU from the one that the GPU found."""
ON_THE_CPU = "each on a core of the CPU"


class LossNotReproduced(LdtmError):
    """A network has another validation loss on the CPU than where it was trained."""


def fit_down_the_ladder(
    job: Job,
    *,
    on_progress: Callable[[Progress], None],
    on_notice: Callable[[TrainingNotice], None],
    methods: Sequence[Method] = METHODS,
) -> Iterator[Fit | FitFailed | FitTask]:
    """Train the tasks of a job; yields each as it ends, and in the end those that no method on the GPU could train.

    Each fit says by which method it was trained, and is refused when its validation loss is another one on the CPU.
    """
    left = {id(task): task for task in job.tasks}
    why = ""
    for number, method in enumerate(methods):
        if not left:
            return
        remaining = replace(job, tasks=list(left.values()))
        with closing(train_in_a_process(method, remaining)) as messages:
            for message in messages:
                match message:
                    case Progress():
                        on_progress(message)
                    case Notice(text):
                        on_notice(TrainingNotice(text=text, is_step_down=False))
                    case Broken(reason):
                        names = [*(method.name for method in methods), ON_THE_CPU]
                        why = f"{method.name}: {reason}"
                        on_notice(
                            TrainingNotice(
                                text=f"{why}; {_networks(len(left))} trained {_by(names[number + 1])}",
                                is_step_down=True,
                            )
                        )
                    case Fit():
                        del left[id(message.task)]
                        by = method.name + (f", after {why}" if why else "")
                        yield _checked(replace(message, method=by), job)
                    case FitFailed():
                        del left[id(message.task)]
                        yield message
    yield from left.values()


def _checked(fit: Fit, job: Job) -> Fit | FitFailed:
    """The fit, or why it is refused."""
    found = validation_loss(fit, recipe=job.recipe, architecture=job.architecture)
    if math.isclose(found, fit.validation_loss, rel_tol=MOST_DEVIATION):
        return fit
    return FitFailed(
        task=fit.task,
        reason=LossNotReproduced(
            f"{fit.task.name}: the validation loss is {fit.validation_loss:.5g} on {fit.device} and {found:.5g} on the "
            f"CPU, more than {MOST_DEVIATION:.0%} apart, so the network is not kept; train it with the device cpu"
        ),
    )


def _networks(number: int) -> str:
    return "1 network is" if number == 1 else f"{number} networks are"


def _by(name: str) -> str:
    return name.replace("all networks fused", "fused")
