"""Old runs lose their logs, and later go; what the UI and the record's publication read stays as it was."""

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from ldtm_assets.jobs import RETENTION_ASSETS
from ldtm_lib.maintenance import purge
from ldtm_lib.maintenance.retention import RetentionReport, purge_expired
from tests.integration.maintenance.dagster_installation import FAILED, MATERIALIZED, SESSIONS, DagsterInstallation

FIRST, SECOND, THIRD = SESSIONS


def _gone(done: RetentionReport) -> dict[str, int]:
    assert done.failures == ()
    return {purged.kind: purged.num for purged in done.purged if purged.num}


def test_logs_of_old_runs_are_purged_and_the_ui_shows_the_same(installation: DagsterInstallation) -> None:
    old = [
        installation.daily_run(FIRST, fails=(f"{FIRST}|MSFT",), days_ago=40),
        installation.daily_run(SECOND, fails=(f"{SECOND}|MSFT",), days_ago=39),
        installation.daily_run(SECOND, days_ago=38),
        installation.retraining("AAPL", "MSFT", days_ago=37),
        installation.leaderboard(days_ago=36),
    ]
    young = [installation.daily_run(THIRD, days_ago=29), installation.retraining("MSFT", days_ago=1)]
    installation.seal(1)
    installation.seal(2)
    page, of_young = installation.page(), [installation.num_events(run_id) for run_id in young]
    assert page["snapshots"]["status"] == {
        f"{FIRST}|AAPL": MATERIALIZED,
        f"{FIRST}|MSFT": FAILED,
        **{f"{session}|{ticker}": MATERIALIZED for session in (SECOND, THIRD) for ticker in ("AAPL", "MSFT")},
    }

    gone = _gone(purge_expired(installation.project, RETENTION_ASSETS))

    assert gone["log entries of runs that ended 30 days ago"] > 60
    assert set(gone) == {"log entries of runs that ended 30 days ago", "folders of runs"}
    assert installation.page() == page
    assert installation.seals() == [1, 2]
    assert [installation.num_events(run_id) for run_id in young] == of_young
    assert {run.run_id for run in installation.instance.get_runs()} == {*old, *young}
    kinds = {
        kind
        for (kind,) in installation.rows(
            f"select coalesce(dagster_event_type, 'log') from event_logs where run_id in ({_quoted(old)})"
        )
    }
    assert kinds == {"ASSET_MATERIALIZATION", "ASSET_CHECK_EVALUATION", "ASSET_MATERIALIZATION_PLANNED"}
    assert installation.rows(
        f"select run_id, partition from event_logs where run_id in ({_quoted(old)})"
        " and dagster_event_type = 'ASSET_MATERIALIZATION_PLANNED'"
    ) == [(old[0], f"{FIRST}|MSFT")]


def test_old_runs_go_but_for_the_newest_of_every_ticker(installation: DagsterInstallation) -> None:
    first = installation.retraining("AAPL", "MSFT", days_ago=800)
    second = installation.retraining("AAPL", days_ago=700)
    run_id = installation.daily_run(FIRST, days_ago=500)
    board = installation.leaderboard(days_ago=450)
    newest = installation.daily_run(SECOND, days_ago=1)
    installation.seal(1)
    before = installation.page()

    gone = _gone(purge_expired(installation.project, RETENTION_ASSETS))

    page = installation.page()
    assert {run.run_id for run in installation.instance.get_runs()} == {first, second, board, newest}
    assert gone["runs that ended 400 days ago"] == 1
    assert installation.rows("select count(*) from run_tags where run_id not in (select run_id from runs)") == [(0,)]
    assert installation.num_events(run_id) == 0
    assert page["registry"]["status"] == before["registry"]["status"] == {"AAPL": MATERIALIZED, "MSFT": MATERIALIZED}
    assert [(partition, of["key"]) for _, partition, of in page["registry"]["history"]] == [
        ("AAPL", "AAPL"),
        ("MSFT", "MSFT"),
    ]
    assert {(run_id, partition) for _, run_id, _, partition, _ in page["registry"]["checks"]} == {
        (first, "MSFT"),
        (second, "AAPL"),
        (second, None),
    }
    assert page["snapshots"]["status"] == {f"{SECOND}|AAPL": MATERIALIZED, f"{SECOND}|MSFT": MATERIALIZED}
    assert page["leaderboard"]["newest"] == before["leaderboard"]["newest"]
    assert installation.rows(
        "select count(*) from asset_event_tags where event_id not in (select id from event_logs)"
    ) == [(0,)]
    assert installation.seals() == [1]

    installation.retraining("AAPL", "MSFT")
    purge_expired(installation.project, RETENTION_ASSETS)
    assert {first, second} & {run.run_id for run in installation.instance.get_runs()} == set()


