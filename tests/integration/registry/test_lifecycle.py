"""By hand: an earlier network comes back or the active one retires, on record with who and why, and never half-done."""

import hashlib
import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta

import psycopg
import pytest

from ldtm_lib.audit.verify import verify
from ldtm_lib.errors import (
    CheckpointNotWritten,
    CheckpointRefused,
    ConfigurationError,
    LdtmError,
    RegistryConflict,
    UnknownTicker,
)
from ldtm_lib.ledger.forecasters import forecasters
from ldtm_lib.registry.checkpoints import existing
from ldtm_lib.registry.judgement import judge_newest
from ldtm_lib.registry.lifecycle import Retirement, Rollback, retire, rollback
from ldtm_lib.registry.listing import list_versions
from ldtm_lib.registry.promotion import promote
from ldtm_lib.registry.retention import prune
from ldtm_lib.settings import ArchitectureConfig, ForecastConfig
from tests.integration import gate_fixtures
from tests.integration.environment import RUN_DATE, ForecastEnvironment
from tests.integration.ledger_rows import simulation
from tests.integration.registry.registry_fixtures import SMALL, Registry

MONDAY, TUESDAY, WEDNESDAY, THURSDAY = (date(2012, 12, day) for day in (3, 4, 5, 6))
V_MONDAY, V_TUESDAY, V_WEDNESDAY = (f"v1.{day}" for day in (MONDAY, TUESDAY, WEDNESDAY))
EVERYTHING = (
    "select checkpoint_id, status, version, file_name, activated_at, retired_at, restores from checkpoint order by 1",
    "select * from lifecycle_action order by 1",
    "select * from ledger_event order by 1",
)


def roll_back(registry: Registry, to: str | None = None, *, ticker: str = "AAA", why: str = "it is worse") -> Rollback:
    with registry.database.transaction() as conn:
        return rollback(
            conn,
            registry.folder,
            ticker,
            to=to,
            requested_by="ada",
            why=why,
            architecture=registry.settings.architecture,
        )


def take_out(registry: Registry, ticker: str = "AAA") -> Retirement:
    with registry.database.transaction() as conn:
        return retire(conn, ticker, requested_by="policy registry.degradation_policy", why="42 of 100 right")


def promoted(registry: Registry, *days: date, ticker: str = "AAA") -> None:
    for day in days:
        registry.candidate(ticker, day, weights=day.day, tested=registry.good)
        assert registry.gate(ticker)[ticker].outcome == "promoted"


def everything(registry: Registry) -> tuple[object, ...]:
    return (*(registry.rows(query) for query in EVERYTHING), registry.files())


def test_a_rollback_is_a_new_version_of_the_same_network_with_a_file_of_its_own(registry) -> None:
    promoted(registry, MONDAY, TUESDAY)
    past = registry.rows(EVERYTHING[0])
    done = roll_back(registry)
    assert (done.version, done.restores, done.retired_version) == ("v1.2012-12-03.2", V_MONDAY, V_TUESDAY)
    assert done.message == "AAA v1.2012-12-03.2 is active, with the network of v1.2012-12-03; v1.2012-12-04 is retired"
    assert registry.statuses("AAA") == [
        ("retired", V_MONDAY),
        ("retired", V_TUESDAY),
        ("active", "v1.2012-12-03.2"),
    ]
    assert registry.rows(EVERYTHING[0])[0] == past[0], "nothing in the past changes"
    ((same,),) = registry.rows(
        """select (o.ticker, o.trained_on, o.architecture_sha256, o.recipe_sha256, o.data_sha256, o.file_sha256, o.seed,
            o.num_training_rows, o.num_validation_rows, o.num_epochs, o.best_epoch, o.validation_loss, o.no_change_loss,
            o.horizon_errors, o.no_change_errors,
            o.training_losses, o.validation_losses, o.duration_seconds, o.device, o.gpu_index, o.vram_peak_mib, o.leaks,
            o.major)
            is not distinct from
            (r.ticker, r.trained_on, r.architecture_sha256, r.recipe_sha256, r.data_sha256, r.file_sha256, r.seed,
            r.num_training_rows, r.num_validation_rows, r.num_epochs, r.best_epoch, r.validation_loss, r.no_change_loss,
            r.horizon_errors, r.no_change_errors,
            r.training_losses, r.validation_losses, r.duration_seconds, r.device, r.gpu_index, r.vram_peak_mib, r.leaks,
            r.major)
        from checkpoint r join checkpoint o on o.checkpoint_id = r.restores"""
    )
    assert same is True
    original, copy = (registry.folder / f"AAA_ldtm_{version}.pt" for version in (V_MONDAY, done.version))
    assert original.read_bytes() == copy.read_bytes()
    assert registry.rows("select ticker, action, checkpoint_id, requested_by, why from lifecycle_action") == [
        ("AAA", "rollback", 3, "ada", "it is worse")
    ]


