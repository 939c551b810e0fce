"""No fault of a GPU ends a training: what one method leaves untrained the next one trains, in another process."""

import dataclasses
import json
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from ldtm_lib.errors import ConfigurationError
from ldtm_lib.models import child_process, trainer
from ldtm_lib.models.cpu import one_thread_each
from ldtm_lib.models.fit import Fit, FitFailed, FitTask, Progress
from ldtm_lib.models.on_gpu.ladder import ON_THE_CPU, fit_down_the_ladder
from ldtm_lib.models.on_gpu.methods import METHODS, Job, Method, fused_without_kernels, one_by_one
from ldtm_lib.models.on_gpu.notice import TrainingNotice
from ldtm_lib.models.on_gpu.worker import Broken, train_in_a_process
from ldtm_lib.models.single_fit import fit_alone
from ldtm_lib.models.trainer import fit_universe
from ldtm_lib.settings import ArchitectureConfig, GpuConfig, TrainingConfig
from tests.repository import REPOSITORY
from tests.unit.models.on_gpu import faults

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
PLAIN = Method("one network after the other", one_by_one)


@pytest.fixture
def job(tasks: list[FitTask], recipe: TrainingConfig, small: ArchitectureConfig, tmp_path: Path) -> Job:
    return Job(
        tasks=tasks, recipe=recipe, architecture=small, device="cpu", gpu=GpuConfig(), cache=tmp_path / "probes.json"
    )


Ended = tuple[dict[str, Fit | FitFailed | FitTask], list[TrainingNotice], list[Progress]]


def trained(job: Job, *methods: Method) -> Ended:
    notices: list[TrainingNotice] = []
    epochs: list[Progress] = []
    results: dict[str, Fit | FitFailed | FitTask] = {}
    for result in fit_down_the_ladder(job, on_progress=epochs.append, on_notice=notices.append, methods=methods):
        name = result.name if isinstance(result, FitTask) else result.task.name
        assert name not in results, "no network is trained twice"
        results[name] = result
    assert set(results) == {task.name for task in job.tasks}
    return results, notices, epochs


ALONE: dict[str, Fit] = {}
"""What each task is trained to alone: the fixtures are the same for all tests of a session."""


def alone(task: FitTask, job: Job) -> Fit:
    if task.name not in ALONE:
        with one_thread_each():
            ALONE[task.name] = _alone(task, job)
    return ALONE[task.name]


def _alone(task: FitTask, job: Job) -> Fit:
    return fit_alone(
        task,
        recipe=job.recipe,
        architecture=job.architecture,
        device=torch.device("cpu"),
        on_progress=lambda progress: None,
    )


def assert_same_bits(found: object, expected: Fit) -> None:
    assert isinstance(found, Fit)
    assert found.validation_loss == expected.validation_loss
    assert all(torch.equal(found.state[name], expected.state[name]) for name in expected.state)


FAULTS: list[tuple[Callable[..., Iterator[Fit | FitFailed]], str]] = [
    (faults.no_driver, "libcuda.so cannot found"),
    (faults.invalid_image, "RuntimeError: Triton Error [CUDA]: device kernel image is invalid"),
    (faults.out_of_resources, "OutOfResources: out of resource: shared memory, Required: 262144"),
    (faults.cache_that_cannot_be_written, "/proc/triton"),
    (faults.failing_assembler, "PTXASError"),
    (faults.no_memory, "OutOfDeviceMemory: cuda:0 has no room for one network"),
    (faults.error_that_does_not_unpickle, "its process sent a message that cannot be read: TypeError"),
    (faults.refusal_that_does_not_unpickle, "its process sent a message that cannot be read: TypeError"),
    (faults.garbage, "its process sent a str"),
    (faults.much_to_say_and_a_crash, "its process ended with signal SIGKILL: the last words"),
    (faults.all_diverge, "GOOG final: in epoch 1 the training loss is nan"),
]


