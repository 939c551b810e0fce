"""Trainings in the background, and the comparison of their results."""

import threading
from collections.abc import Callable

import torch

from ldtm_lib.models.fit import Fit, FitFailed

Results = dict[str, Fit | FitFailed]
Train = Callable[..., Results]


def same_bits(found: Fit | FitFailed, expected: Fit | FitFailed) -> bool:
    assert isinstance(found, Fit)
    assert isinstance(expected, Fit)
    same_losses = found.validation_losses == expected.validation_losses
    return same_losses and all(torch.equal(found.state[name], expected.state[name]) for name in expected.state)


def in_a_thread(work: Callable[[], Results]) -> Callable[[], Results]:
    """Begin some work; what is returned waits for its result."""
    results: list[Results | BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:
            results.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()

    def wait() -> Results:
        thread.join(360)
        (result,) = results
        if isinstance(result, BaseException):
            raise result
        return result

    return wait
