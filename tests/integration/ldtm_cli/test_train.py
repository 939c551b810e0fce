"""`ldtm train` and `ldtm logs`: a training from the command line, and the events that it leaves."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from ldtm_cli.commands.train import print_verdicts
from ldtm_lib.database.connection import Connection, Database
from ldtm_lib.registry.listing import RegistryEntry
from ldtm_lib.sessions import Calendar
from tests.integration.dagster_storage import copied_template as copied_template
from tests.integration.dagster_storage import dagster_instance
from tests.integration.ldtm_cli.kept_outputs import compare_at_all_widths
from tests.integration.ldtm_cli.shell import run_ldtm
from tests.integration.random_walks import CONFIG, deliver


def test_verdicts_of_a_training_are_printed() -> None:
    began = datetime(2026, 11, 28, 14, 0, tzinfo=UTC)

    def entry(ticker: str, *reasons: str, decided_at: datetime = began, version: str | None = None) -> RegistryEntry:
        rules = [{"rule": "rule", "figure": 1, "bound": 1, "passed": True, "reason": "1 >= 1"}]
        rules += [{"rule": "rule", "figure": 0, "bound": 1, "passed": False, "reason": reason} for reason in reasons]
        return RegistryEntry(
            ticker=ticker,
            active_version=version,
            active_trained_on=None,
            activated_at=None,
            candidate_trained_on=None,
            candidate_validation_loss=None,
            num_retired=0,
            decided_at=decided_at,
            rules=rules,
            evidence=None,
            multiple_testing=None,
        )

    right = "direction right in 49.0% of 310 calls, at least 52.0% are needed"
    error = "mean next-day price error 6.12% over 504 forecasts, at most 5.00% is allowed"
    entries = {
        "AAPL": entry("AAPL", version="v1.2026-11-27"),
        "BRK.B": entry("BRK.B", right, error, version="v1.2026-08-28"),
        "MSFT": entry("MSFT", right, decided_at=began - timedelta(days=7)),
    }
    tickers = [*entries, "NONE"]
    compare_at_all_widths("train", lambda console: print_verdicts(console, tickers, entries, began))


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