def test_each_method_that_breaks_off_leaves_all_to_the_next_one_and_says_why(job: Job) -> None:
    """All faults in a row, each in a process of its own; what is left in the end is trained as if nothing had been."""
    methods = [Method(fault.__name__, fault) for fault, _ in FAULTS]
    results, notices, epochs = trained(job, *methods, PLAIN)
    names = [*(method.name for method in methods[1:]), PLAIN.name]
    assert len(notices) == len(FAULTS)
    for notice, method, (_, words), next_name in zip(notices, methods, FAULTS, names, strict=True):
        assert notice.is_step_down
        assert notice.text.startswith(f"{method.name}: ")
        assert words in notice.text
        assert notice.text.endswith(f"; 4 networks are trained {next_name}")
        assert len(notice.text) < 600, "compilers print pages"
    last_method, last_words = methods[-1].name, FAULTS[-1][1]
    for task in job.tasks:
        result = results[task.name]
        assert_same_bits(result, alone(task, job))
        assert isinstance(result, Fit)
        assert str(result.method).startswith(f"{PLAIN.name}, after {last_method}: {last_words}")
    assert len(epochs) == 4 * job.recipe.max_epochs


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (faults.illegal_access_after_one, "CUDA error: an illegal memory access was encountered"),
        (faults.crash_after_one, "its process ended with signal SIGSEGV"),
    ],
)
def test_what_a_broken_context_leaves_is_trained_in_another_process(
    job: Job, fault: Callable[..., Iterator[Fit | FitFailed]], words: str
) -> None:
    results, notices, _ = trained(job, Method("all networks fused", fault), PLAIN)
    methods = [getattr(results[task.name], "method", None) for task in job.tasks]
    assert methods[0] == "all networks fused"
    assert all(str(method).startswith("one network after the other, after") for method in methods[1:])
    assert words in notices[0].text
    assert "; 3 networks are trained one network after the other" in notices[0].text
    for task in job.tasks:
        assert_same_bits(results[task.name], alone(task, job))


def test_what_no_method_can_train_is_given_back_for_the_cpu(job: Job) -> None:
    results, notices, _ = trained(job, Method("a", faults.invalid_image), Method("b", faults.no_memory))
    assert all(results[task.name] is task for task in job.tasks)
    assert [notice.text.partition(";")[2] for notice in notices] == [
        " 4 networks are trained b",
        f" 4 networks are trained {ON_THE_CPU}",
    ]


def test_a_process_that_is_never_ready_is_ended(job: Job) -> None:
    messages = list(train_in_a_process(Method("silent", faults.never_ready), job, ready_seconds=8))
    assert messages == [Broken("it was not ready after 8 s")]
    assert not is_running(job)


def test_a_process_that_falls_silent_while_it_trains_is_ended(job: Job) -> None:
    silent = Method("silent", faults.ready_and_silent)
    assert list(train_in_a_process(silent, job, silent_seconds=1)) == [Broken("it sent nothing for 1 s")]
    assert not is_running(job)


def test_pauses_are_no_silence(job: Job) -> None:
    slow = dataclasses.replace(job, gpu=GpuConfig(pause_ms=100))
    messages = list(train_in_a_process(Method("silent", faults.ready_and_silent), slow, silent_seconds=0))
    assert messages == [Broken("it sent nothing for 2.6 s")], "twice 11 steps and 2 more of 0.1 s"


def test_a_process_that_closes_its_pipe_and_hangs_is_ended(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_process, "END_SECONDS", 0.5)
    messages = list(train_in_a_process(Method("hanging", faults.out_of_words_and_alive), job))
    assert messages == [Broken("its process closed its pipe and does not end")]
    wait_until(lambda: not is_running(job))


