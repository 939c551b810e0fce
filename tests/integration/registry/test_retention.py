"""Files that nobody needs go, and no other ones; their rows say so first."""

import json
import os
import subprocess
import sys
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import date, timedelta

import psycopg
import pytest

from ldtm_lib.audit.verify import verify
from ldtm_lib.database.connection import Database
from ldtm_lib.database.queries import query
from ldtm_lib.errors import FileNotRemoved
from ldtm_lib.registry.checkpoints import existing
from ldtm_lib.registry.judgement import judge_newest
from ldtm_lib.registry.lifecycle import retire, rollback
from ldtm_lib.registry.promotion import promote
from ldtm_lib.registry.retention import RemovedFile, prune
from ldtm_lib.settings import RegistryConfig
from tests.integration.ledger_rows import LedgerRows, Model
from tests.integration.registry.registry_fixtures import Registry

FIRST = date(2012, 12, 3)
ONE_OF_EACH = RegistryConfig(kept_retired_files=1, kept_candidate_files=1)
NONE = RegistryConfig.model_construct(kept_retired_files=0, kept_candidate_files=0)


def day(number: int) -> date:
    return FIRST + timedelta(days=number)


def version(number: int) -> str:
    return f"v1.{day(number)}"


def file_of(number: int, ticker: str = "AAA") -> str:
    return f"{ticker}_ldtm_{version(number)}.pt"


def promoted(registry: Registry, num: int, ticker: str = "AAA") -> None:
    for number in range(num):
        registry.candidate(ticker, day(number), weights=number, tested=registry.good)
        assert registry.gate(ticker)[ticker].outcome == "promoted"


def pruned(registry: Registry, config: RegistryConfig = ONE_OF_EACH, *, dry_run: bool = False) -> list[RemovedFile]:
    return prune(registry.database, registry.folder, config=config, dry_run=dry_run)


def marks(registry: Registry) -> list[tuple[object, ...]]:
    return registry.rows("select trained_on, status, file_removed_at is not null from checkpoint order by 1, 2, 3")


def test_the_newest_of_each_kind_stay_and_the_rest_go(registry, calendar) -> None:
    promoted(registry, 4)
    candidates = [registry.candidate("AAA", day(n), weights=n, tested=registry.bad) for n in (4, 5, 6)]
    registry.gate("AAA")
    foreign = registry.folder / "notes.txt"
    foreign.write_text("mine")
    gone = pruned(registry)
    assert [(f.file_name, f.version, f.was) for f in gone if f.was != "promoted"] == [
        (file_of(0), version(0), "retired"),
        (file_of(1), version(1), "retired"),
        *sorted((c.file_name, None, "candidate") for c in candidates[:2]),
    ]
    assert {f.version for f in gone if f.was == "promoted"} == {version(n) for n in range(4)}
    assert registry.files() == {file_of(2), file_of(3), candidates[2].file_name, "notes.txt"}
    assert [removed for _, _, removed in marks(registry)] == [True, True, False, False, True, True, False]
    assert all(f.num_bytes > 1000 for f in gone)
    assert pruned(registry) == []
    assert verify(registry.database, calendar).is_intact


def test_the_candidate_file_of_a_promoted_model_is_removed_whatever_the_ticker(registry) -> None:
    promoted(registry, 1, "^A/B=C")
    assert [f.file_name.partition("_")[0] for f in pruned(registry) if f.was == "promoted"] == [
        "candidates/%5EA%2FB%3DC"
    ]


def test_a_dry_run_says_the_same_and_changes_nothing(registry) -> None:
    promoted(registry, 4)
    promoted(registry, 3, "BBB")
    before = (registry.files(), marks(registry))
    foreseen = pruned(registry, dry_run=True)
    assert (registry.files(), marks(registry)) == before
    assert pruned(registry) == foreseen
    assert {f.file_name for f in foreseen if f.was == "retired"} == {file_of(0), file_of(1), file_of(0, "BBB")}


def test_some_tickers_can_be_pruned_alone(registry) -> None:
    promoted(registry, 3)
    promoted(registry, 3, "BBB")
    gone = prune(registry.database, registry.folder, config=ONE_OF_EACH, tickers=["BBB"])
    assert {f.ticker for f in gone} == {"BBB"}
    assert file_of(0) in registry.files()


