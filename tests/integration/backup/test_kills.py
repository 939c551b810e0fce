"""A process that is killed leaves the old record or the restored one, whole, and no half archive."""

import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ldtm_lib.backup import create, dump, files, restore
from ldtm_lib.database.connection import Database
from ldtm_lib.errors import BackupFailed
from tests.integration.backup.installation import LATER, Installation


def killed_in(module: object, name: str, work: Callable[[], object], *, after: int = 0) -> None:
    """Do some work in a process that kills itself as it calls a function of a module, after a number of calls."""
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status), f"{name} was never called: exit status {os.waitstatus_to_exitcode(status)}"
        assert os.WTERMSIG(status) == signal.SIGKILL
        return
    try:
        original, num_calls = getattr(module, name), iter(range(1_000_000))

        def kill(*arguments: object, **named: object) -> object:
            if next(num_calls) == after:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*arguments, **named)

        setattr(module, name, kill)
        work()
    finally:
        os._exit(3)


@pytest.fixture(scope="module")
def newer(saved: tuple[Installation, Path]) -> Path:
    """An archive with one session more than the saved one, which the installation has as well from here on."""
    path = saved[1].with_name("newer.tar")
    saved[0].daily_run(LATER[0])
    saved[0].backup(path)
    return path


DURING_A_RESTORE = [
    (files, "_write", 0, 1),
    (dump, "_execute", 0, 1),
    (dump, "_execute", 3, 1),
    (restore, "_require_restored", 0, 1),
    (restore, "place_publications", 0, 2),
    (restore, "_analyze", 0, 2),
]


@pytest.mark.parametrize(("module", "name", "after", "num_seals"), DURING_A_RESTORE)
def test_a_restore_that_is_killed_anywhere_leaves_one_whole_record_and_is_completed_by_the_next(
    saved: tuple[Installation, Path],
    newer: Path,
    empty_database: Database,
    tmp_path: Path,
    module: object,
    name: str,
    after: int,
    num_seals: int,
) -> None:
    other = saved[0].elsewhere(tmp_path / "second", empty_database)
    other.restore(saved[1])
    shutil.rmtree(other.project.checkpoint_folder)
    killed_in(module, name, lambda: other.restore(newer), after=after)
    found = other.verify()
    assert (found.is_intact, found.num_seals) == (True, num_seals)
    report = other.restore(newer)
    assert (report.replaced, bool(report.loss)) == (True, False)
    found = other.verify()
    assert (found.is_intact, found.num_seals, other.seals.read_bytes().count(b"\n")) == (True, 2, 2)
    assert other.replays(LATER[0])


def test_a_restore_into_an_empty_database_that_is_killed_leaves_it_empty(
    saved: tuple[Installation, Path], empty_database: Database, tmp_path: Path
) -> None:
    other = saved[0].elsewhere(tmp_path / "second", empty_database)
    killed_in(restore, "_require_restored", lambda: other.restore(saved[1]))
    with other.database.connect() as conn:
        assert conn.execute("select to_regnamespace('ldtm')").fetchone() == (None,)
    other.restore(saved[1])
    assert other.verify().is_intact


def test_a_backup_that_is_killed_leaves_no_archive_and_the_next_one_clears_up(
    saved: tuple[Installation, Path], tmp_path: Path
) -> None:
    target = tmp_path / "backup.tar"
    killed_in(create.Manifest, "model_copy", lambda: saved[0].backup(target))
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".backup.tar.")
    assert left.stat().st_size > 100_000, "the dump was written"
    saved[0].backup(target)
    assert list(tmp_path.iterdir()) == [target]


def test_of_two_backups_at_once_to_one_name_one_is_refused(saved: tuple[Installation, Path], tmp_path: Path) -> None:
    both, refused = threading.Barrier(2), []

    def back_up() -> None:
        both.wait()
        try:
            saved[0].backup(tmp_path / "backup.tar")
        except BackupFailed as error:
            refused.append(str(error))

    threads = [threading.Thread(target=back_up) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(tmp_path.iterdir()) == [tmp_path / "backup.tar"]
    (message,) = refused
    assert "backup.tar exists and is not overwritten; name another archive" in message


@contextmanager
def daily_runs(installation: Installation, num: int) -> Iterator[threading.Thread]:
    """One daily run after the other, each sealed and published, in a thread."""
    days = [installation.calendar.offset(LATER[0], n) for n in range(num)]
    failures: list[BaseException] = []

    def run() -> None:
        try:
            for day in days:
                installation.daily_run(day)
        except BaseException as error:
            failures.append(error)
            raise

    thread = threading.Thread(target=run)
    thread.start()
    yield thread
    thread.join()
    assert failures == []


@pytest.mark.slow
def test_every_backup_during_daily_runs_is_a_whole_record_with_its_seals(
    installation: Installation, empty_database: Database, tmp_path: Path
) -> None:
    archives: list[Path] = []
    with daily_runs(installation, 6) as running:
        while running.is_alive():
            archives.append(tmp_path / f"{len(archives)}.tar")
            installation.backup(archives[-1])
    other = installation.elsewhere(tmp_path / "second", empty_database)
    num_seals = []
    for archive in [*archives[:: max(len(archives) // 4, 1)], archives[-1]]:
        report = other.restore(archive)
        found = other.verify()
        assert found.is_intact, [discrepancy.message for discrepancy in found.discrepancies]
        assert other.replays()
        num_seals.append(len(report.manifest.seals))
    assert num_seals == sorted(num_seals)
    assert len(set(num_seals)) > 2, "seals were added between the backups"
