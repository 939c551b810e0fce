"""A step trains where its lease lets it: it waits for one, gives it back, and ends when it is lost."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import dagster as dg
import psycopg
import pytest

from ldtm_assets.definitions import definitions_for
from ldtm_assets.partitions import partition_range
from ldtm_assets.training import placement
from ldtm_assets.training.placement import HoldingReporter, training_place
from ldtm_assets.training.progress import LogLines, TrainingReporter
from ldtm_lib.database.connection import Connection, Database
from ldtm_lib.gpu.devices import Gpu, GpuInventory
from ldtm_lib.gpu.lease import LeaseLost, acquire
from ldtm_lib.gpu.locks import occupancies_now
from ldtm_lib.models.fit import Fit, FitFailed, FitTask, Progress
from ldtm_lib.project import Project
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import Settings, load_settings
from ldtm_lib.training.run import TrainingCallbacks
from tests.integration.dagster_storage import dagster_instance

INVENTORY = GpuInventory(
    gpus=(Gpu(index=0, uuid="GPU-0", name="card", total_mib=80_000, free_mib=70_000),), note="1 GPU"
)
AN_EPOCH = Progress(
    ticker="AAPL",
    fold=None,
    epoch=1,
    max_epochs=2,
    expected_epochs=2,
    training_loss=1.0,
    validation_loss=1.0,
    best_validation_loss=1.0,
)
CONFIG = """
tickers = ["AAPL", "MSFT"]
[architecture]
hidden = 4
head_hidden = 4
[training]
max_epochs = 1
[backtest]
num_folds = 2
"""


@pytest.fixture
def project(settings: Settings, database: Database) -> Project:
    return Project(settings=settings, home=settings.path.parent, database=database)


def end_the_lease(database: Database) -> None:
    with psycopg.connect(database.url, autocommit=True) as admin:
        admin.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where application_name = 'ldtm gpu lease' and datname = current_database()"
        )


def test_the_cpu_is_trained_on_by_one_step_and_the_next_waits_and_says_so(project: Project) -> None:
    said: list[str] = []
    shown = ShowsWaiting()
    is_told, went_on = threading.Event(), threading.Event()

    def say(line: str) -> None:
        said.append(line)
        is_told.set()

    def another_step() -> None:
        with training_place(project, "cpu", say, shown):
            went_on.set()

    with training_place(project, "cpu", lambda _: None, LogLines()) as place:
        assert (place.device, place.gpu_index) == ("cpu", None)
        step = threading.Thread(target=another_step)
        step.start()
        assert is_told.wait(10)
        assert not went_on.is_set()
    assert went_on.wait(10)
    step.join()
    assert said[0].startswith("waits for a slot to train in: another training uses the CPU of ")
    assert said[1].startswith("trains in slot 0 of the CPU of ")
    assert said[1].endswith(", device cpu")
    assert len(said) == 2
    assert [f"waits for a slot to train in: {reason}" for reason in shown.reasons] == said[:1]


@pytest.mark.parametrize(
    ("device", "inventory", "words"),
    [
        (
            "cuda",
            GpuInventory(gpus=(), note="no GPU: NVML Shared Library Not Found; models are trained on the CPU"),
            "CUDA sees a GPU that cannot be leased (no GPU: NVML Shared Library Not Found",
        ),
        ("cpu", INVENTORY, "the driver shows 1 GPU, but PyTorch "),
    ],
)
def test_a_gpu_that_auto_cannot_take_leaves_the_cpu_and_a_warning(
    project: Project, monkeypatch: pytest.MonkeyPatch, device: str, inventory: GpuInventory, words: str
) -> None:
    monkeypatch.setattr(placement, "choose_device", lambda wanted: device if wanted == "auto" else wanted)
    monkeypatch.setattr(placement, "gpus_here", lambda environ: inventory)
    said: list[str] = []
    with training_place(project, "auto", said.append, LogLines()) as place:
        assert place.device == "cpu"
        assert place.unused_gpu.startswith(words)
    assert said[0] == f"WARNING: {place.unused_gpu}"
    with training_place(project, "cpu", said.append, LogLines()) as place:
        assert place.unused_gpu == "", "who asks for the CPU is not told of GPUs"


@pytest.mark.parametrize(
    ("section", "num_tickers", "granted", "words"),
    [
        ("", 103, 1250, "takes 1,250 MiB: one network of each of 103 tickers at once"),
        ("", 10_000, 67_952, "that one network of each of 10,000 tickers at once would take: no more is available"),
        ("[gpu]\nmib_per_job = 700\n", 103, 700, "takes 700 MiB, as set by [gpu] mib_per_job"),
    ],
)
def test_a_job_takes_what_the_universe_needs_unless_a_setting_says_how_much(
    project: Project,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    section: str,
    num_tickers: int,
    granted: int,
    words: str,
) -> None:
    monkeypatch.setattr(placement, "choose_device", lambda wanted: "cuda")
    monkeypatch.setattr(placement, "device_of", lambda uuid: "cuda:0")
    monkeypatch.setattr(placement, "gpus_here", lambda environ: INVENTORY)
    (tmp_path / "own.toml").write_text(f'tickers = ["AAPL"]\n{section}')
    own = replace(project, settings=load_settings(tmp_path / "own.toml"))
    said: list[str] = []
    with training_place(own, "cuda", said.append, LogLines(), num_tickers=num_tickers) as place:
        assert place.lease.memory_mib == granted
        context = place.context(own.settings)
        assert context.gpu is not None
        assert context.gpu.mib_per_job == granted
        (known,) = occupancies_now(own.database, INVENTORY)
        assert known.granted_mib == {0: granted}
        assert known.expected_free_mib(own.settings.gpu) == 70_000 - granted
    assert words in said[0]
    (known,) = occupancies_now(own.database, INVENTORY)
    assert known.granted_mib == {}, "who gives back a slot gives back its memory"


def test_the_first_epoch_tells_the_others_that_the_memory_is_taken(project: Project) -> None:
    with acquire(project.database, project.settings.gpu, lambda: INVENTORY) as lease:
        callbacks = HoldingReporter(LogLines(), lease).start(lambda _: None)
        assert occupancies_now(project.database, INVENTORY)[0].settled == frozenset()
        callbacks.on_epoch(AN_EPOCH)
        assert occupancies_now(project.database, INVENTORY)[0].settled == {0}


def test_a_lost_lease_ends_the_training_at_the_next_check(project: Project) -> None:
    with acquire(project.database, project.settings.gpu, lambda: INVENTORY) as lease:
        often = HoldingReporter(LogLines(), lease, seconds_between_checks=0).start(lambda _: None)
        seldom = HoldingReporter(LogLines(), lease, seconds_between_checks=60).start(lambda _: None)
        often.on_epoch(AN_EPOCH)
        end_the_lease(project.database)
        seldom.on_epoch(AN_EPOCH)
        with pytest.raises(LeaseLost, match="on record, materialize the others again"):
            often.on_epoch(AN_EPOCH)


class ShowsWaiting(LogLines):
    """What a terminal would show of the waiting."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    def waits(self, reason: str) -> None:
        self.reasons.append(reason)