def test_the_newest_network_of_a_ticker_stays_whatever_became_of_it(registry, conn) -> None:
    promoted(registry, 2)
    retire(conn, "AAA", requested_by="ada", why="it is worse")
    conn.commit()
    waits = [registry.candidate("BBB", day(n), weights=n) for n in range(2)]
    pruned(registry, NONE)
    assert registry.files() == {file_of(1), waits[1].file_name}


def test_a_model_that_a_forecast_or_a_shadow_refers_to_keeps_its_file(registry, conn, calendar) -> None:
    promoted(registry, 4)
    rows = LedgerRows(conn, calendar)
    rows.forecast("AAA", date(2013, 1, 2), model=Model("retired", version(0), 1))
    conn.execute("alter table shadow_forecast disable trigger user")
    conn.execute(
        "insert into shadow_forecast"
        " values ('AAA', '2013-01-02', 1, 2, 'retired', now(), 100, 1, 1, 1, 'bullish', 'w', now())"
    )
    conn.execute("alter table shadow_forecast enable trigger user")
    conn.commit()
    pruned(registry, NONE)
    assert registry.files() == {file_of(0), file_of(1), file_of(3)}
    for number in (0, 1):
        with pytest.raises(psycopg.IntegrityError, match=f"{version(number)} of AAA is needed: forecasts refer to it"):
            conn.execute("update checkpoint set file_removed_at = now() where trained_on = %s", (day(number),))
        conn.rollback()
    with pytest.raises(psycopg.IntegrityError, match="checkpoint_active_has_its_file"):
        conn.execute("update checkpoint set file_removed_at = now() where status = 'active'")


def test_no_forecast_comes_to_refer_to_a_file_that_was_removed(registry, conn, calendar) -> None:
    promoted(registry, 3)
    pruned(registry, NONE)
    with pytest.raises(
        psycopg.IntegrityError, match="the file of checkpoint 1, which the forecast of AAA on 2013-01-02 "
    ):
        LedgerRows(conn, calendar).forecast("AAA", date(2013, 1, 2), model=Model("retired", version(0), 1))


def test_a_forecast_that_is_being_written_keeps_the_file_of_its_model(registry, conn, calendar) -> None:
    promoted(registry, 3)
    LedgerRows(conn, calendar).forecast("AAA", date(2013, 1, 2), model=Model("retired", version(0), 1))
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(pruned, registry, NONE)
        assert any(
            registry.rows("select 1 from pg_sleep(0.02), pg_locks where locktype = 'advisory' and not granted")
            for _ in range(500)
        )
        conn.commit()
        gone = waiting.result()
    assert {f.file_name for f in gone if f.was == "retired"} == {file_of(1)}


def test_a_file_that_two_candidates_share_stays_while_one_of_them_needs_it(registry) -> None:
    shared = [registry.candidate("AAA", day(n)).file_name for n in (0, 2)]
    other = registry.candidate("AAA", day(1), weights=9).file_name
    assert len(set(shared)) == 1
    pruned(registry, ONE_OF_EACH)
    assert registry.files() == {shared[0]}
    assert other not in registry.files()
    assert [removed for _, _, removed in marks(registry)] == [False, True, False]


def test_a_removed_candidate_that_is_trained_again_has_its_file_and_counts_as_trained(registry, conn) -> None:
    first = registry.candidate("AAA", day(0))
    registry.candidate("AAA", day(1), weights=1)
    pruned(registry)
    assert existing(conn, registry.folder, [first.key]) == {}
    conn.commit()
    again = registry.candidate("AAA", day(0))
    assert again == first
    assert first.file_name in registry.files()
    assert existing(conn, registry.folder, [first.key]) == {first.key: first}


def test_a_removed_retired_network_is_not_trained_again_for_nothing(registry, conn) -> None:
    first = registry.candidate("AAA", day(0), tested=registry.good)
    registry.gate("AAA")
    for number in (1, 2):
        registry.candidate("AAA", day(number), weights=number, tested=registry.good)
        registry.gate("AAA")
    pruned(registry)
    files = registry.files()
    assert existing(conn, registry.folder, [first.key])[first.key].version == version(0)
    conn.commit()
    registry.candidate("AAA", day(0))
    assert registry.files() == files
    with pytest.raises(psycopg.IntegrityError, match="was removed and cannot be restored"):
        conn.execute("update checkpoint set file_removed_at = null where trained_on = %s", (day(0),))


