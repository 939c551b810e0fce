"""Real windows of four sample tickers, networks small enough to train in a blink, and a cluster of two nodes."""

from collections.abc import Callable, Iterator, Sequence

import pytest

from ldtm_lib.models.fit import Fit, FitFailed, FitTask, Progress
from ldtm_lib.models.on_ray.engine import RayEngine
from ldtm_lib.models.on_ray.shard import TrainShard, train_shard
from ldtm_lib.models.trainer import fit_universe
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import ArchitectureConfig, EngineConfig, TrainingConfig
from tests.integration.ray.clusters import LocalCluster, TriesFile
from tests.integration.ray.faults import TRIES
from tests.integration.ray.trainings import Results, Train
from tests.sample_tasks import RECIPE, SMALL, sample_windows, task_of

TICKERS = ("AAPL", "GOOG", "IBM", "MSFT")


@pytest.fixture(scope="session")
def small() -> ArchitectureConfig:
    return SMALL


@pytest.fixture(scope="session")
def recipe() -> TrainingConfig:
    return RECIPE


@pytest.fixture(scope="session")
def tasks(calendar: Calendar) -> list[FitTask]:
    """A fold and a final network of each of four tickers, on a few hundred rows."""
    windows = sample_windows(calendar, *TICKERS)
    return [
        task_of(windows[ticker], fold=fold, num_rows=200 + 40 * number)
        for number, ticker in enumerate(TICKERS)
        for fold in (0, None)
    ]


@pytest.fixture(scope="session")
def alone(tasks: list[FitTask], recipe: TrainingConfig, small: ArchitectureConfig) -> dict[str, Fit | FitFailed]:
    """The results of training on this machine, by the names of tasks."""
    results = fit_universe(tasks, recipe=recipe, architecture=small, device="cpu")
    return {result.task.name: result for result in results}


@pytest.fixture(scope="session")
def tries(tmp_path_factory: pytest.TempPathFactory) -> TriesFile:
    """The tickers of every task that nodes of the cluster began since the last call."""
    file = tmp_path_factory.mktemp("tries") / "tries"
    file.touch()
    return TriesFile(file)


@pytest.fixture(scope="session")
def cluster(tries: TriesFile) -> Iterator[LocalCluster]:
    """A head without cores and two nodes of one core. Tests that kill one start another one."""
    with LocalCluster({TRIES: str(tries.path)}) as started:
        started.node()
        started.node()
        yield started


@pytest.fixture
def lines() -> list[str]:
    """What the engine logs."""
    return []


@pytest.fixture
def train(
    cluster: LocalCluster,
    tasks: list[FitTask],
    recipe: TrainingConfig,
    small: ArchitectureConfig,
    lines: list[str],
) -> Train:
    """Trains on the cluster; returns the results by the names of their tasks."""

    def on_the_cluster(
        some: Sequence[FitTask] = tasks,
        *,
        on: LocalCluster = cluster,
        by: TrainShard = train_shard,
        tickers_per_shard: int | None = None,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Results:
        config = EngineConfig(kind="ray", address=on.address, tickers_per_shard=tickers_per_shard)
        engine = RayEngine(config=config, train_shard=by, log=lines.append)
        results = engine(some, recipe=recipe, architecture=small, device="auto", on_progress=on_progress)
        return {result.task.name: result for result in results}

    return on_the_cluster