def test_a_process_that_cannot_be_started_breaks_its_method(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    (message,) = train_in_a_process(PLAIN, job)
    assert isinstance(message, Broken)
    assert message.reason.startswith("its process could not be started: [Errno 2]")


def test_no_disk_for_what_a_process_prints_is_no_reason_not_to_train(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_space() -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", no_space)
    results, notices, _ = trained(job, Method("crashing", faults.crash_after_one), PLAIN)
    assert all(isinstance(result, Fit) for result in results.values())
    assert notices[0].text.startswith("crashing: its process ended with signal SIGSEGV;")


def test_what_is_raised_while_waiting_ends_the_process(job: Job) -> None:
    def lost() -> None:
        if job.cache.with_name(faults.PIDS).exists():
            raise LookupError("nobody waits")

    with pytest.raises(LookupError, match="nobody waits"):
        list(train_in_a_process(Method("silent", faults.ready_and_silent), job, while_waiting=lost))
    assert not is_running(job)


def test_who_closes_a_training_does_not_wait_for_a_process_that_hangs(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "_probes", lambda: job.cache)
    methods = [Method("noticing", faults.notice_and_silence), *METHODS[1:]]

    class Stopped(Exception):
        pass

    def stop(notice: TrainingNotice) -> None:
        raise Stopped

    results = fit_universe(
        job.tasks, recipe=job.recipe, architecture=job.architecture, device="cuda:0", on_notice=stop, methods=methods
    )
    began = time.monotonic()
    with pytest.raises(Stopped):
        next(results)
    assert time.monotonic() - began < 120, "the start of the process included"
    assert not is_running(job)


def test_what_is_said_twice_counts_once(job: Job) -> None:
    results, notices, _ = trained(job, Method("twice", faults.everything_twice))
    assert not notices
    assert all(isinstance(result, Fit) for result in results.values())


def test_weights_of_no_network_are_refused(job: Job) -> None:
    results, notices, _ = trained(job, Method("empty", faults.weights_of_no_network), PLAIN)
    assert "is refused: its loss cannot be computed on the CPU: RuntimeError" in notices[0].text
    assert all(isinstance(result, Fit) for result in results.values())


def test_a_user_without_a_home_trains_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    assert not trainer._probes().parent.exists()


def test_who_stops_listening_ends_the_process(job: Job) -> None:
    messages = train_in_a_process(Method("silent", faults.notice_and_silence), job)
    assert next(messages) == TrainingNotice(text="the last that is heard", is_step_down=False)
    assert is_running(job)
    messages.close()
    assert not is_running(job)


def test_the_process_ends_with_the_one_that_wanted_it(job: Job) -> None:
    program = (
        "import pickle, sys\n"
        "from ldtm_lib.models.on_gpu.methods import Method\n"
        "from ldtm_lib.models.on_gpu.worker import train_in_a_process\n"
        "from tests.unit.models.on_gpu import faults\n"
        "job = pickle.load(sys.stdin.buffer)\n"
        "list(train_in_a_process(Method('silent', faults.ready_and_silent), job))\n"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(REPOSITORY)}
    )
    try:
        assert owner.stdin is not None
        pickle.dump(job, owner.stdin)
        owner.stdin.close()
        wait_until(lambda: job.cache.with_name(faults.PIDS).exists())
        assert is_running(job)
    finally:
        owner.send_signal(signal.SIGKILL)
        owner.wait()
    wait_until(lambda: not is_running(job))


def is_running(job: Job) -> bool:
    pid = job.cache.with_name(faults.PIDS).read_text()
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def wait_until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_a_shortage_is_a_notice_and_no_step_down(job: Job) -> None:
    results, notices, _ = trained(job, Method("all networks fused", faults.with_notices))
    (notice,) = notices
    assert not notice.is_step_down
    assert notice.text == "cuda:0 has no room for 43 networks at once; 21 at once from here on"
    recorded = f"all networks fused; {notice.text}"
    assert all(isinstance(result, Fit) and result.method == recorded for result in results.values())


def test_a_network_whose_loss_the_cpu_does_not_find_again_is_refused_and_trained_by_the_next_method(job: Job) -> None:
    results, notices, _ = trained(job, Method("wrong", faults.wrong_weights), PLAIN)
    (notice,) = notices
    found = alone(job.tasks[-1], job).validation_loss
    assert notice.text == (
        f"wrong: GOOG final is refused: its validation loss is {found / 1.05:.5g} on cpu and {found:.5g} on the CPU, "
        "more than 3% apart; 1 network is trained one network after the other"
    )
    assert notice.is_step_down
    methods = [getattr(results[task.name], "method", None) for task in job.tasks]
    assert methods[:3] == ["wrong"] * 3
    assert str(methods[3]).startswith("one network after the other, after wrong: GOOG final is refused")
    assert_same_bits(results["GOOG final"], alone(job.tasks[-1], job))


def test_a_setting_that_no_method_can_make_up_for_is_raised(job: Job) -> None:
    poor = dataclasses.replace(job, gpu=GpuConfig(mib_per_job=50))
    with pytest.raises(ConfigurationError, match="mib_per_job is 50"):
        trained(poor, Method("all networks fused", fused_without_kernels), PLAIN)


def test_fused_networks_come_back_from_their_process(job: Job) -> None:
    results, notices, _ = trained(job, Method("fused", fused_without_kernels))
    assert not notices
    for task in job.tasks:
        result = results[task.name]
        assert isinstance(result, Fit)
        assert result.task is task
        assert result.validation_loss == pytest.approx(alone(task, job).validation_loss, rel=1e-3)
    assert len(json.loads(job.cache.read_text())) == 1, "the probe is remembered"


@pytest.mark.skipif(torch.cuda.is_available(), reason="only a machine without CUDA fails at every method")
def test_a_gpu_that_cannot_be_used_at_all_ends_on_the_cpu_with_its_bits(
    tasks: list[FitTask], recipe: TrainingConfig, small: ArchitectureConfig
) -> None:
    notices: list[TrainingNotice] = []
    results = {
        result.task.name: result
        for result in fit_universe(tasks, recipe=recipe, architecture=small, device="cuda:0", on_notice=notices.append)
    }
    assert len(notices) == len(METHODS)
    assert all(notice.is_step_down for notice in notices)
    assert notices[-1].text.endswith(f"4 networks are trained {ON_THE_CPU}")
    for result in fit_universe(tasks, recipe=recipe, architecture=small, device="cpu"):
        assert isinstance(result, Fit)
        assert_same_bits(results[result.task.name], result)