def test_every_action_is_an_event_of_the_chain_and_the_record_stays_intact(registry, calendar) -> None:
    promoted(registry, MONDAY, TUESDAY)
    roll_back(registry)
    take_out(registry)
    roll_back(registry, V_TUESDAY)
    events = registry.rows("select event, coalesce(checkpoint_id, subject_id) from ledger_event order by event_id")
    assert events == [
        ("configuration", 1),
        ("promotion", 1),
        ("verdict", 1),
        ("service", None),
        ("retirement", 1),
        ("promotion", 2),
        ("verdict", 2),
        ("retirement", 2),
        ("promotion", 3),
        ("lifecycle", 1),
        ("retirement", 3),
        ("lifecycle", 2),
        ("promotion", 4),
        ("lifecycle", 3),
    ]
    assert verify(registry.database, calendar).is_intact


def test_a_network_that_came_back_twice_has_two_versions(registry) -> None:
    promoted(registry, MONDAY, TUESDAY, WEDNESDAY)
    assert roll_back(registry).restores == V_TUESDAY
    assert roll_back(registry, V_MONDAY).version == "v1.2012-12-03.2"
    assert roll_back(registry, V_TUESDAY).version == "v1.2012-12-04.3"
    assert roll_back(registry, "v1.2012-12-03.2").version == "v1.2012-12-03.3"
    assert registry.rows("select version, restores from checkpoint where restores is not null order by 1") == [
        ("v1.2012-12-03.2", 1),
        ("v1.2012-12-03.3", 1),
        ("v1.2012-12-04.2", 2),
        ("v1.2012-12-04.3", 2),
    ], "each names the one that earned it"


def test_without_a_version_it_goes_back_further_each_time_and_never_to_what_was_thrown_out(registry) -> None:
    promoted(registry, MONDAY, TUESDAY, WEDNESDAY)
    assert roll_back(registry).restores == V_TUESDAY
    assert roll_back(registry).restores == V_MONDAY
    before = everything(registry)
    with pytest.raises(
        RegistryConflict,
        match=r"AAA has no version before v1.2012-12-03.2 that has its file and was not decommissioned; "
        r"`ldtm registry retire AAA` retires v1.2012-12-03.2, or name the version to restore with --to: "
        r"choose one of v1.2012-12-04.2, v1.2012-12-05, v1.2012-12-04$",
    ):
        roll_back(registry)
    assert everything(registry) == before
    promoted(registry, THURSDAY)
    assert roll_back(registry).restores == "v1.2012-12-03.2", "the only one that nobody rolled back from"


def test_without_a_version_it_passes_over_what_was_retired_by_a_lifecycle_action(registry) -> None:
    promoted(registry, MONDAY, TUESDAY)
    take_out(registry)
    with pytest.raises(
        RegistryConflict,
        match=r"AAA has no active version to roll back; name the version to restore with --to: "
        r"choose one of v1.2012-12-04, v1.2012-12-03$",
    ):
        roll_back(registry)
    promoted(registry, WEDNESDAY)
    assert roll_back(registry).restores == V_MONDAY


