"""What `ldtm doctor` says of the GPUs: every one, with its memory, its slots and who holds them."""

from ldtm_cli.diagnosis import gpu_finding
from ldtm_lib.database.connection import Database
from ldtm_lib.gpu.devices import Gpu, GpuInventory
from ldtm_lib.gpu.lease import acquire
from ldtm_lib.settings import GpuConfig

CONFIG = GpuConfig(mib_per_job=600, reserve_mib=2048, max_jobs=4)


def inventory(*free_mib: int) -> GpuInventory:
    gpus = tuple(
        Gpu(index=index, uuid=f"GPU-{index}", name="NVIDIA H100", total_mib=81_559, free_mib=free)
        for index, free in enumerate(free_mib)
    )
    return GpuInventory(gpus=gpus, note=f"{len(gpus)} GPUs")


def test_every_gpu_is_shown_with_its_slots_and_leases(database: Database) -> None:
    read = inventory(3300, 1000)
    with acquire(database, CONFIG, lambda: read):
        finding = gpu_finding(read, CONFIG, database)
    assert finding.level == "ok"
    assert finding.found.splitlines() == [
        "2 GPUs; 2 of at most 4 jobs at once",
        "GPU 0 NVIDIA H100: 3,300 of 81,559 MiB free, 2 slots, 1 leased",
        "GPU 1 NVIDIA H100: 1,000 of 81,559 MiB free, 0 slots, 0 leased",
    ]


def test_no_room_is_a_warning_that_says_what_to_do(database: Database) -> None:
    finding = gpu_finding(inventory(2100), CONFIG, database)
    assert finding.level == "warn"
    assert finding.found.endswith("no room for a job of 600 MiB beside a reserve of 2048 MiB")
    assert finding.remedy == "training waits; lower gpu.reserve_mib or gpu.mib_per_job, or free memory"


def test_without_a_database_the_leases_are_unknown_and_the_memory_is_shown() -> None:
    finding = gpu_finding(inventory(80_000), CONFIG, None)
    assert finding.found.endswith("leases unknown without the database")


def test_a_machine_without_gpus_says_why() -> None:
    finding = gpu_finding(GpuInventory(gpus=(), note="no GPU: Driver Not Loaded"), CONFIG, None)
    assert (finding.level, finding.found) == ("warn", "no GPU: Driver Not Loaded")
