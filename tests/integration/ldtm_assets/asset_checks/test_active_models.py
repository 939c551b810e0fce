"""Daily runs that find something wrong: a model below the gate, intervals that broke down, a look-ahead."""

from datetime import date

import dagster as dg
import polars as pl
import pytest

from ldtm_lib.database.connection import Connection
from ldtm_lib.features import windows
from ldtm_lib.features.indicators import add_indicators
from ldtm_lib.features.look_ahead import SAMPLED_WINDOWS
from ldtm_lib.prices.ingest import ingest
from ldtm_lib.prices.sources.sample import SampleSource
from ldtm_lib.sessions import Calendar
from tests.integration.ldtm_assets.daily_runs import DailyRun
from tests.integration.ledger.live_record import TRAINED_ON, calls, put_live
from tests.integration.ledger.recorded_intervals import put_intervals
from tests.integration.ledger_rows import LedgerRows

SESSION = date(2013, 2, 1)
BAD, FAIR = [*calls(60, 60), *[False] * 35], calls(62, 58)


@pytest.fixture
def models(conn: Connection, calendar: Calendar, ledger_rows: LedgerRows) -> None:
    """AAPL's active model was wrong for weeks; MSFT's is as good as a coin."""
    for ticker, outcomes in (("AAPL", BAD), ("MSFT", FAIR)):
        put_live(conn, calendar, ticker, ledger_rows.promoted(ticker, TRAINED_ON), outcomes)
    conn.commit()
    conn.execute("alter table snapshot enable trigger user")
    conn.commit()


def check(result: dg.ExecuteInProcessResult, name: str) -> tuple[dg.AssetCheckEvaluation, dict[str, object]]:
    (found,) = [e for e in result.get_asset_check_evaluations() if e.check_name == name]
    return found, {name: value.value for name, value in found.metadata.items()}


def statuses(conn: Connection) -> dict[str, str]:
    return dict(conn.execute("select ticker, status from checkpoint").fetchall())