def test_without_a_version_it_passes_over_what_has_lost_its_file(registry) -> None:
    promoted(registry, MONDAY, TUESDAY, WEDNESDAY)
    with registry.database.transaction() as conn:
        conn.execute("update checkpoint set file_removed_at = now() where trained_on = '2012-12-04'")
    assert roll_back(registry).restores == V_MONDAY


def test_a_retired_ticker_abstains_until_a_lifecycle_action_or_a_newer_network(registry) -> None:
    promoted(registry, MONDAY)
    done = take_out(registry)
    assert done.message == "AAA v1.2012-12-03 retired; the ticker abstains until another network passes the gate"
    again = registry.gate("AAA")["AAA"]
    assert (again.outcome, again.version, again.retired_version) == ("already promoted", None, None)
    assert again.message.startswith("AAA v1.2012-12-03 was retired on ")
    assert registry.statuses("AAA") == [("retired", V_MONDAY)]
    assert registry.rows("select action, checkpoint_id, requested_by, why from lifecycle_action") == [
        ("retirement", 1, "policy registry.degradation_policy", "42 of 100 right")
    ]
    with pytest.raises(RegistryConflict, match=r"AAA has no active version to retire: v1.2012-12-03, its last one, "):
        take_out(registry)
    assert roll_back(registry, V_MONDAY).message == "AAA v1.2012-12-03.2 is active, with the network of v1.2012-12-03"


def test_a_ticker_that_was_rolled_back_stays_so_until_a_newer_network_passes(registry) -> None:
    promoted(registry, MONDAY, TUESDAY)
    roll_back(registry)
    before = everything(registry)
    again = registry.gate("AAA")["AAA"]
    assert (again.outcome, again.version, again.is_news) == ("already promoted", "v1.2012-12-03.2", False)
    assert again.message.startswith("AAA v1.2012-12-04 was rolled back to v1.2012-12-03.2 on ")
    assert everything(registry) == before
    registry.candidate("AAA", WEDNESDAY, weights=7, tested=registry.bad)
    assert registry.gate("AAA")["AAA"].outcome == "stays candidate"
    registry.candidate("AAA", THURSDAY, weights=8, tested=registry.good)
    newer = registry.gate("AAA")["AAA"]
    assert (newer.outcome, newer.version, newer.retired_version) == ("promoted", "v1.2012-12-06", "v1.2012-12-03.2")


def test_another_network_of_the_day_that_was_rolled_back_from_replaces_it_when_it_passes(registry) -> None:
    promoted(registry, MONDAY, TUESDAY)
    roll_back(registry)
    registry.candidate("AAA", TUESDAY, weights=9, data="corrected", tested=registry.good)
    result = registry.gate("AAA")["AAA"]
    assert (result.outcome, result.version) == ("promoted", "v1.2012-12-04.2")


def test_a_candidate_from_before_a_rollback_is_still_judged_when_the_restored_network_is_of_its_day(registry) -> None:
    promoted(registry, MONDAY)
    registry.candidate("AAA", MONDAY, weights=8, data="second", tested=registry.good)
    assert registry.gate("AAA")["AAA"].version == "v1.2012-12-03.2"
    registry.candidate("AAA", MONDAY, weights=9, data="third", tested=registry.good)
    assert roll_back(registry, V_MONDAY).version == "v1.2012-12-03.3"
    assert registry.gate("AAA")["AAA"].version == "v1.2012-12-03.4"


def test_training_the_same_day_again_after_a_rollback_adds_nothing_and_heals_both_files(registry, conn) -> None:
    promoted(registry, MONDAY, TUESDAY)
    original = registry.candidate("AAA", MONDAY, weights=MONDAY.day)
    roll_back(registry)
    before = everything(registry)
    assert existing(conn, registry.folder, [original.key])[original.key].version == "v1.2012-12-03.2"
    assert registry.candidate("AAA", MONDAY, weights=MONDAY.day).version == "v1.2012-12-03.2"
    assert everything(registry) == before
    active = registry.folder / "AAA_ldtm_v1.2012-12-03.2.pt"
    active.unlink()
    assert existing(conn, registry.folder, [original.key]) == {}, "an active one without its file is trained again"
    conn.commit()
    registry.candidate("AAA", MONDAY, weights=MONDAY.day)
    assert hashlib.sha256(active.read_bytes()).hexdigest() == original.file_sha256
    assert everything(registry) == before


