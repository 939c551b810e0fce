"""A GPU for tests whose free memory several processes really share: a file for every job that has taken its memory.

Run as a program it is one training job: it takes a lease, takes its memory a little later, works, and ends.
"""

import os
import random
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from ldtm_lib.database.connection import Database
from ldtm_lib.gpu.devices import Gpu, GpuInventory
from ldtm_lib.gpu.lease import acquire
from ldtm_lib.settings import GpuConfig

CONFIG = GpuConfig(mib_per_job=600, reserve_mib=2048, max_jobs=64)
NUM_PLACES = 3
SPARE_MIB = 100
"""What is left beside the reserve and the jobs: too little for one more."""


@dataclass(frozen=True, slots=True)
class SharedCard:
    """A folder that stands for the memory of a GPU, and the log of who trained when."""

    folder: Path

    @property
    def log(self) -> Path:
        return self.folder / "log"

    @property
    def is_open(self) -> Path:
        """A file without which nobody asks for a lease: so that all ask at once."""
        return self.folder / "open"

    def read(self) -> GpuInventory:
        gpu = Gpu(index=0, uuid="GPU-shared", name="card", total_mib=8000, free_mib=self.free_mib())
        return GpuInventory(gpus=(gpu,), note="1 GPU")

    def free_mib(self) -> int:
        """Memory that a dead process held is free again."""
        alive = [path for path in self.folder.glob("*.job") if Path(f"/proc/{path.stem}").exists()]
        whole = CONFIG.reserve_mib + NUM_PLACES * CONFIG.mib_per_job + SPARE_MIB
        return whole - len(alive) * CONFIG.mib_per_job

    def take_memory(self) -> None:
        (self.folder / f"{os.getpid()}.job").touch()

    def give_memory(self) -> None:
        (self.folder / f"{os.getpid()}.job").unlink()

    def write(self, what: str, slot: int) -> None:
        """One line, appended whole: the system-wide clock, what happened, and the slot."""
        with self.log.open("a") as out:
            out.write(f"{time.monotonic_ns()} {what} {slot} {self.free_mib()}\n")


def train_for(url: str, card: SharedCard, seconds: float) -> None:
    """One job, of once to twice so many seconds; an endless one when they are negative."""
    chance = random.Random(os.getpid())
    print("is here", flush=True)
    while not card.is_open.exists():
        time.sleep(0.005)
    with acquire(Database(url=url, schema="ldtm"), CONFIG, card.read, interval_seconds=0.02) as lease:
        card.write("begins", lease.slot)
        time.sleep(chance.uniform(0, 0.1))
        card.take_memory()
        lease.settle()
        card.write("has memory", lease.slot)
        print("trains", flush=True)
        while seconds < 0:
            time.sleep(60)
        time.sleep(seconds + chance.uniform(0, seconds))
        lease.require_held()
        card.write("ends", lease.slot)
    card.give_memory()


if __name__ == "__main__":
    train_for(sys.argv[1], SharedCard(Path(sys.argv[2])), float(sys.argv[3]))
