"""`ldtm train` with a Ray cluster: the same models on record as without, and nothing else to do."""

from datetime import date
from pathlib import Path

import pytest

from ldtm_lib.database.connection import Connection, Database
from ldtm_lib.sessions import Calendar
from tests.integration.dagster_storage import copied_template as copied_template
from tests.integration.dagster_storage import dagster_instance
from tests.integration.ldtm_cli.shell import run_ldtm
from tests.integration.random_walks import CONFIG, deliver
from tests.integration.ray.clusters import LocalCluster


@pytest.mark.slow
def test_a_training_from_the_command_line_runs_on_the_nodes(
    tmp_path: Path, database: Database, conn: Connection, calendar: Calendar, cluster: LocalCluster
) -> None:
    config = tmp_path / "universe.toml"
    config.write_text(f'{CONFIG}[engine]\nkind = "ray"\naddress = "{cluster.address}"\n')
    for number, ticker in enumerate(("AAPL", "GOOG", "MSFT")):
        deliver(tmp_path / "bars", calendar, number, ticker)

    def ldtm(*words: str) -> str:
        done = run_ldtm(tmp_path, database.url, *words, COLUMNS="200")
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    ldtm("prices", "import", "bars", "--basis", "adjusted")
    ldtm("train", "AAPL", "GOOG", "--as-of", "2012-12-31")
    trained = conn.execute("select ticker, trained_on, device, gpu_index, training_method from checkpoint order by 1")
    assert trained.fetchall() == [(ticker, date(2012, 12, 31), "cpu", None, None) for ticker in ("AAPL", "GOOG")]
    judged = conn.execute("select ticker, trained_on from gate_verdict order by 1")
    assert judged.fetchall() == [("AAPL", date(2012, 12, 31)), ("GOOG", date(2012, 12, 31))]
    conn.commit()
    with dagster_instance(database, tmp_path) as instance:
        (run,) = [run for run in instance.get_runs() if run.job_name == "retraining_job"]
    events = " ".join(ldtm("logs", run.run_id, "-n", "1000").split())
    assert f"trains on Ray at {cluster.address}: 3 nodes, 2 CPU slots, 2 tasks" in events