def test_what_came_back_keeps_its_file_while_its_first_version_loses_it(registry, conn) -> None:
    promoted(registry, 3)
    how = {"requested_by": "ada", "why": "it is worse", "architecture": registry.settings.architecture}
    done = rollback(conn, registry.folder, "AAA", to=version(0), **how)
    conn.commit()
    pruned(registry, NONE)
    assert registry.files() == {f"AAA_ldtm_{done.version}.pt", file_of(2)}
    assert rollback(conn, registry.folder, "AAA", to=version(2), **how).restores == version(2)


KILLED_BEFORE_THE_FILES_GO = """
import json, os, signal, sys
from pathlib import Path
from ldtm_lib.settings import RegistryConfig
from ldtm_lib.database.connection import Database
from ldtm_lib.registry import retention
given = json.loads(sys.argv[1])
retention._remove = lambda folder, files: os.kill(os.getpid(), signal.SIGKILL)
database, config = Database(url=given["url"], schema="ldtm"), RegistryConfig(kept_retired_files=1)
retention.prune(database, Path(given["folder"]), config=config)
"""


def test_a_process_killed_between_the_mark_and_the_removal_leaves_files_that_the_next_one_removes(registry) -> None:
    promoted(registry, 4)
    files = registry.files()
    given = json.dumps({"url": registry.database.url, "folder": str(registry.folder)})
    killed = subprocess.run([sys.executable, "-c", KILLED_BEFORE_THE_FILES_GO, given], capture_output=True, text=True)
    assert killed.returncode == -9, killed.stderr
    assert registry.files() == files
    assert [removed for _, _, removed in marks(registry)] == [True, True, False, False]
    assert {f.file_name for f in pruned(registry) if f.was == "retired"} == {file_of(0), file_of(1)}
    assert registry.files() == {file_of(2), file_of(3)}


def test_a_file_that_cannot_be_removed_is_named_and_the_next_call_goes_on(registry) -> None:
    promoted(registry, 3)
    path = registry.folder / file_of(0)
    if subprocess.run(["chattr", "+i", str(path)], capture_output=True).returncode != 0:
        pytest.skip("this file system, or this user, has no immutable files")
    try:
        with pytest.raises(
            FileNotRemoved, match=f"{path} is not needed and cannot be removed: Operation not permitted; "
        ):
            pruned(registry)
    finally:
        subprocess.run(["chattr", "-i", str(path)], check=True)
    assert file_of(0) in {f.file_name for f in pruned(registry)}


def test_a_promotion_and_a_prune_at_once_leave_every_row_with_its_file(registry) -> None:
    promoted(registry, 2)
    registry.candidate("AAA", day(2), weights=2, tested=registry.good)
    barrier = threading.Barrier(3)

    def at_once(work) -> object:
        barrier.wait()
        return work()

    with ThreadPoolExecutor(3) as threads:
        futures = [
            threads.submit(at_once, lambda: registry.gate("AAA")["AAA"].outcome),
            threads.submit(at_once, lambda: pruned(registry, NONE)),
            threads.submit(at_once, lambda: registry.candidate("AAA", day(1), weights=7, data="again")),
        ]
        assert futures[0].result() == "promoted"
        for future in futures:
            future.result()
    named = registry.rows("select file_name from checkpoint where file_removed_at is null")
    assert {name for (name,) in named} <= registry.files()


def _until_it_waits(registry: Registry, work: Future[list[RemovedFile]]) -> None:
    """Until a prune waits for a lock, or is done, which it must not be."""
    for _ in range(500):
        waits = registry.rows("select 1 from pg_sleep(0.02), pg_locks where locktype = 'advisory' and not granted")
        if waits or work.done():
            return
    raise AssertionError("the prune neither waits nor ends")


