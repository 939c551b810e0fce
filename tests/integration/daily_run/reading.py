"""The type of the fixture that reads the pending partitions."""

from collections.abc import Callable

from ldtm_lib.daily_run.pending_partitions import PendingPartition

ReadPending = Callable[..., list[PendingPartition]]
