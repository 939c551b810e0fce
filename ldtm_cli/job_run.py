"""What to launch, in words light enough to be said before Dagster is imported."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRun:
    """A job, the range of partitions it is asked for, and the configuration of its step."""

    job: str
    step: str
    first_partition: str | None = None
    last_partition: str | None = None
    config: Mapping[str, str | bool] = field(default_factory=dict[str, str | bool])
