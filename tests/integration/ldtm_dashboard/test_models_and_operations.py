"""The registry, losses, and the state of operation as frames."""

from datetime import date

from ldtm_dashboard.frames.models import loss_curves, models_frame
from ldtm_dashboard.frames.operations import dagster_view, operations_view
from ldtm_dashboard.reading import Reader
from ldtm_lib.alerts.alert import Alert, raise_alerts, run_link
from ldtm_lib.database.connection import Connection


def test_every_ticker_has_its_verdict_beside_the_chance_of_a_coin(large_conn: Connection) -> None:
    found = models_frame(large_conn)
    assert found.height == 20
    shown = found.row(0, named=True)
    assert (shown["gate"], shown["num_retired"], shown["coin_passes"]) == ("✗ refused", 4, 0.25)
    assert shown["active"].startswith("v1.")
    assert shown["reasons"] == "direction right in 49.0% of 310 calls, at least 52.0% are needed"
    assert shown["next_day_ratio"] == 1.007
    assert shown["one_month_ratio"] is None, "the evidence has no such horizon"


def test_losses_stand_beside_that_of_no_change(large_conn: Connection) -> None:
    found = loss_curves(large_conn, "T000")
    assert found["network"].n_unique() == 4
    assert found.height == 4 * 12
    assert set(found["no_change"]) == {1.0}
    assert loss_curves(large_conn, "NOBODY").is_empty()


def test_operation_shows_attempts_alerts_and_links(conn: Connection, reader: Reader) -> None:
    conn.execute(
        "insert into daily_attempt (session, ticker, done_at, reason) values"
        " ('2026-11-20', 'AAPL', now(), null), ('2026-11-20', 'MSFT', null, 'no bar'),"
        " ('2026-10-01', 'AAPL', now(), null)"
    )
    alert = Alert(key="k", kind="run", severity="error", subject="daily_job", summary="failed", link=run_link("r1"))
    raise_alerts(conn, [alert])
    conn.commit()
    with reader.view() as read:
        found = operations_view(read, reader.project)
    (run,) = found.daily_runs.iter_rows(named=True)
    assert (run["session"], run["num_tickers"], run["num_done"]) == (date(2026, 11, 20), 2, 1)
    assert run["reasons"] == ["no bar"]
    (shown,) = found.alerts.iter_rows(named=True)
    assert (shown["state"], shown["link"]) == ("open", "http://127.0.0.1:3000/runs/r1")
    assert dagster_view(reader.project) is None, "Dagster has no tables here"


def test_a_new_installation_says_what_to_do(reader: Reader) -> None:
    with reader.view() as conn:
        found = operations_view(conn, reader.project)
    assert found.needs == ("nothing was forecast yet: `ldtm bootstrap` loads bars, trains and simulates",)
