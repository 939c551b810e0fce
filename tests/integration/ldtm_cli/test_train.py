"""`ldtm train` and `ldtm logs`: a training from the command line, and the events that it leaves."""

from datetime import date
from pathlib import Path

import pytest

from ldtm_lib.database.connection import Connection, Database
from ldtm_lib.sessions import Calendar
from tests.integration.dagster_storage import copied_template as copied_template
from tests.integration.dagster_storage import dagster_instance
from tests.integration.ldtm_cli.shell import run_ldtm
from tests.integration.random_walks import CONFIG, deliver


@pytest.mark.slow
def test_tickers_are_trained_on_the_bars_of_a_past_session_and_judged(
    tmp_path: Path, database: Database, conn: Connection, calendar: Calendar
) -> None:
    (tmp_path / "universe.toml").write_text(CONFIG)
    for number, ticker in enumerate(("AAPL", "GOOG", "MSFT")):
        deliver(tmp_path / "bars", calendar, number, ticker)

    def ldtm(*words: str) -> str:
        done = run_ldtm(tmp_path, database.url, *words, COLUMNS="200")
        assert done.returncode == 0, done.stderr
        return done.stdout

    ldtm("prices", "import", "bars", "--basis", "adjusted")
    said = ldtm("train", "MSFT", "AAPL", "--as-of", "2012-12-31")
    assert "training of 2 tickers on bars up to 2012-12-31" in said
    judged = conn.execute("select ticker, trained_on from gate_verdict order by 1")
    assert judged.fetchall() == [("AAPL", date(2012, 12, 31)), ("MSFT", date(2012, 12, 31))]
    conn.commit()
    with dagster_instance(database, tmp_path) as instance:
        runs = [*instance.get_runs()]
    assert len(runs) == 2
    events = ldtm("logs", runs[0].run_id[:8], "-n", "5").splitlines()
    assert events[0] == f"run {runs[0].run_id} of retraining_job: success"
    assert len(events) == 6
    assert len(ldtm("logs", runs[0].run_id, "-n", "0").splitlines()) == 1
    unknown = run_ldtm(tmp_path, database.url, "logs", "abcdef12")
    assert unknown.returncode == 1
    assert "none of the newest 1000 runs has an id that begins with 'abcdef12'" in " ".join(unknown.stderr.split())
