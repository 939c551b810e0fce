"""Leases of GPUs on the nodes of a Ray cluster, taken in the database of the training.

A node connects by its own LDTM_DATABASE_URL, so that no password is sent with a task.
"""

import os
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from ldtm_lib.database.connection import Connection, Database, address
from ldtm_lib.database.queries import query
from ldtm_lib.errors import LdtmError
from ldtm_lib.gpu.lease import LeaseLost, LeaseWatch, acquire
from ldtm_lib.models.device import device_of
from ldtm_lib.models.fused.budget import universe_mib
from ldtm_lib.models.on_ray.shard import LeasedGpu, NodeLeases, ShardLost
from ldtm_lib.models.visible_gpus import gpus_here
from ldtm_lib.project import DATABASE_VARIABLE, Project, checked_url
from ldtm_lib.settings import ArchitectureConfig, GpuConfig, TrainingConfig, WindowConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseLeases:
    """Leases in the database of a training, whose locks all nodes must see."""

    identity: str
    """Identity of the database; see `database_identity`."""
    schema: str
    gpu: GpuConfig
    recipe: TrainingConfig
    architecture: ArchitectureConfig
    window: WindowConfig

    def problem_here(self) -> str:
        """Reason why this node cannot take leases; empty if it can."""
        try:
            database = self._database()
            with database.transaction() as conn:
                found = database_identity(conn)
        except LdtmError as error:
            return str(error)
        if found != self.identity:
            return (
                f"{DATABASE_VARIABLE} of the node names another database ({address(database.url)}) than the training "
                "uses, so two jobs could take the same GPU; set it to the database of the training"
            )
        inventory = gpus_here(os.environ)
        return "" if inventory.gpus else f"it offers GPU slots, but no GPU is visible there ({inventory.note})"

    @contextmanager
    def lease(self, num_tickers: int, on_wait: Callable[[str], None]) -> Generator[LeasedGpu]:
        """Wait for a GPU of this node, as a training on one machine does."""
        wanted_mib = None
        if self.gpu.takes_what_the_universe_needs:
            wanted_mib = universe_mib(
                num_tickers, recipe=self.recipe, architecture=self.architecture, window=self.window
            )
        read_gpus = partial(gpus_here, os.environ)
        with acquire(self._database(), self.gpu, read_gpus, wanted_mib=wanted_mib, on_wait=on_wait) as lease:
            assert lease.gpu is not None
            watch = LeaseWatch(lease)

            def require_held() -> None:
                try:
                    watch.look()
                except LeaseLost as error:
                    raise ShardLost(str(error)) from None

            yield LeasedGpu(
                device=device_of(lease.gpu.uuid),
                gpu=self.gpu.replace(mib_per_job=lease.memory_mib),
                require_held=require_held,
            )

    def _database(self) -> Database:
        url = os.environ.get(DATABASE_VARIABLE)
        if not url:
            raise LdtmError(
                f"{DATABASE_VARIABLE} is not set on the node; set it to the database of the training where the raylet "
                "of the node is started"
            )
        return Database(url=checked_url(url), schema=self.schema)


def node_leases(project: Project, environ: Mapping[str, str]) -> tuple[NodeLeases | None, str]:
    """Leases in the database of a project, or the reason why nodes cannot take any there."""
    if not environ.get(DATABASE_VARIABLE):
        return None, (
            f"GPUs of Ray nodes are leased in PostgreSQL, and {DATABASE_VARIABLE} is not set: no other machine reaches "
            f"the embedded server. Set {DATABASE_VARIABLE} here and on every node with GPUs to one server "
            "(docs/ray.md), or train with the device cpu"
        )
    settings = project.settings
    with project.database.transaction() as conn:
        identity = database_identity(conn)
    return (
        DatabaseLeases(
            identity=identity,
            schema=project.database.schema,
            gpu=settings.gpu,
            recipe=settings.training,
            architecture=settings.architecture,
            window=settings.window,
        ),
        "",
    )


def database_identity(conn: Connection) -> str:
    """Identity of the database of a connection: different for every database, whatever address it is reached by."""
    row = conn.execute(query("gpu.server_identity")).fetchone()
    assert row is not None
    return str(row[0])
