"""What `ldtm doctor` says of the GPUs: every one, with its memory, its slots and who holds them."""

from pathlib import Path

import pytest
import torch

from ldtm_cli.diagnosis import gpu_finding, gpu_findings
from ldtm_lib.alerts.alert import open_alerts
from ldtm_lib.database.connection import Connection, Database
from ldtm_lib.gpu.devices import Gpu, GpuInventory
from ldtm_lib.gpu.lease import acquire
from ldtm_lib.models.on_gpu.notice import TrainingNotice
from ldtm_lib.settings import GpuConfig
from ldtm_lib.training.gpu_alert import tell_of_the_gpu
from tests.integration.ldtm_cli.shell import run_ldtm

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
    assert finding.found.endswith("no room for a job of 600 MiB plus a reserve of 2048 MiB")
    assert finding.remedy == "training waits; lower gpu.reserve_mib or gpu.mib_per_job, or free memory"


def test_what_the_newest_training_stepped_down_for_is_shown_until_one_needs_no_step(
    database: Database, conn: Connection
) -> None:
    read = inventory(80_000)
    assert [finding.what for finding in gpu_findings(read, CONFIG, database)] == ["GPU"]
    steps = [
        TrainingNotice(text="cuda:0 has no room for 43 networks at once", is_step_down=False),
        TrainingNotice(text="all networks fused: PTXASError; 9 networks are trained one by one", is_step_down=True),
    ]
    for _ in range(2):  # as each Saturday does
        tell_of_the_gpu(conn, steps)
        conn.commit()
    finding = gpu_findings(read, CONFIG, database)[1]
    assert (finding.what, finding.level) == ("training", "warn")
    assert finding.found.endswith("fastest method: all networks fused: PTXASError; 9 networks are trained one by one")
    (warning,) = open_alerts(conn)
    assert (warning.kind, warning.severity, warning.subject) == ("training", "warning", "GPU")
    tell_of_the_gpu(conn, steps[:1])
    conn.commit()
    assert [finding.what for finding in gpu_findings(read, CONFIG, database)] == ["GPU"]
    assert open_alerts(conn) == []


def test_without_a_database_the_leases_are_unknown_and_the_memory_is_shown() -> None:
    finding = gpu_finding(inventory(80_000), CONFIG, None)
    assert finding.found.endswith("leases unknown without the database")


def test_a_machine_without_gpus_says_why() -> None:
    finding = gpu_finding(GpuInventory(gpus=(), note="no GPU: Driver Not Loaded"), CONFIG, None)
    assert (finding.level, finding.found) == ("warn", "no GPU: Driver Not Loaded")


@pytest.mark.skipif(torch.cuda.is_available(), reason="only a machine without CUDA has nothing to try")
def test_a_trial_without_a_gpu_says_what_is_missing(database: Database, tmp_path: Path) -> None:
    (tmp_path / "universe.toml").write_text('tickers = ["AAPL"]\n')
    done = run_ldtm(tmp_path, database.url, "doctor", "--gpu")
    assert done.returncode == 2
    assert f"error: PyTorch {torch.__version__} finds no CUDA device here; install a CUDA build of it" in done.stderr
