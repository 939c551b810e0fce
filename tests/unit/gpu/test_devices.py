"""What is read of a machine's GPUs: by NVML, by CUDA where NVML does not know, and in words where nobody does."""

import dataclasses

import pynvml
import pytest

from ldtm_lib.gpu.devices import CudaAnswer, CudaGpu, Gpu, inventory_of, read_gpus
from ldtm_lib.gpu.nvml import Memory, NvmlAnswer, NvmlGpu

SMALL = NvmlGpu(index=0, uuid="GPU-a", name="GT 710", memory=Memory(total_mib=2002, free_mib=1900))
LARGE = NvmlGpu(index=1, uuid="GPU-b", name="H100", memory=Memory(total_mib=81_559, free_mib=40_000))
UNIFIED = NvmlGpu(index=0, uuid="GPU-c", name="GB10", memory=None)


def nvml_answer(*gpus: NvmlGpu, problem: str = "") -> NvmlAnswer:
    return NvmlAnswer(gpus=gpus, problem=problem)


def never() -> CudaAnswer:
    raise AssertionError("CUDA costs seconds and is asked only where NVML does not know")


def reports(*gpus: CudaGpu, problem: str = ""):
    return lambda: CudaAnswer(gpus=gpus, problem=problem)


def test_all_gpus_are_read_with_the_memory_that_nvml_tells() -> None:
    inventory = inventory_of(nvml_answer(SMALL, LARGE), visible=None, cuda_memory=never)
    assert inventory.gpus == (
        Gpu(index=0, uuid="GPU-a", name="GT 710", total_mib=2002, free_mib=1900),
        Gpu(index=1, uuid="GPU-b", name="H100", total_mib=81_559, free_mib=40_000),
    )
    assert inventory.note == "2 GPUs"


def test_memory_that_nvml_does_not_support_is_asked_of_cuda() -> None:
    known = CudaGpu(uuid="GPU-c", memory=Memory(total_mib=122_502, free_mib=101_000))
    inventory = inventory_of(nvml_answer(UNIFIED), visible=None, cuda_memory=reports(known))
    assert inventory.gpus == (Gpu(index=0, uuid="GPU-c", name="GB10", total_mib=122_502, free_mib=101_000),)
    assert inventory.note == "1 GPU"


def test_a_gpu_whose_memory_nobody_tells_is_not_counted_and_named() -> None:
    inventory = inventory_of(
        nvml_answer(UNIFIED, LARGE), visible=None, cuda_memory=reports(problem="CUDA did not answer in 60 s")
    )
    assert [gpu.uuid for gpu in inventory.gpus] == ["GPU-b"]
    assert inventory.note == (
        "1 GPU; GPU 0 (GB10) does not tell its memory: NVML does not support it, and CUDA did not answer in 60 s"
    )
    alone = inventory_of(nvml_answer(UNIFIED), visible=None, cuda_memory=reports())
    assert alone.gpus == ()
    assert alone.note.startswith("no GPU: GPU 0 (GB10) does not tell its memory")


@pytest.mark.parametrize("visible", ["GPU-b", "GPU-b,GPU-nobody"])
def test_a_gpu_that_is_hidden_is_not_counted_and_the_note_says_why(visible: str) -> None:
    inventory = inventory_of(nvml_answer(SMALL, LARGE), visible=visible, cuda_memory=never)
    assert [gpu.index for gpu in inventory.gpus] == [1]
    assert inventory.note == f"1 GPU; CUDA_VISIBLE_DEVICES={visible} hides GPU 0"


def test_hiding_all_gpus_is_training_on_the_cpu() -> None:
    inventory = inventory_of(nvml_answer(LARGE), visible="", cuda_memory=never)
    assert inventory.gpus == ()
    assert inventory.note == "no GPU: CUDA_VISIBLE_DEVICES= hides GPU 1; models are trained on the CPU"


def test_a_number_among_unequal_gpus_means_what_cuda_says_since_it_counts_the_fastest_first() -> None:
    cuda = reports(CudaGpu(uuid="GPU-b", memory=Memory(total_mib=1, free_mib=1)))
    inventory = inventory_of(nvml_answer(SMALL, LARGE), visible="0", cuda_memory=cuda)
    assert [(gpu.uuid, gpu.free_mib) for gpu in inventory.gpus] == [("GPU-b", 40_000)]
    unasked = inventory_of(
        nvml_answer(SMALL, LARGE), visible="0", cuda_memory=reports(problem="CUDA could not be asked")
    )
    assert [gpu.uuid for gpu in unasked.gpus] == ["GPU-a"]


def test_a_number_among_equal_gpus_is_nvmls() -> None:
    twin = dataclasses.replace(LARGE, index=0, uuid="GPU-a")
    inventory = inventory_of(nvml_answer(twin, LARGE), visible="1", cuda_memory=never)
    assert [gpu.uuid for gpu in inventory.gpus] == ["GPU-b"]


def test_a_gpu_that_is_lost_hides_no_other_one() -> None:
    inventory = inventory_of(
        nvml_answer(LARGE, problem="GPU 0 cannot be read: GPU is lost"), visible=None, cuda_memory=never
    )
    assert [gpu.index for gpu in inventory.gpus] == [1]
    assert inventory.note == "1 GPU; GPU 0 cannot be read: GPU is lost"


def test_a_machine_without_gpus_says_why() -> None:
    note = inventory_of(nvml_answer(problem="NVML Shared Library Not Found"), visible=None, cuda_memory=never).note
    assert note == "no GPU: NVML Shared Library Not Found; models are trained on the CPU"
    assert inventory_of(nvml_answer(), visible=None, cuda_memory=never).note.startswith("no GPU: NVML counts none")


def test_this_machine_is_read_by_the_real_nvml() -> None:
    inventory = read_gpus(visible=None, cuda_memory=reports())
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        assert inventory.gpus == ()
        assert inventory.note.startswith("no GPU: ")
        assert inventory.note.endswith("; models are trained on the CPU")
    else:
        pynvml.nvmlShutdown()
        assert all(gpu.uuid.startswith("GPU-") for gpu in inventory.gpus)
        assert all(0 <= gpu.free_mib <= gpu.total_mib for gpu in inventory.gpus)