def test_the_major_version_of_the_next_promotion_does_not_count_rollbacks(registry) -> None:
    wider = registry.settings.replace(architecture=ArchitectureConfig(hidden=8, head_hidden=4))
    promoted(registry, MONDAY)
    registry.candidate("AAA", TUESDAY, weights=TUESDAY.day, architecture=wider.architecture, tested=registry.good)
    assert registry.gate("AAA", settings=wider)["AAA"].version == "v2.2012-12-04"
    assert roll_back(registry, V_MONDAY).version == "v1.2012-12-03.2"
    registry.candidate("AAA", WEDNESDAY, weights=WEDNESDAY.day, tested=registry.good)
    assert registry.gate("AAA")["AAA"].version == "v3.2012-12-05", "v2 was the newest that was earned"


def test_what_cannot_come_back_is_said_with_what_could(registry) -> None:
    with pytest.raises(UnknownTicker, match=r"no version of AAA: none of its networks was ever promoted"):
        roll_back(registry)
    promoted(registry, MONDAY)
    with pytest.raises(
        RegistryConflict, match=r"AAA has no version before v1.2012-12-03 that has its file .* no other"
    ):
        roll_back(registry)
    promoted(registry, TUESDAY, WEDNESDAY)
    before = everything(registry)
    with pytest.raises(RegistryConflict, match=r"AAA has no version v9; choose one of v1.2012-12-04, v1.2012-12-03$"):
        roll_back(registry, "v9")
    with pytest.raises(RegistryConflict, match=r"AAA v1.2012-12-05 is the active version already; choose one of v1"):
        roll_back(registry, V_WEDNESDAY)
    for blank in ("", " \t"):
        with pytest.raises(
            ConfigurationError, match=r"--why is '.*': a lifecycle action is recorded with who requested it and why"
        ):
            roll_back(registry, why=blank)
    assert everything(registry) == before
    roll_back(registry, V_MONDAY)
    with pytest.raises(RegistryConflict, match=r"is the network of v1.2012-12-03.2, the active version already"):
        roll_back(registry, V_MONDAY)


def test_a_version_whose_file_was_removed_lost_or_altered_does_not_come_back(registry) -> None:
    promoted(registry, MONDAY, TUESDAY, WEDNESDAY)
    keep_one = registry.settings.registry.replace(kept_retired_files=1)
    prune(registry.database, registry.folder, config=keep_one)
    with pytest.raises(
        RegistryConflict, match=r"the file of AAA v1.2012-12-03 was removed on 20\d\d-.*; choose one of v1.2012-12-04$"
    ):
        roll_back(registry, V_MONDAY)
    before = everything(registry)
    path = registry.folder / f"AAA_ldtm_{V_TUESDAY}.pt"
    content = path.read_bytes()
    path.write_bytes(content[:300] + b"!" + content[301:])
    with pytest.raises(CheckpointRefused, match=r"was altered"):
        roll_back(registry)
    path.unlink()
    with pytest.raises(CheckpointRefused, match=r"is missing; restore the file from a copy"):
        roll_back(registry)
    path.write_bytes(content)
    assert everything(registry) == before


def test_a_network_of_another_architecture_does_not_come_back_and_the_remedy_is_said(registry) -> None:
    promoted(registry, MONDAY, TUESDAY)
    before = everything(registry)
    wider = registry.settings.replace(architecture=ArchitectureConfig(hidden=8, head_hidden=4))
    registry.settings = wider
    with pytest.raises(CheckpointRefused, match=r"hidden is 6, not 8; set \[architecture\] back"):
        roll_back(registry)
    assert everything(registry) == before


