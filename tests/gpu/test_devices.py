"""How many training jobs fit beside the other tenants of a GPU."""

import pynvml
import pytest

from ldtm_lib.config import GpuConfig
from ldtm_lib.gpu.devices import Gpu, job_slots, read_gpus

CONFIG = GpuConfig(mib_per_job=600, reserve_mib=2048, max_jobs=4)


def gpu(free_mib: int, index: int = 0) -> Gpu:
    return Gpu(index=index, name="card", total_mib=80_000, free_mib=free_mib)


@pytest.mark.parametrize(
    ("free_mib", "num_jobs"),
    [(0, 0), (2048, 0), (2647, 0), (2648, 1), (3247, 1), (3248, 2), (4448, 4), (5048, 4), (80_000, 4)],
)
def test_jobs_fill_what_is_free_less_the_reserve_up_to_the_cap(free_mib: int, num_jobs: int) -> None:
    assert job_slots([gpu(free_mib)], CONFIG) == num_jobs


def test_further_gpus_make_no_room_since_training_uses_the_first() -> None:
    assert job_slots([gpu(0), gpu(80_000, index=1)], CONFIG) == 0
    assert job_slots([gpu(80_000, index=1), gpu(2648)], CONFIG) == 1


def test_one_job_runs_at_a_time_where_there_is_no_gpu_or_the_first_does_not_tell_its_memory() -> None:
    assert job_slots([], CONFIG) == 1
    assert job_slots([gpu(80_000, index=1)], CONFIG) == 1


def test_a_reading_says_what_it_found_or_why_it_found_nothing() -> None:
    reading = read_gpus()
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        assert reading.gpus == ()
        assert reading.note.startswith("no GPU: ")
        assert reading.note.endswith("; models are trained on the CPU")
    else:
        pynvml.nvmlShutdown()
        assert all(0 <= gpu.free_mib <= gpu.total_mib for gpu in reading.gpus)
        assert reading.note
