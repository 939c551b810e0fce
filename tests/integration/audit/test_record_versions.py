"""Version 1 of the record format, as older installations recorded it, beside version 2."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from ldtm_lib.audit.proof import prove
from ldtm_lib.audit.publications.seal_file import SealFile
from ldtm_lib.database.connection import Database
from ldtm_lib.database.migrate import MIGRATIONS_FOLDER, migrate
from ldtm_lib.sessions import Calendar
from tests.integration.audit.sealed_record import DAYS, Record
from tests.integration.audit.verifier import PROGRAM, verifier
from tests.integration.ledger_rows import LedgerRows

NAMES = ("next_day", "next_monday", "one_month")
ENDS = {
    f"{horizon}_{end}_{level}": 100 + 3 * place + (1 if end == "high" else -1) * level / 10
    for place, horizon in enumerate(NAMES)
    for level in (80, 95)
    for end in ("low", "high")
}
LATER = date(2013, 1, 8)


def forecast_with_intervals(record: Record, ticker: str, run_date: date) -> None:
    targets = record.calendar.targets(run_date)
    values = {"volatility": 0.02, "neutral_band": 0.001, **ENDS}
    record.conn.execute(
        f"""insert into snapshot (ticker, run_date, next_day_session, next_monday_session, one_month_session,
            run_date_close, next_day_pred, next_monday_pred, one_month_pred, direction_pred, model_status,
            checkpoint_sha256, window_sha256, bars_recorded_until, {", ".join(values)})
        values (%s, %s, %s, %s, %s, 100, 101, 102, 103, 'bullish', 'active', 'c', 'w', clock_timestamp(),
            {", ".join(["%s"] * len(values))})""",  # type: ignore[arg-type]
        (ticker, run_date, *targets.as_tuple(), *values.values()),
    )


@pytest.fixture
def migrated(empty_database: Database, calendar: Calendar, tmp_path: Path) -> Iterator[Record]:
    """A record that the schema before version 2 began, and the present one goes on with."""
    before = tmp_path / "migrations"
    shutil.copytree(MIGRATIONS_FOLDER, before)
    for path in before.glob("*.sql"):
        if path.name >= "0009":
            path.unlink()
    migrate(empty_database, calendar, before)
    with empty_database.connect() as conn:
        record = Record(
            empty_database, conn, calendar, LedgerRows(conn, calendar), SealFile(path=tmp_path / "seals.jsonl")
        )
        record.rows.promoted("AAPL", date(2012, 12, 28))
        for day in DAYS:
            record.daily_run(day)
        conn.commit()
    assert "0009_intervals.sql" in migrate(empty_database, calendar)
    with empty_database.connect() as conn:
        yield Record(empty_database, conn, calendar, LedgerRows(conn, calendar), record.file)


def versions(record: Record) -> dict[tuple[str, int], int]:
    rows = record.conn.execute("select event, version, count(*) from ledger_event group by event, version")
    return {(event, version): number for event, version, number in rows}


def proven(folder: Path, document: dict[str, object], seals: Path) -> str:
    (folder / "p.json").write_text(json.dumps(document))
    words = [sys.executable, "-I", "-S", PROGRAM, "p.json", "--seals", str(seals)]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_rows_of_version_1_stay_as_they_were_and_are_filled_beside_those_of_version_2(
    migrated: Record, tmp_path: Path
) -> None:
    assert migrated.messages() == []
    before = versions(migrated)
    assert {version for _, version in before} == {1}
    published = migrated.file.path.read_text()
    old = prove(migrated.conn, "IBM", DAYS[1]).document
    migrated.rows.bar("IBM", LATER, 103)
    forecast_with_intervals(migrated, "IBM", LATER)
    migrated.daily_run(LATER, tickers=("AAPL", "MSFT"))
    assert migrated.messages() == []
    assert migrated.file.path.read_text().startswith(published), "no old seal is another one"
    after = versions(migrated)
    assert after["forecast", 1] == before["forecast", 1]
    assert after["forecast", 2] == 4, "three forecasts and an abstention"
    assert after["fill", 1] > before["fill", 1], "old forecasts were filled"

    assert old["format"] == "LDTM proof 1"
    assert "volatility" not in old["events"][0]["says"]
    assert "PROVEN: IBM on 2013-01-03" in proven(tmp_path, old, migrated.file.path)
    new = prove(migrated.conn, "IBM", LATER).document
    assert new["format"] == "LDTM proof 2"
    assert new["events"][0]["says"]["one_month_high_95"] == ENDS["one_month_high_95"]
    assert "next_day_low_80 92.0" in proven(tmp_path, new, migrated.file.path)
    new["events"][0]["says"]["next_day_low_80"] = 93.0
    with pytest.raises(verifier.NotProven, match="is not the one that seal"):
        verifier.check(new)


def test_a_proof_under_the_other_format_is_not_proven(migrated: Record) -> None:
    forecast_with_intervals(migrated, "IBM", LATER)
    migrated.seal()
    new = {**prove(migrated.conn, "IBM", LATER).document, "format": "LDTM proof 1"}
    with pytest.raises(verifier.NotProven, match=r"a forecast has no .*: the proof says more than it proves"):
        verifier.check(new)
    with pytest.raises(verifier.NotProven, match="this program knows 'LDTM proof 1' and 'LDTM proof 2'"):
        verifier.check({**new, "format": "LDTM proof 3"})


@pytest.mark.parametrize("column", ["volatility", "neutral_band", *ENDS])
def test_an_altered_figure_of_an_interval_is_found(record: Record, column: str) -> None:
    record.rows.promoted("GOOG", DAYS[-1])
    forecast_with_intervals(record, "GOOG", LATER)
    record.seal()
    with record.as_owner() as owner:
        owner.execute("alter table snapshot drop constraint snapshot_intervals_are_nested")
        owner.execute(
            f"update snapshot set {column} = {column} * (1 + 3e-16) where ticker = 'GOOG'"  # type: ignore[arg-type]
        )
    (message,) = record.messages()
    assert message.startswith("the forecast of GOOG on 2013-01-08")
    assert message.endswith("was altered after it was recorded")


@pytest.mark.parametrize("column", ["volatility", "neutral_band"])
def test_a_figure_that_was_added_to_a_row_of_version_1_is_found(migrated: Record, column: str) -> None:
    with migrated.as_owner() as owner:
        owner.execute(
            f"update snapshot set {column} = 0.5 where ticker = 'IBM' and run_date = '2013-01-03'"  # type: ignore[arg-type]
        )
    (message,) = migrated.messages()
    assert message.startswith("the forecast of IBM on 2013-01-03 ")
    assert message.endswith("was altered after it was recorded")


@pytest.mark.parametrize("version", [1, 3])
def test_an_altered_version_of_a_forecast_is_found(record: Record, version: int) -> None:
    with record.as_owner() as owner:
        owner.execute("alter table ledger_event drop constraint ledger_event_has_a_known_version")
        owner.execute(
            "update ledger_event set version = %s where event = 'forecast' and ticker = 'IBM'"
            " and run_date = '2013-01-03'",
            (version,),
        )
    (message,) = record.messages()
    assert message.startswith("the forecast of IBM on 2013-01-03 ")
    assert message.endswith("was altered after it was recorded")


def test_an_altered_version_of_another_event_is_found(record: Record) -> None:
    with record.as_owner() as owner:
        owner.execute("alter table ledger_event drop constraint ledger_event_has_a_known_version")
        owner.execute("update ledger_event set version = 2 where event = 'fill' and ticker = 'IBM'")
    messages = record.messages()
    assert messages
    assert all("fill of IBM" in message for message in messages)
    assert all("names a version of the record format that its kind of event does not have" in m for m in messages)
