"""How many training jobs fit beside the other tenants of some GPUs."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ldtm_lib.gpu.devices import Gpu
from ldtm_lib.gpu.slots import Occupancy, job_slots
from ldtm_lib.settings import GpuConfig

CONFIG = GpuConfig(mib_per_job=600, reserve_mib=2048, max_jobs=4)
TOTAL_MIB = 81_559


def card(free_mib: int, *, held: int = 0, settled: int | None = None, index: int = 0) -> Occupancy:
    """A GPU with the first slots held; all of their jobs have their memory unless it is said how many."""
    gpu = Gpu(index=index, uuid=f"GPU-{index}", name="card", total_mib=TOTAL_MIB, free_mib=free_mib)
    return Occupancy(
        gpu=gpu, held=frozenset(range(held)), settled=frozenset(range(held if settled is None else settled))
    )


def configs() -> st.SearchStrategy[GpuConfig]:
    return st.builds(
        GpuConfig,
        mib_per_job=st.integers(1, 4000),
        reserve_mib=st.integers(0, 10_000),
        max_jobs=st.integers(1, 64),
    )


@st.composite
def cards(draw: st.DrawFn, index: int = 0) -> Occupancy:
    held = draw(st.integers(0, 10))
    free_mib, settled = draw(st.integers(0, TOTAL_MIB)), draw(st.integers(0, held))
    return card(free_mib, held=held, settled=settled, index=index)


@pytest.mark.parametrize(
    ("free_mib", "num_jobs"),
    [(0, 0), (2048, 0), (2647, 0), (2648, 1), (3247, 1), (3248, 2), (4448, 4), (5048, 4), (80_000, 4)],
)
def test_jobs_fill_what_is_free_less_the_reserve_up_to_the_cap(free_mib: int, num_jobs: int) -> None:
    assert job_slots([card(free_mib)], CONFIG) == num_jobs


def test_a_job_that_has_its_memory_still_counts_though_the_memory_is_no_longer_free() -> None:
    assert card(2648, held=1).num_slots(CONFIG) == 2
    assert card(2048, held=1).num_slots(CONFIG) == 1


def test_the_memory_of_a_job_that_has_not_taken_it_yet_is_kept_for_it() -> None:
    assert card(2648, held=1, settled=0).num_slots(CONFIG) == 1
    assert not card(2648, held=1, settled=0).has_free_slot(CONFIG)
    assert card(3248, held=1, settled=0).has_free_slot(CONFIG)


def test_a_tenant_that_grew_closes_the_door_and_evicts_nobody() -> None:
    crowded = card(1000, held=3)
    assert crowded.num_slots(CONFIG) == 1
    assert not crowded.has_free_slot(CONFIG)
    assert card(0, held=1).num_slots(CONFIG) == 0


def test_all_gpus_make_room_and_the_cap_is_one_for_all() -> None:
    assert job_slots([card(0), card(3248, index=1)], CONFIG) == 2
    assert job_slots([card(3848), card(3248, index=1)], CONFIG) == 4
    assert job_slots([card(3848), card(3248, index=1)], CONFIG.replace(max_jobs=64)) == 5


def test_one_job_runs_at_a_time_where_there_is_no_gpu() -> None:
    assert job_slots([], CONFIG) == 1


@given(occupancy=cards(), other=cards(index=1), config=configs())
def test_slots_are_never_below_zero_nor_above_the_cap(
    occupancy: Occupancy, other: Occupancy, config: GpuConfig
) -> None:
    assert occupancy.num_slots(config) >= 0
    assert 0 <= job_slots([occupancy, other], config) <= config.max_jobs


@given(occupancy=cards(), config=configs())
def test_those_who_come_in_leave_the_reserve_and_the_memory_of_those_before_them(
    occupancy: Occupancy, config: GpuConfig
) -> None:
    num_new = max(0, occupancy.num_slots(config) - len(occupancy.held))
    num_unsettled = len(occupancy.held - occupancy.settled)
    if num_new:
        taken = (num_new + num_unsettled) * config.mib_per_job
        assert occupancy.gpu.free_mib - taken >= config.reserve_mib
    spare = occupancy.gpu.free_mib - (num_new + num_unsettled) * config.mib_per_job - config.reserve_mib
    assert spare < config.mib_per_job, "room for one more was left"


@given(occupancy=cards(), config=configs(), more_mib=st.integers(0, 20_000))
def test_more_free_memory_never_means_fewer_slots(occupancy: Occupancy, config: GpuConfig, more_mib: int) -> None:
    roomier = dataclasses.replace(
        occupancy, gpu=dataclasses.replace(occupancy.gpu, free_mib=occupancy.gpu.free_mib + more_mib)
    )
    assert roomier.num_slots(config) >= occupancy.num_slots(config)


@given(occupancy=cards(), config=configs())
def test_a_job_that_takes_its_memory_and_says_so_changes_nothing_for_the_others(
    occupancy: Occupancy, config: GpuConfig
) -> None:
    for slot in occupancy.held - occupancy.settled:
        gpu = dataclasses.replace(occupancy.gpu, free_mib=occupancy.gpu.free_mib - config.mib_per_job)
        after = dataclasses.replace(occupancy, gpu=gpu, settled=occupancy.settled | {slot})
        assert after.num_slots(config) == occupancy.num_slots(config)