def test_of_two_rollbacks_to_one_version_the_second_finds_it_done(registry) -> None:
    promoted(registry, MONDAY, TUESDAY)
    barrier = threading.Barrier(2)

    def order(_: int) -> str:
        barrier.wait()
        try:
            return roll_back(registry, V_MONDAY).version
        except RegistryConflict as conflict:
            return str(conflict)

    with ThreadPoolExecutor(2) as threads:
        done, refused = sorted(threads.map(order, range(2)), key=len)
    assert done == "v1.2012-12-03.2"
    assert "is the network of v1.2012-12-03.2, the active version already" in refused
    assert registry.rows("select version from checkpoint where status = 'active'") == [(done,)]
    assert registry.rows("select count(*) from lifecycle_action") == [(1,)]


@pytest.mark.parametrize("attempt", range(3))
def test_a_rollback_and_a_promotion_at_once_happen_one_after_the_other(registry, calendar, attempt: int) -> None:
    promoted(registry, MONDAY, TUESDAY)
    registry.candidate("AAA", WEDNESDAY, weights=WEDNESDAY.day, tested=registry.good)
    barrier = threading.Barrier(2)

    def order() -> str:
        barrier.wait()
        return roll_back(registry, V_MONDAY).version

    def judge() -> str:
        barrier.wait()
        return registry.gate("AAA")["AAA"].outcome

    with ThreadPoolExecutor(2) as threads:
        ordered, judged = threads.submit(order), threads.submit(judge)
        assert (ordered.result(), judged.result()) == ("v1.2012-12-03.2", "promoted")
    ((last,),) = registry.rows("select version from checkpoint where status = 'active'")
    assert last in ("v1.2012-12-03.2", V_WEDNESDAY), "the one that came second"
    newest = registry.rows(
        "select version from checkpoint where status <> 'candidate' order by activated_at desc limit 1"
    )
    assert newest == [(last,)]
    assert verify(registry.database, calendar).is_intact


def test_an_older_candidate_judged_before_a_rollback_does_not_come_in_after_it(registry) -> None:
    promoted(registry, MONDAY)
    registry.candidate("AAA", TUESDAY, weights=TUESDAY.day, tested=registry.good)
    with registry.database.transaction() as conn:
        judged = judge_newest(conn, ["AAA"], registry.settings)
    promoted(registry, WEDNESDAY)
    take_out(registry)
    with registry.database.transaction() as conn:
        (late,) = promote(conn, registry.folder, judged.decisions, architecture=SMALL)
    assert (late.outcome, late.version) == ("superseded", None)
    assert late.message == (
        "AAA stays without an active version: a network newer than the judged candidate was promoted meanwhile"
    )


ACTIONS_IN_A_PROCESS = """
import json, os, resource, signal, sys
from pathlib import Path
from ldtm_lib.settings import ArchitectureConfig, Settings
from ldtm_lib.database.connection import Database
from ldtm_lib.errors import LdtmError
from ldtm_lib.registry.gate_run import run_gate
from ldtm_lib.registry.lifecycle import rollback
given = json.loads(sys.argv[1])
architecture = ArchitectureConfig(**given["architecture"])
folder = Path(given["folder"])
if given["how"] == "full disk":
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    with Database(url=given["url"], schema="ldtm").transaction() as conn:
        if given["what"] == "rollback":
            rollback(conn, folder, "AAA", to=None, requested_by="ada", why="it is worse", architecture=architecture)
        else:
            settings = Settings(path=Path("x"), tickers=("AAA", "BBB"), architecture=architecture)
            run_gate(conn, folder, ["AAA", "BBB"], settings, degraded=(), run_id="test").promotions
        if given["how"] == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
except LdtmError as error:
    print(f"{type(error).__name__}: {error}")
    sys.exit(1)
"""