def test_a_seal_that_a_run_published_stays_for_good(installation: DagsterInstallation) -> None:
    run_id = installation.daily_run(FIRST, days_ago=900)
    for number in (1, 2, 3):
        installation.seal(number)
    with installation.project.dagster_database.transaction() as conn:
        conn.execute("update event_logs set run_id = %s where asset_key = '[\"seals\"]'", (run_id,))
    purge_expired(installation.project, RETENTION_ASSETS)
    assert installation.seals() == [1, 2, 3]


def test_a_run_that_has_not_ended_keeps_everything(installation: DagsterInstallation) -> None:
    run_id = installation.daily_run(FIRST, days_ago=500)
    with installation.project.dagster_database.transaction() as conn:
        conn.execute("update runs set status = 'STARTED', end_time = null where run_id = %s", (run_id,))
    num_events = installation.num_events(run_id)
    assert _gone(purge_expired(installation.project, RETENTION_ASSETS)) == {}
    assert installation.num_events(run_id) == num_events
    assert (installation.project.home / "dagster" / run_id).exists()


def test_a_run_that_a_younger_one_repeats_stays(installation: DagsterInstallation) -> None:
    parent, child = installation.daily_run(FIRST, days_ago=500), installation.daily_run(FIRST, days_ago=1)
    with installation.project.dagster_database.transaction() as conn:
        for key in ("dagster/parent_run_id", "dagster/root_run_id"):
            conn.execute("insert into run_tags (run_id, key, value) values (%s, %s, %s)", (child, key, parent))
    purge_expired(installation.project, RETENTION_ASSETS)
    assert {run.run_id for run in installation.instance.get_runs()} == {parent, child}
    assert installation.num_events(parent) == 0


def test_an_interrupted_purge_is_continued_by_the_next(
    installation: DagsterInstallation, monkeypatch: pytest.MonkeyPatch
) -> None:
    for days_ago in (900, 800, 40):
        installation.daily_run(FIRST, days_ago=days_ago)
        installation.retraining("AAPL", "MSFT", days_ago=days_ago)
    monkeypatch.setattr(purge, "ROWS_PER_TRANSACTION", 5)
    with psycopg.connect(installation.project.dagster_database.url, autocommit=True) as admin:
        admin.execute(
            "create sequence deletions;"
            " create function ends() returns trigger language plpgsql as $$ begin"
            " if nextval('public.deletions') % 13 = 0 then raise 'the power went'; end if; return old; end $$;"
            " create trigger ends before delete on ldtm_dagster.event_logs for each row execute function ends()"
        )
        page, num_interrupted = installation.status("registry"), 0
        while purge_expired(installation.project, RETENTION_ASSETS).failures:
            num_interrupted += 1
            assert installation.status("registry") == page
        admin.execute("drop trigger ends on ldtm_dagster.event_logs")
    assert num_interrupted > 5
    assert _gone(purge_expired(installation.project, RETENTION_ASSETS)) == {}
    left = installation.rows("select dagster_event_type, count(*) from event_logs group by 1 order by 1")
    assert left == [("ASSET_CHECK_EVALUATION", 4), ("ASSET_MATERIALIZATION", 4)]


def test_runs_are_recorded_and_the_ui_reads_while_runs_are_purged(
    installation: DagsterInstallation, monkeypatch: pytest.MonkeyPatch
) -> None:
    for days_ago in (45, 44, 43, 42):
        installation.daily_run(FIRST, fails=(f"{FIRST}|MSFT",), days_ago=days_ago)
    monkeypatch.setattr(purge, "ROWS_PER_TRANSACTION", 2)
    page, num_reads = installation.status("snapshots"), 0
    with ThreadPoolExecutor() as pool:
        purging = pool.submit(purge_expired, installation.project, RETENTION_ASSETS)
        young = installation.daily_run(SECOND)
        while not purging.done() or num_reads == 0:
            shown = installation.status("snapshots")
            assert {partition: state for partition, state in shown.items() if partition.startswith(FIRST)} == page
            num_reads += 1
    assert _gone(purging.result())["log entries of runs that ended 30 days ago"] > 40
    assert installation.num_events(young) > 10


def test_backfills_go_with_their_last_run(installation: DagsterInstallation) -> None:
    run_id = installation.daily_run(FIRST, days_ago=500)
    with installation.project.dagster_database.transaction() as conn:
        conn.execute("update runs set backfill_id = 'kept' where run_id = %s", (installation.daily_run(SECOND),))
        conn.execute("update runs set backfill_id = 'gone' where run_id = %s", (run_id,))
        for key, status in (("gone", "COMPLETED_SUCCESS"), ("kept", "FAILED"), ("open", "REQUESTED")):
            conn.execute(
                "insert into bulk_actions (key, status, timestamp) values (%s, %s, now() - interval '500 days')",
                (key, status),
            )
    assert _gone(purge_expired(installation.project, RETENTION_ASSETS))["backfills without a run"] == 1
    assert installation.rows("select key from bulk_actions order by key") == [("kept",), ("open",)]


def _quoted(run_ids: list[str]) -> str:
    return ", ".join(f"'{run_id}'" for run_id in run_ids)