class LosesTheLease:
    """Reports nothing, and ends the sessions of all leases before the first network is trained."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def waits(self, reason: str) -> None: ...

    def start(self, log: Callable[[str], None]) -> TrainingCallbacks:
        return self

    def on_start(self, tasks: Sequence[FitTask]) -> None:
        end_the_lease(self._database)

    def on_epoch(self, progress: Progress) -> None: ...

    def on_result(self, result: Fit | FitFailed) -> None: ...


@pytest.fixture
def run(
    tmp_path: Path, database: Database, calendar: Calendar, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., dg.ExecuteInProcessResult]:
    """Runs a job for AAPL and MSFT of the sample with very small networks."""
    monkeypatch.setenv("LDTM_DATABASE_URL", database.url)
    config = tmp_path / "universe.toml"
    config.write_text(CONFIG)

    def run_job(
        job: str, *, reporter: TrainingReporter | None = None, selection: list[str] | None = None
    ) -> dg.ExecuteInProcessResult:
        resolved = definitions_for(load_settings(config), calendar, reporter).resolve_job_def(job)
        with dagster_instance(database, tmp_path) as instance:
            return resolved.execute_in_process(
                instance=instance,
                tags=partition_range("AAPL", "MSFT"),
                asset_selection=[dg.AssetKey(key) for key in selection] if selection else None,
                run_config={
                    "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
                    **({"ops": {"retraining": {"config": {"device": "cpu"}}}} if job == "retraining_job" else {}),
                },
                raise_on_error=False,
            )

    return run_job


def _num_checkpoints(conn: Connection) -> int:
    row = conn.execute("select count(*) from checkpoint").fetchone()
    conn.commit()
    assert row is not None
    return row[0]


def test_a_retraining_whose_lease_is_lost_fails_and_the_next_one_has_the_slot(
    run: Callable[..., dg.ExecuteInProcessResult], database: Database, conn: Connection
) -> None:
    assert run("price_history_job").success
    lost = run("retraining_job", reporter=LosesTheLease(database))
    assert not lost.success
    reasons = [event.step_failure_data.error_display_string for event in lost.get_step_failure_events()]
    assert "the lease of slot 0 of the CPU of" in " ".join(reasons)
    assert "another process may train there now" in " ".join(reasons)
    assert _num_checkpoints(conn) < 2
    run("retraining_job")
    assert _num_checkpoints(conn) == 2


@pytest.mark.timeout(60)
def test_the_registry_alone_needs_no_lease(run: Callable[..., dg.ExecuteInProcessResult], project: Project) -> None:
    with training_place(project, "cpu", lambda _: None, LogLines()):
        result = run("retraining_job", selection=["registry"])
    assert result.success