def test_a_degraded_model_is_warned_about_and_kept_where_that_is_the_policy(
    models: None, daily_run: DailyRun, conn: Connection
) -> None:
    evaluation, shown = check(daily_run(str(SESSION)), "active_models_are_not_degraded")
    assert (evaluation.passed, evaluation.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert (shown["active models"], shown["policy"], shown["retired now"]) == (2, "keep", "none")
    assert str(shown["degraded"]).startswith(
        "- AAPL v1.2011-12-30 was right in 60 of 155 calls since 2012-01-03, 38.7%"
    )
    assert "MSFT" not in str(shown["degraded"])
    assert "MSFT v1.2011-12-30 was right in 62 of 120" in str(shown["closest to degradation"])
    assert statuses(conn) == {"AAPL": "active", "MSFT": "active"}


def test_a_degraded_model_is_retired_once_with_its_figures_as_the_reason_where_that_is_the_policy(
    models: None, daily_run: DailyRun, conn: Connection
) -> None:
    policy = "[registry]\ndegradation_policy = 'retire'\n"
    evaluation, shown = check(daily_run(str(SESSION), more=policy), "active_models_are_not_degraded")
    again, _ = check(daily_run(str(SESSION), more=policy), "active_models_are_not_degraded")
    assert evaluation.passed is False
    assert shown["retired now"] == "AAPL v1.2011-12-30"
    assert again.passed is True, "who is retired is watched no more"
    assert statuses(conn) == {"AAPL": "retired", "MSFT": "active"}
    [(kind, severity, subject, summary)] = conn.execute(
        "select kind, severity, subject, summary from alert where is_news"
    ).fetchall()
    assert (kind, severity, subject) == ("degradation", "error", "AAPL")
    assert summary.startswith(
        "retired for its record: AAPL v1.2011-12-30 was right in 60 of 155 calls since 2012-01-03"
    )
    assert summary.endswith("It abstains until another network passes the gate.")
    [(action, requested_by, why)] = conn.execute("select action, requested_by, why from lifecycle_action").fetchall()
    assert (action, requested_by) == ("retirement", "policy registry.degradation_policy")
    assert why.startswith("AAPL v1.2011-12-30 was right in 60 of 155 calls since 2012-01-03, 38.7%; a model that meets")


def test_a_forecast_that_saw_later_bars_fails_its_check(daily_run: DailyRun, conn: Connection) -> None:
    assert check(daily_run(str(SESSION)), "forecasts_are_point_in_time")[0].passed
    conn.execute("alter table snapshot disable trigger user")
    conn.execute("alter table snapshot drop constraint snapshot_saw_no_bar_of_the_future")
    conn.execute(
        "update snapshot set bars_recorded_until = recorded_at + interval '1 day' where ticker = 'MSFT'",
    )
    conn.commit()
    evaluation, shown = check(daily_run(str(SESSION)), "forecasts_are_point_in_time")
    assert (evaluation.passed, evaluation.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert str(shown["found"]).startswith("- ")
    assert "MSFT" in str(shown["found"])
    assert "AAPL" not in str(shown["found"])
    assert shown["forecasts"] == 2


def test_the_windows_of_a_daily_run_are_made_again_from_altered_bars(
    daily_run: DailyRun, conn: Connection, calendar: Calendar
) -> None:
    history = SampleSource().fetch(["AAPL", "MSFT"], date(2011, 1, 3), date(2013, 1, 31))
    ingest(conn, history, source="sample", calendar=calendar)
    conn.commit()
    evaluation, shown = check(daily_run(str(SESSION)), "windows_have_no_look_ahead")
    assert evaluation.passed
    assert shown["found"] == "none"
    assert sorted(str(shown["tickers"]).split(", ")) == ["AAPL", "MSFT"]
    assert shown["windows rebuilt"] == 2 * SAMPLED_WINDOWS
    evaluation, shown = check(daily_run(str(SESSION)), "forecasts_are_point_in_time")
    assert (evaluation.passed, shown["windows rebuilt"]) == (True, 2)


def test_inputs_that_look_a_day_ahead_fail_the_check_of_the_daily_run(
    daily_run: DailyRun, conn: Connection, calendar: Calendar, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = SampleSource().fetch(["AAPL", "MSFT"], date(2011, 1, 3), date(2013, 1, 31))
    ingest(conn, history, source="sample", calendar=calendar)
    conn.commit()

    def looking_ahead(bars: pl.DataFrame) -> pl.DataFrame:
        return add_indicators(bars).with_columns(pl.col("rsi_14").shift(-1).over("ticker").fill_null(50.0))

    monkeypatch.setattr(windows, "add_indicators", looking_ahead)
    evaluation, shown = check(daily_run(str(SESSION)), "windows_have_no_look_ahead")
    assert (evaluation.passed, evaluation.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert "rsi_14" in str(shown["found"])


def test_intervals_that_contain_too_few_actuals_are_warned_about(
    models: None, daily_run: DailyRun, conn: Connection, calendar: Calendar
) -> None:
    autumn = date(2012, 9, 4)
    put_intervals(conn, calendar, "AAPL", [103.0] * 80, first=autumn)
    put_intervals(conn, calendar, "MSFT", [101.0] * 80, first=autumn)
    conn.execute("alter table snapshot enable trigger user")
    conn.commit()
    evaluation, shown = check(daily_run(str(SESSION)), "interval_coverage_holds")
    assert (evaluation.passed, evaluation.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert shown["intervals watched"] == 12
    assert str(shown["broken down"]).startswith(
        "- the 80% intervals of AAPL, next day, contained 0 of 80 actuals since 2012-09-04, 0.0%; the strongest "
        "evidence against a coverage of 75% was "
    )
    assert "MSFT" not in str(shown["broken down"])
