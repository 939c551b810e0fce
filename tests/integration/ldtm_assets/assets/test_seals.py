"""A daily run ends with its seal: published everywhere, verified, and with an alert when anything is wrong."""

from collections.abc import Callable
from datetime import date
from pathlib import Path

import dagster as dg
import pytest

from ldtm_assets.assets.seals import DagsterEventLog
from ldtm_assets.definitions import definitions_for
from ldtm_assets.partitions import partition_range
from ldtm_lib.audit.publications.configured import publications_of
from ldtm_lib.audit.sealing import read_seals
from ldtm_lib.audit.verify import verify
from ldtm_lib.database.connection import Connection, Database
from ldtm_lib.project import home_of
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import load_settings
from tests.integration.audit.publications.time_stamp_authority import TimeStampAuthority, needs_openssl
from tests.integration.dagster_storage import dagster_instance
from tests.integration.ledger_rows import LedgerRows, enter_service

CONFIG = """
tickers = ["AAPL", "MSFT"]
[source]
kind = "sample"
[partitions]
first_session = 2013-01-02
last_session = 2013-03-01
[publish]
{publish}
"""
Checks = dict[str, dg.AssetCheckEvaluation]
DailyRun = Callable[..., Checks]


@pytest.fixture
def instance(tmp_path: Path, database: Database):
    with dagster_instance(database, tmp_path) as instance:
        yield instance


@pytest.fixture
def daily_run(
    tmp_path: Path,
    database: Database,
    calendar: Calendar,
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
) -> DailyRun:
    """Run the daily job for AAPL and MSFT, which are in service; returns its checks by name."""
    with database.transaction() as conn:
        for ticker in ("AAPL", "MSFT"):
            enter_service(conn, ticker, date(2013, 1, 2))
    monkeypatch.setenv("LDTM_DATABASE_URL", database.url)

    def run(session: str, publish: str = "") -> Checks:
        config = tmp_path / "universe.toml"
        config.write_text(CONFIG.format(publish=publish))
        job = definitions_for(load_settings(config), calendar).resolve_job_def("daily_job")
        result = job.execute_in_process(
            instance=instance,
            tags=partition_range(f"{session}|AAPL", f"{session}|MSFT"),
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            raise_on_error=False,
        )
        assert result.success
        return {check.check_name: check for check in result.get_asset_check_evaluations()}

    return run


def _text(check: dg.AssetCheckEvaluation, name: str) -> str:
    return str(check.metadata[name].value)


