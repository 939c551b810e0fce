"""Number of training jobs that fit on GPUs that other processes use too."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ldtm_lib.gpu.devices import Gpu
from ldtm_lib.settings import GpuConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Occupancy:
    """One GPU and the slots on it that training jobs of LDTM hold."""

    gpu: Gpu
    held: frozenset[int] = frozenset()
    """Numbers of the slots that are leased."""
    settled: frozenset[int] = frozenset()
    """Leased slots whose job has taken its memory, so that this memory is no longer counted as free."""
    granted_mib: Mapping[int, int] = field(default_factory=dict[int, int])
    """Memory in MiB that each job may take, by slot; `mib_per_job` if it is not known."""

    def expected_free_mib(self, config: GpuConfig) -> int:
        """Free memory after every job with a slot has taken its share; negative if the shares are too large."""
        unsettled = self.held - self.settled
        return self.gpu.free_mib - sum(self.granted_mib.get(slot, config.mib_per_job) for slot in unsettled)

    def grant_mib(self, config: GpuConfig, wanted_mib: int | None) -> int:
        """Memory that one more job may take: at most `wanted_mib` and the memory to spare, at least `mib_per_job`."""
        spare_mib = self.expected_free_mib(config) - config.reserve_mib
        return max(config.mib_per_job, min(wanted_mib or 0, spare_mib))

    def num_slots(self, config: GpuConfig) -> int:
        """Number of jobs that hold a slot, and of further jobs that fit into the memory to spare; at least 0.

        The result is below the number of jobs that hold a slot if other tenants have grown since: then no job is
        evicted, and none is admitted.
        """
        spare_mib = self.expected_free_mib(config) - config.reserve_mib
        return max(0, len(self.held) + spare_mib // config.mib_per_job)

    def has_free_slot(self, config: GpuConfig) -> bool:
        """True if one more job fits."""
        return len(self.held) < self.num_slots(config)


def job_slots(occupancies: Sequence[Occupancy], config: GpuConfig) -> int:
    """Number of jobs that may run at once on all GPUs, running ones included, at most `max_jobs`; 0 makes jobs wait.

    Without a GPU it is 1: one job at a time trains on the CPU, and uses all cores.
    """
    if not occupancies:
        return 1
    return min(sum(occupancy.num_slots(config) for occupancy in occupancies), config.max_jobs)
