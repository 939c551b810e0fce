"""What CUDA is asked in a process of its own, and which of its devices a GPU of the driver is."""

import subprocess
import sys

import pytest
import torch

from ldtm_lib.errors import ConfigurationError
from ldtm_lib.models import cuda_order as module
from ldtm_lib.models.cuda_order import cuda_order
from ldtm_lib.models.device import device_of, gpu_of


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_known", {})


def test_cuda_is_asked_once_in_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = cuda_order(None)
    assert len(answer.uuids) == torch.cuda.device_count()
    assert answer.problem == ("" if answer.uuids else "CUDA reports no GPU")
    if answer.uuids:
        monkeypatch.setattr(sys, "executable", "/bin/false")
        assert cuda_order(None) == answer


def test_a_process_that_does_not_end_in_time_is_no_answer() -> None:
    assert cuda_order(None, timeout_seconds=0.01).problem == "CUDA did not answer in 0.01 s"


def test_a_process_that_fails_tells_its_last_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    assert cuda_order(None).problem == "CUDA could not be queried: exit status 1"


def test_asking_needs_no_torch_in_the_process_that_asks() -> None:
    program = "import sys, ldtm_lib.models.cuda_order; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_any_gpu_will_do_for_cuda_without_a_number() -> None:
    assert gpu_of("cuda") is None


def test_a_gpu_that_cuda_does_not_show_has_no_device() -> None:
    with pytest.raises(ConfigurationError, match=r"GPU-0815 is leased, but is not among the devices that CUDA shows"):
        device_of("GPU-0815")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_device_and_its_uuid_name_each_other() -> None:
    for number, known in enumerate(cuda_order(None).uuids):
        assert gpu_of(f"cuda:{number}") == known
        assert device_of(known) == f"cuda:{number}"