def test_a_daily_run_is_sealed_published_and_verified(
    daily_run: DailyRun, database: Database, calendar: Calendar, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    for session in ("2013-02-01", "2013-02-04"):
        checks = daily_run(session)
        assert checks["record_is_intact"].passed
        assert checks["seals_are_published"].passed
    assert (
        checks["record_is_intact"].metadata["seals"].value,
        checks["record_is_intact"].metadata["events"].value,
    ) == (2, 4 + 3), "four rows, two entries into service, a configuration"
    assert _text(checks["every_ticker_has_a_row"], "cohorts") == (
        "- 2013-02-04: 0 bullish, 0 neutral, 0 bearish, 2 abstained, by no model"
    )
    shown = checks["every_ticker_has_a_row"].metadata
    assert [shown[name].value for name in ("bullish", "neutral", "bearish", "abstained")] == [0, 0, 0, 2]
    assert shown["model versions"].value == "none"
    settings = load_settings(tmp_path / "universe.toml")
    places = [*publications_of(settings, home_of(settings)), DagsterEventLog(instance)]
    with database.connect() as conn:
        chain = {seal.seal_id: seal.sha256 for seal in read_seals(conn)}
    for place in places:
        assert {number: seal.sha256 for number, seal in place.read().seals.items()} == chain, place.name
    assert verify(database, calendar, places).is_intact
    newest = instance.get_latest_materialization_event(dg.AssetKey("seals"))
    assert newest is not None
    assert newest.asset_materialization is not None
    assert newest.asset_materialization.metadata["events"].value == 2


def test_a_daily_run_that_is_run_again_makes_no_seal(daily_run: DailyRun, conn: Connection) -> None:
    daily_run("2013-02-01")
    checks = daily_run("2013-02-01")
    assert checks["record_is_intact"].passed
    assert conn.execute("select count(*) from ledger_seal").fetchone() == (1,)


def test_an_altered_record_fails_the_check_and_names_the_row(daily_run: DailyRun, conn: Connection) -> None:
    daily_run("2013-02-01")
    conn.execute("alter table snapshot disable trigger all")
    conn.execute("update snapshot set abstained_reason = 'was ill' where ticker = 'MSFT'")
    conn.execute("alter table snapshot enable trigger all")
    conn.commit()
    check = daily_run("2013-02-04")["record_is_intact"]
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert _text(check, "found") == ("- the forecast of MSFT on 2013-02-01 (event 4) was altered after it was recorded")


def test_a_chain_that_was_begun_anew_contradicts_dagsters_event_log(
    daily_run: DailyRun, conn: Connection, tmp_path: Path
) -> None:
    daily_run("2013-02-01")
    conn.execute("drop schema ldtm cascade")
    conn.commit()
    from ldtm_lib.database.migrate import migrate
    from ldtm_lib.sessions import exchange_calendar

    migrate(Database(url=conn.info.dsn, schema="ldtm"), exchange_calendar())
    enter_service(conn, "AAPL", date(2013, 1, 2))
    conn.commit()
    (tmp_path / ".ldtm" / "ldtm" / "seals.jsonl").unlink()
    checks = daily_run("2013-02-04")
    assert not checks["record_is_intact"].passed
    found = _text(checks["record_is_intact"], "found")
    assert "Dagster event log, asset seals: 1 published seal is missing from the database, the first is seal 0" in found
    refused = _text(checks["seals_are_published"], "failed, tried again with the next seal")
    assert "seal 0 was published as " in refused
    with conn.transaction():
        assert conn.execute("select count(*) from ledger_seal").fetchone() == (0,), "no fork of the chain is sealed"


@needs_openssl
def test_a_time_stamp_authority_that_is_away_costs_a_warning_and_is_asked_again(
    daily_run: DailyRun, tmp_path: Path
) -> None:
    with TimeStampAuthority(tmp_path / "authority") as authority:
        publish = f'timestamp_url = "{authority.url}"\ntimestamp_certificates = "{authority.root}"'
        authority.fault = "answers 500"
        check = daily_run("2013-02-01", publish)["seals_are_published"]
        assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
        assert "500" in _text(check, "failed, tried again with the next seal")
        authority.fault = None
        checks = daily_run("2013-02-04", publish)
        assert checks["seals_are_published"].passed
        assert checks["record_is_intact"].passed
        assert f"{authority.url}" in _text(checks["record_is_intact"], "compared with")
    tokens = sorted(path.name.split("-")[0] for path in (tmp_path / ".ldtm" / "ldtm" / "timestamps").glob("*.tsr"))
    assert tokens == ["0", "1"]


def test_the_horizons_of_a_forecast_are_shown_with_its_fills(
    daily_run: DailyRun, conn: Connection, calendar: Calendar, instance: dg.DagsterInstance
) -> None:
    LedgerRows(conn, calendar).forecast("MSFT", date(2013, 1, 31), close=27.45, preds=(28, 28, 28), kind="late")
    conn.commit()
    daily_run("2013-02-01")
    daily_run("2013-01-31")
    page = instance.fetch_materializations(dg.AssetKey("fillbacks"), limit=10)
    shown = {
        str(record.partition_key): record.asset_materialization.metadata["horizons of this date's forecast"].value
        for record in page.records
        if record.asset_materialization
    }
    assert shown["2013-01-31|MSFT"] == (
        "next day (2013-02-01): filled; next Monday (2013-02-04): waiting for its bar; "
        "one month (2013-03-04): waiting for its bar"
    )


def test_an_event_that_somebody_added_to_dagsters_log_is_a_note(
    daily_run: DailyRun, database: Database, calendar: Calendar, instance: dg.DagsterInstance
) -> None:
    assert daily_run("2013-01-02")["record_is_intact"].passed
    for metadata in ({"seal": 0, "SHA-256": "ab" * 32}, {"seal": "one", "SHA-256": "ab" * 32}, {"seal": -1}, {}):
        instance.report_runless_asset_event(dg.AssetMaterialization("seals", metadata=metadata))
    log = DagsterEventLog(instance)
    published = log.read()
    assert (list(published.seals), published.problems) == ([0], ())
    assert len(published.notes) == 4
    assert "seal 0 was published again as abababab" in published.notes[0]
    report = verify(database, calendar, [log])
    assert report.verdict == "intact"