def test_a_prune_waits_for_a_promotion_that_was_decided_and_is_not_written_yet(registry, conn) -> None:
    registry.candidate("AAA", day(0), tested=registry.good)
    conn.execute(query("registry.lock_promotions"))
    decided = judge_newest(conn, ["AAA"], registry.settings)
    newer = registry.candidate("AAA", day(1), weights=1)
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(pruned, registry, NONE)
        _until_it_waits(registry, waiting)
        architecture = registry.settings.architecture
        (promotion,) = promote(conn, registry.folder, decided.decisions, architecture=architecture)
        conn.commit()
        gone = waiting.result()
    assert promotion.outcome == "promoted", promotion.message
    assert [f.was for f in gone] == ["promoted"], "the candidate's own, now that its version has a copy"
    assert registry.files() == {file_of(0), newer.file_name}


def test_a_prune_waits_for_whoever_is_about_to_put_on_record_what_a_retired_network_said(
    registry, conn, calendar
) -> None:
    promoted(registry, 3)
    conn.execute(query("registry.hold_files"))
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(pruned, registry, NONE)
        _until_it_waits(registry, waiting)
        LedgerRows(conn, calendar).forecast("AAA", date(2013, 1, 2), model=Model("retired", version(0), 1))
        conn.commit()
        gone = waiting.result()
    assert {f.file_name for f in gone if f.was == "retired"} == {file_of(1)}


def test_files_with_names_that_are_no_text_or_lie_elsewhere_are_not_checked(registry) -> None:
    promoted(registry, 3)
    strangers = [b"AAA_ldtm_v1.\xff.pt", b"candidates/\xff.pt", b"copies/" + file_of(0).encode()]
    for stranger in strangers:
        path = os.path.join(os.fsencode(registry.folder), stranger)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(b"mine")
    assert {f.file_name for f in pruned(registry) if f.was == "retired"} == {file_of(0)}
    assert all(os.path.exists(os.path.join(os.fsencode(registry.folder), stranger)) for stranger in strangers)


def test_a_folder_that_cannot_be_read_is_named_with_the_remedy(registry) -> None:
    registry.folder.mkdir()
    (registry.folder / "candidates").write_text("not a folder")
    with pytest.raises(
        FileNotRemoved,
        match=r"checkpoint files that are not needed were not removed: .*/candidates cannot be read: Not a directory; "
        r"check the permissions and the contents of .*, and run `ldtm registry prune` again",
    ):
        pruned(registry)


def test_what_the_database_refuses_is_reported_as_files_that_stay(registry, conn) -> None:
    promoted(registry, 3)
    files = registry.files()
    conn.execute("alter table checkpoint drop column file_removed_at cascade")
    conn.commit()
    with pytest.raises(
        FileNotRemoved,
        match=r'not needed were not removed, as the database refused: column "file_removed_at" does not exist .*; '
        r"see `ldtm doctor` for the privileges of this role, and run `ldtm registry prune` again",
    ):
        pruned(registry)
    assert registry.files() == files
    with pytest.raises(FileNotRemoved, match=r"as the database refused: PostgreSQL at .* does not answer"):
        prune(Database(url="postgresql://127.0.0.1:1/x", schema="ldtm"), registry.folder, config=NONE)


class CountingCursor(psycopg.Cursor):
    num_statements = 0

    def execute(self, *args, **kwargs):
        CountingCursor.num_statements += 1
        return super().execute(*args, **kwargs)


def test_the_number_of_statements_does_not_grow_with_the_tickers(registry, monkeypatch) -> None:
    def num_statements(tickers: list[str]) -> int:
        for ticker in tickers:
            for number in range(3):
                registry.candidate(ticker, day(number), weights=number)
        plain = Database.connect

        def counted(database: Database):
            conn = plain(database)
            conn.cursor_factory = CountingCursor
            return conn

        CountingCursor.num_statements = 0
        with monkeypatch.context() as patched:
            patched.setattr(Database, "connect", counted)
            assert len(pruned(registry)) == 2 * len(tickers)
        return CountingCursor.num_statements

    assert 5 < num_statements(["AAA"]) == num_statements([f"T{n}" for n in range(8)])


def test_an_empty_registry_has_nothing_to_remove(registry) -> None:
    assert pruned(registry) == []
