"""What is read of a machine's GPUs: by NVML, by CUDA where NVML does not know, and in words where nobody does."""

import dataclasses
import os
from types import SimpleNamespace

import pynvml
import pytest

from ldtm_lib.gpu import nvml as nvml_module
from ldtm_lib.gpu.devices import CudaOrder, Gpu, inventory_of, read_gpus
from ldtm_lib.gpu.nvml import Memory, NvmlAnswer, NvmlGpu, ask_nvml, system_memory

SMALL = NvmlGpu(index=0, uuid="GPU-a", name="GT 710", memory=Memory(total_mib=2002, free_mib=1900))
LARGE = NvmlGpu(index=1, uuid="GPU-b", name="H100", memory=Memory(total_mib=81_559, free_mib=40_000))
SLICES = (
    NvmlGpu(index=0, uuid="MIG-a", name="A100 MIG 3g.20gb", memory=Memory(total_mib=20_096, free_mib=20_000)),
    NvmlGpu(index=0, uuid="MIG-b", name="A100 MIG 1g.5gb", memory=Memory(total_mib=4864, free_mib=4800)),
)


def nvml_answer(*gpus: NvmlGpu, problem: str = "") -> NvmlAnswer:
    return NvmlAnswer(gpus=gpus, problem=problem)


def never() -> CudaOrder:
    raise AssertionError("CUDA costs seconds and is asked only where NVML does not know")


def reports(*uuids: str, problem: str = ""):
    return lambda: CudaOrder(uuids=uuids, problem=problem)


def test_all_gpus_are_read_with_the_memory_that_nvml_tells() -> None:
    inventory = inventory_of(nvml_answer(SMALL, LARGE), visible=None, cuda_order=never)
    assert inventory.gpus == (
        Gpu(index=0, uuid="GPU-a", name="GT 710", total_mib=2002, free_mib=1900),
        Gpu(index=1, uuid="GPU-b", name="H100", total_mib=81_559, free_mib=40_000),
    )
    assert inventory.note == "2 GPUs"


MEMINFO = """MemTotal:       125440000 kB
MemFree:          2600000 kB
MemAvailable:   104857600 kB
Buffers:           800000 kB
Cached:          98000000 kB
HugePages_Total:       0
"""


def test_of_unified_memory_the_page_cache_counts_as_free() -> None:
    assert system_memory(MEMINFO) == Memory(total_mib=122_500, free_mib=102_400)