def in_a_process(registry: Registry, what: str, how: str) -> subprocess.CompletedProcess[str]:
    given = {
        "url": registry.database.url,
        "folder": str(registry.folder),
        "architecture": registry.settings.architecture.model_dump(round_trip=True),
        "what": what,
        "how": how,
    }
    return subprocess.run(
        [sys.executable, "-c", ACTIONS_IN_A_PROCESS, json.dumps(given)], capture_output=True, text=True
    )


def test_a_process_killed_between_copy_and_commit_leaves_a_file_that_the_next_rollback_uses(registry) -> None:
    promoted(registry, MONDAY, TUESDAY)
    rows, files = everything(registry)[:-1], registry.files()
    killed = in_a_process(registry, "rollback", "killed")
    assert killed.returncode == -9, killed.stderr
    assert everything(registry)[:-1] == rows
    assert registry.files() - files == {"AAA_ldtm_v1.2012-12-03.2.pt"}
    assert roll_back(registry).version == "v1.2012-12-03.2"
    assert registry.files() - files == {"AAA_ldtm_v1.2012-12-03.2.pt"}


@pytest.mark.parametrize(
    ("what", "name"), [("rollback", "AAA_ldtm_v1.2012-12-03.2.pt"), ("promotion", "AAA_ldtm_v1.2012-12-05.pt")]
)
def test_a_full_disk_changes_nothing_and_the_message_names_the_file_and_the_remedy(
    registry, what: str, name: str
) -> None:
    promoted(registry, MONDAY, TUESDAY)
    if what == "promotion":
        registry.candidate("AAA", WEDNESDAY, weights=WEDNESDAY.day, tested=registry.good)
        registry.candidate("BBB", WEDNESDAY, weights=1, tested=registry.good)
    before = (everything(registry), registry.rows("select * from gate_verdict"))
    failed = in_a_process(registry, what, "full disk")
    assert failed.returncode == 1, failed.stderr
    assert failed.stdout.strip() == (
        f"CheckpointNotWritten: checkpoint {registry.folder / name} cannot be written: File too large; nothing was "
        f"changed: free disk space, or check the permissions of {registry.folder}, and try again"
    )
    assert (everything(registry), registry.rows("select * from gate_verdict")) == before
    assert issubclass(CheckpointNotWritten, LdtmError)
    if what == "rollback":
        roll_back(registry)
    else:
        registry.gate("AAA", "BBB")
    assert registry.rows(f"select status from checkpoint where file_name = '{name}'") == [("active",)]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("ticker = 'BBB'", "a network of another ticker"),
        ("file_sha256 = 'x'", "another network"),
        ("seed = 99", "another seed"),
        ("restores = 2", "the active one"),
        ("restores = 3", "a candidate"),
        ("restores = 4", "one that was brought back itself"),
    ],
)
def test_the_database_lets_nothing_come_back_but_a_retired_network_of_that_ticker(
    registry, conn, change: str, why: str
) -> None:
    promoted(registry, MONDAY, TUESDAY)
    registry.candidate("AAA", WEDNESDAY)
    if change == "restores = 4":
        roll_back(registry)
        roll_back(registry, V_TUESDAY)
    column, value = change.split(" = ")
    if column == "restores":
        row = conn.execute("select to_jsonb(c) from checkpoint c where checkpoint_id = %s", (int(value),)).fetchone()
    else:
        row = conn.execute("select to_jsonb(c) from checkpoint c where checkpoint_id = 1").fetchone()
    assert row is not None
    copied = {**row[0], "version": "v1.mine", "file_name": "mine.pt", "status": "retired", "major": 1, "restores": 1}
    copied |= {"activated_at": "2012-12-03", "retired_at": "2012-12-03", column: value.strip("'")}
    names = ", ".join(name for name in copied if name != "checkpoint_id")
    query = f"insert into checkpoint ({names}) select {names} from jsonb_populate_record(null::checkpoint, %s)"
    with pytest.raises(psycopg.IntegrityError, match=r"does not restore a retired network of that ticker"):
        conn.execute(query.encode(), (json.dumps(copied),))


