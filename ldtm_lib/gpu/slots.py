"""How many training jobs fit on GPUs that others use too."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ldtm_lib.gpu.devices import Gpu
from ldtm_lib.settings import GpuConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Occupancy:
    """One GPU and the slots on it that jobs of ours hold."""

    gpu: Gpu
    held: frozenset[int] = frozenset()
    """Numbers of the slots that are leased."""
    settled: frozenset[int] = frozenset()
    """Those of them whose job has taken its memory, so that it is no longer counted as free."""
    granted_mib: Mapping[int, int] = field(default_factory=dict[int, int])
    """What each job may take, by slot; `mib_per_job` where it is not known."""

    def expected_free_mib(self, config: GpuConfig) -> int:
        """What will be free once every job that has a slot has taken its memory; negative when that is too much."""
        unsettled = self.held - self.settled
        return self.gpu.free_mib - sum(self.granted_mib.get(slot, config.mib_per_job) for slot in unsettled)

    def grant_mib(self, config: GpuConfig, wanted_mib: int | None) -> int:
        """What one more job may take: what it wants as far as that is to spare, at least `mib_per_job`."""
        spare_mib = self.expected_free_mib(config) - config.reserve_mib
        return max(config.mib_per_job, min(wanted_mib or 0, spare_mib))

    def num_slots(self, config: GpuConfig) -> int:
        """The jobs that hold a slot, and as many more as the memory left beside the reserve has room for; at least 0.

        Below the number held when other tenants have grown since: then nobody is evicted, and nobody comes in.
        """
        spare_mib = self.expected_free_mib(config) - config.reserve_mib
        return max(0, len(self.held) + spare_mib // config.mib_per_job)

    def has_free_slot(self, config: GpuConfig) -> bool:
        """Whether one more job fits."""
        return len(self.held) < self.num_slots(config)


def job_slots(occupancies: Sequence[Occupancy], config: GpuConfig) -> int:
    """How many jobs may run at once on all GPUs, those that run included, capped; 0 means that work waits.

    Where there is no GPU it is 1: one job at a time trains on the CPU, and uses all cores.
    """
    if not occupancies:
        return 1
    return min(sum(occupancy.num_slots(config) for occupancy in occupancies), config.max_jobs)