class Driver:
    """What NVML says of one GPU, in place of the library."""

    def __init__(self, *, slices: int | None, memory: Memory | None) -> None:
        self.slices, self.memory = slices, memory

    def handle(self, index: int) -> str:
        return "GPU-whole"

    def mode(self, handle: str) -> tuple[int, int]:
        if self.slices is None:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        return int(self.slices >= 0), 1

    def slice(self, handle: str, number: int) -> str:
        if number >= (self.slices or 0):
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        return f"MIG-{number}"

    def memory_of(self, handle: str) -> SimpleNamespace:
        if self.memory is None:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        return SimpleNamespace(total=self.memory.total_mib * 2**20, free=self.memory.free_mib * 2**20)

    def put_in_place(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, answer in {
            "nvmlInit": lambda: None,
            "nvmlShutdown": lambda: None,
            "nvmlDeviceGetCount": lambda: 1,
            "nvmlDeviceGetHandleByIndex": self.handle,
            "nvmlDeviceGetMigMode": self.mode,
            "nvmlDeviceGetMaxMigDeviceCount": lambda handle: 7,
            "nvmlDeviceGetMigDeviceHandleByIndex": self.slice,
            "nvmlDeviceGetUUID": str,
            "nvmlDeviceGetName": lambda handle: f"card {handle}",
            "nvmlDeviceGetMemoryInfo": self.memory_of,
        }.items():
            monkeypatch.setattr(nvml_module.nvml, name, answer)


FREE = Memory(total_mib=1000, free_mib=900)


def test_a_gpu_without_memory_of_its_own_has_that_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    Driver(slices=None, memory=None).put_in_place(monkeypatch)
    answer = ask_nvml()
    (gpu,) = answer.gpus
    total, free = gpu.memory.total_mib, gpu.memory.free_mib
    assert total == pytest.approx(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**20, rel=0.01)
    assert 0 < free < total
    inventory = inventory_of(answer, visible=None, cuda_order=never)
    assert inventory.note == "1 GPU"


@pytest.mark.parametrize(("slices", "uuids"), [(None, ["GPU-whole"]), (-1, ["GPU-whole"]), (2, ["MIG-0", "MIG-1"])])
def test_a_gpu_that_is_divided_is_read_as_its_slices(
    monkeypatch: pytest.MonkeyPatch, slices: int | None, uuids: list[str]
) -> None:
    Driver(slices=slices, memory=FREE).put_in_place(monkeypatch)
    answer = ask_nvml()
    assert [(gpu.uuid, gpu.index, gpu.memory) for gpu in answer.gpus] == [(uuid, 0, FREE) for uuid in uuids]


def test_a_gpu_in_mig_mode_without_a_slice_is_not_counted_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    Driver(slices=0, memory=FREE).put_in_place(monkeypatch)
    note = inventory_of(ask_nvml(), visible=None, cuda_order=never).note
    assert note.startswith("no GPU: GPU 0 is in MIG mode and has no slice; create one with nvidia-smi mig")


@pytest.mark.parametrize(
    ("visible", "uuid", "note"),
    [
        (None, "MIG-a", "1 GPU; CUDA shows the first slice alone; set CUDA_VISIBLE_DEVICES to use MIG-b"),
        ("0", "MIG-a", "1 GPU; CUDA_VISIBLE_DEVICES=0 hides GPU MIG-b"),
        ("MIG-b", "MIG-b", "1 GPU; CUDA_VISIBLE_DEVICES=MIG-b hides GPU MIG-a"),
    ],
)
def test_of_slices_that_are_not_named_cuda_shows_the_first(visible: str | None, uuid: str, note: str) -> None:
    inventory = inventory_of(nvml_answer(*SLICES), visible=visible, cuda_order=never)
    assert [gpu.uuid for gpu in inventory.gpus] == [uuid]
    assert inventory.note == note


@pytest.mark.parametrize("visible", ["GPU-b", "GPU-b,GPU-nobody"])
def test_a_gpu_that_is_hidden_is_not_counted_and_the_note_says_why(visible: str) -> None:
    inventory = inventory_of(nvml_answer(SMALL, LARGE), visible=visible, cuda_order=never)
    assert [gpu.index for gpu in inventory.gpus] == [1]
    assert inventory.note == f"1 GPU; CUDA_VISIBLE_DEVICES={visible} hides GPU 0"


def test_hiding_all_gpus_is_training_on_the_cpu() -> None:
    inventory = inventory_of(nvml_answer(LARGE), visible="", cuda_order=never)
    assert inventory.gpus == ()
    assert inventory.note == "no GPU: CUDA_VISIBLE_DEVICES= hides GPU 1; models are trained on the CPU"


def test_a_number_among_unequal_gpus_means_what_cuda_says_since_it_counts_the_fastest_first() -> None:
    cuda = reports("GPU-b")
    inventory = inventory_of(nvml_answer(SMALL, LARGE), visible="0", cuda_order=cuda)
    assert [(gpu.uuid, gpu.free_mib) for gpu in inventory.gpus] == [("GPU-b", 40_000)]
    unasked = inventory_of(
        nvml_answer(SMALL, LARGE), visible="0", cuda_order=reports(problem="CUDA could not be asked")
    )
    assert [gpu.uuid for gpu in unasked.gpus] == ["GPU-a"]


def test_a_number_among_equal_gpus_is_nvmls() -> None:
    twin = dataclasses.replace(LARGE, index=0, uuid="GPU-a")
    inventory = inventory_of(nvml_answer(twin, LARGE), visible="1", cuda_order=never)
    assert [gpu.uuid for gpu in inventory.gpus] == ["GPU-b"]


def test_a_gpu_that_is_lost_hides_no_other_one() -> None:
    inventory = inventory_of(
        nvml_answer(LARGE, problem="GPU 0 cannot be read: GPU is lost"), visible=None, cuda_order=never
    )
    assert [gpu.index for gpu in inventory.gpus] == [1]
    assert inventory.note == "1 GPU; GPU 0 cannot be read: GPU is lost"


def test_a_machine_without_gpus_says_why() -> None:
    note = inventory_of(nvml_answer(problem="NVML Shared Library Not Found"), visible=None, cuda_order=never).note
    assert note == "no GPU: NVML Shared Library Not Found; models are trained on the CPU"
    assert inventory_of(nvml_answer(), visible=None, cuda_order=never).note.startswith("no GPU: NVML counts none")


def test_this_machine_is_read_by_the_real_nvml() -> None:
    inventory = read_gpus(visible=None, cuda_order=reports())
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