@pytest.mark.parametrize(
    "order",
    [
        "('AAA', 'rollback', 1, 'eve', 'forged')",
        "('AAA', 'retirement', 1, 'eve', 'forged')",
        "('AAA', 'retirement', 2, 'eve', 'forged')",
        "('BBB', 'rollback', 3, 'eve', 'forged')",
    ],
)
def test_an_action_that_this_transaction_does_not_carry_out_is_refused(registry, conn, order: str) -> None:
    promoted(registry, MONDAY, TUESDAY)
    roll_back(registry)
    query = f"insert into lifecycle_action (ticker, action, checkpoint_id, requested_by, why) values {order}"
    with pytest.raises(psycopg.IntegrityError, match=r"is not what this transaction does"):
        conn.execute(query.encode())


def test_the_history_says_who_did_what_and_why(registry, conn) -> None:
    promoted(registry, MONDAY, TUESDAY)
    roll_back(registry, why="42% right")
    take_out(registry)
    promoted(registry, WEDNESDAY)
    newest, restored, tuesday, monday = list_versions(conn, "AAA")
    assert [e.version for e in (newest, restored, tuesday, monday)] == [
        V_WEDNESDAY,
        "v1.2012-12-03.2",
        V_TUESDAY,
        V_MONDAY,
    ]
    assert (newest.status, newest.next_version, newest.retired_at, newest.restores) == ("active", None, None, None)
    assert (restored.restores, restored.restored_by, restored.restored_why) == (V_MONDAY, "ada", "42% right")
    assert (restored.retired_by, restored.retired_why) == ("policy registry.degradation_policy", "42 of 100 right")
    assert (tuesday.next_version, tuesday.next_is_rollback, tuesday.retired_by) == ("v1.2012-12-03.2", True, None)
    assert (monday.next_version, monday.next_is_rollback) == (V_TUESDAY, False)


def test_forecasts_are_made_by_the_network_that_came_back_and_count_in_the_history(
    environment: ForecastEnvironment, ledger_rows
) -> None:
    environment = environment.with_settings(architecture=SMALL)
    environment.deliver(environment.bars(["AAPL"]))
    environment.make_windows(["AAPL"])
    for day in (date(2012, 12, 28), date(2012, 12, 31)):
        environment.conn.execute("update checkpoint set status = 'retired' where status = 'active'")
        environment.network("AAPL", trained_on=day, seed=day.day)
    done = rollback(
        environment.conn, environment.folder, "AAPL", to=None, requested_by="ada", why="it is worse", architecture=SMALL
    )
    assert done.version == "v1.2012-12-28.2"
    late = forecasters(environment.conn, ["AAPL"], RUN_DATE, simulation_id=0, config=ForecastConfig())["AAPL"]
    assert (late.status, late.version) == ("active", done.version), "the active one comes before a newer retired one"
    ledger_rows.open_the_session_after(RUN_DATE, timedelta(hours=1))
    (row,) = environment.take("AAPL", simulated=False).rows
    assert (row.kind, row.model_status, row.model_version) == ("live", "active", done.version)
    assert row.abstained_reason is None
    counts = {entry.version: entry.num_forecasts for entry in list_versions(environment.conn, "AAPL")}
    assert counts == {"v1.2012-12-28.2": 1, "v1.2012-12-31": 0, "v1.2012-12-28": 0}


def test_no_session_is_caught_up_by_a_model_whose_file_was_removed(environment: ForecastEnvironment) -> None:
    environment.deliver(environment.bars(["AAPL"]))
    for day in (date(2012, 12, 28), date(2012, 12, 31)):
        environment.network("AAPL", trained_on=day, seed=day.day)
        gate_fixtures.retire(environment.conn)
    environment.conn.execute("update checkpoint set file_removed_at = now() where trained_on = '2012-12-31'")
    forecaster = forecasters(
        environment.conn, ["AAPL"], RUN_DATE, simulation_id=simulation(environment.conn), config=ForecastConfig()
    )["AAPL"]
    assert forecaster.trained_on == date(2012, 12, 28)
