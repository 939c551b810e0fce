"""Versions 1 and 2 of the record format, as older installations recorded them, beside version 3."""

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
LATER, LATEST = date(2013, 1, 8), date(2013, 1, 9)
OTHERS = ("AAPL", "MSFT")


def forecast_with_intervals(record: Record, ticker: str, run_date: date, **more: str) -> None:
    targets = record.calendar.targets(run_date)
    values = {"volatility": 0.02, "neutral_band": 0.001, **ENDS, **more}
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
    """A record with rows of versions 1 and 2, made by the schemas of these versions, under the present schema."""
    file = SealFile(path=tmp_path / "seals.jsonl")
    _migrate_until(empty_database, calendar, tmp_path / "1", "0009_intervals.sql")
    with empty_database.connect() as conn:
        record = Record(empty_database, conn, calendar, LedgerRows(conn, calendar), file)
        record.rows.promoted("AAPL", date(2012, 12, 28))
        for day in DAYS:
            record.daily_run(day)
        conn.commit()
    _migrate_until(empty_database, calendar, tmp_path / "2", "0012_backends.sql")
    with empty_database.connect() as conn:
        record = Record(empty_database, conn, calendar, LedgerRows(conn, calendar), file)
        record.rows.bar("IBM", LATER, 103)
        forecast_with_intervals(record, "IBM", LATER)
        record.daily_run(LATER, tickers=OTHERS)
        conn.commit()
    assert "0012_backends.sql" in migrate(empty_database, calendar)
    with empty_database.connect() as conn:
        yield Record(empty_database, conn, calendar, LedgerRows(conn, calendar), file)


def _migrate_until(database: Database, calendar: Calendar, folder: Path, first_left_out: str) -> None:
    shutil.copytree(MIGRATIONS_FOLDER, folder)
    for path in folder.glob("*.sql"):
        if path.name >= first_left_out:
            path.unlink()
    migrate(database, calendar, folder)


def versions(record: Record) -> dict[tuple[str, int], int]:
    rows = record.conn.execute("select event, version, count(*) from ledger_event group by event, version")
    return {(event, version): number for event, version, number in rows}


def proven(folder: Path, document: dict[str, object], seals: Path) -> str:
    (folder / "p.json").write_text(json.dumps(document))
    words = [sys.executable, "-I", "-S", PROGRAM, "p.json", "--seals", str(seals)]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_rows_of_older_versions_stay_as_they_were_and_are_filled_beside_new_ones(
    migrated: Record, tmp_path: Path
) -> None:
    assert migrated.messages() == []
    before = versions(migrated)
    assert {version for _, version in before} == {1, 2}
    assert before["forecast", 2] == 4, "three forecasts and an abstention"
    published = migrated.file.path.read_text()
    first, second = (prove(migrated.conn, "IBM", day).document for day in (DAYS[1], LATER))
    migrated.rows.bar("IBM", LATEST, 103)
    forecast_with_intervals(migrated, "IBM", LATEST, backend="onnx")
    migrated.daily_run(LATEST, tickers=OTHERS)
    assert migrated.messages() == []
    assert migrated.file.path.read_text().startswith(published), "no old seal is another one"
    after = versions(migrated)
    assert (after["forecast", 1], after["forecast", 2]) == (before["forecast", 1], before["forecast", 2])
    assert after["forecast", 3] == 4
    assert after["fill", 1] > before["fill", 1], "old forecasts were filled"

    assert first["format"] == "LDTM proof 1"
    assert "volatility" not in first["events"][0]["says"]
    assert "PROVEN: IBM on 2013-01-03" in proven(tmp_path, first, migrated.file.path)
    assert second["format"] == "LDTM proof 2"
    assert second["events"][0]["says"]["one_month_high_95"] == ENDS["one_month_high_95"]
    assert "backend" not in second["events"][0]["says"]
    assert "next_day_low_80 92.0" in proven(tmp_path, second, migrated.file.path)
    third = prove(migrated.conn, "IBM", LATEST).document
    assert third["format"] == "LDTM proof 3"
    assert "backend 'onnx'" in proven(tmp_path, third, migrated.file.path)
    third["events"][0]["says"]["backend"] = "torch"
    with pytest.raises(verifier.NotProven, match="is not the one that seal"):
        verifier.check(third)


def test_a_proof_under_another_format_is_not_proven(migrated: Record) -> None:
    forecast_with_intervals(migrated, "IBM", LATEST, backend="onnx")
    migrated.seal()
    new = prove(migrated.conn, "IBM", LATEST).document
    for known in ("LDTM proof 1", "LDTM proof 2"):
        with pytest.raises(verifier.NotProven, match=r"a forecast has no .*: the proof says more than it proves"):
            verifier.check({**new, "format": known})
    with pytest.raises(verifier.NotProven, match="this program knows 'LDTM proof 1', 'LDTM proof 2', 'LDTM proof 3'"):
        verifier.check({**new, "format": "LDTM proof 4"})


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
    (message,) = record.altered_rows()
    assert message.startswith("the forecast of GOOG on 2013-01-08")
    assert message.endswith("was altered after it was recorded")


def test_an_altered_backend_is_found(record: Record) -> None:
    record.rows.promoted("GOOG", DAYS[-1])
    forecast_with_intervals(record, "GOOG", LATER, backend="torch")
    record.seal()
    with record.as_owner() as owner:
        owner.execute("update snapshot set backend = 'onnx' where ticker = 'GOOG'")
    (message,) = record.messages()
    assert message.startswith("the forecast of GOOG on 2013-01-08")
    assert message.endswith("was altered after it was recorded")


@pytest.mark.parametrize(
    ("day", "column", "value"),
    [
        ("2013-01-03", "volatility", "0.5"),
        ("2013-01-03", "neutral_band", "0.5"),
        ("2013-01-03", "backend", "'torch'"),
        ("2013-01-08", "backend", "'onnx'"),
    ],
)
def test_a_value_that_was_added_to_a_row_of_an_older_version_is_found(
    migrated: Record, day: str, column: str, value: str
) -> None:
    with migrated.as_owner() as owner:
        owner.execute(
            f"update snapshot set {column} = {value} where ticker = 'IBM' and run_date = '{day}'"  # type: ignore[arg-type]
        )
    (message,) = migrated.messages()
    assert message.startswith(f"the forecast of IBM on {day} ")
    assert message.endswith("was altered after it was recorded")


@pytest.mark.parametrize(
    ("version", "what"),
    [
        (1, "was altered after it was recorded"),
        (2, "was altered after it was recorded"),
        (4, "names a version of the record format that its kind of event does not have"),
    ],
)
def test_an_altered_version_of_a_forecast_is_found(record: Record, version: int, what: str) -> None:
    with record.as_owner() as owner:
        owner.execute("alter table ledger_event drop constraint ledger_event_has_a_known_version")
        owner.execute(
            "update ledger_event set version = %s where event = 'forecast' and ticker = 'IBM'"
            " and run_date = '2013-01-03'",
            (version,),
        )
    (message,) = record.altered_rows()
    assert message.startswith("the forecast of IBM on 2013-01-03 ")
    assert message.endswith(what)


def test_an_altered_version_of_another_event_is_found(record: Record) -> None:
    with record.as_owner() as owner:
        owner.execute("alter table ledger_event drop constraint ledger_event_has_a_known_version")
        owner.execute("update ledger_event set version = 2 where event = 'fill' and ticker = 'IBM'")
    messages = record.altered_rows()
    assert messages
    assert all("fill of IBM" in message for message in messages)
    assert all("names a version of the record format that its kind of event does not have" in m for m in messages)
