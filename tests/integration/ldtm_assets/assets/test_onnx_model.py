"""Exports through Dagster's job: what the UI shows of each ticker, and of the universe."""

from pathlib import Path

import pytest

from ldtm_lib.database.connection import Connection, Database
from ldtm_lib.sessions import Calendar
from tests.integration.ldtm_assets.assets.export_runs import ExportRuns, checks, failure_of, materialized


@pytest.fixture
def exports(
    tmp_path: Path, database: Database, conn: Connection, calendar: Calendar, monkeypatch: pytest.MonkeyPatch
) -> ExportRuns:
    monkeypatch.setenv("LDTM_DATABASE_URL", database.url)
    return ExportRuns(tmp_path, database, conn, calendar, config="")


def test_models_universe_and_checks_are_recorded_and_a_ticker_without_a_model_is_left_out(exports: ExportRuns) -> None:
    result = exports.run("AAA", "CCC")
    assert result.success
    assert materialized(result) == {("onnx_model", "AAA"), ("onnx_model", "BBB"), ("onnx_universe", None)}
    assert checks(result, "export_agrees") == {"AAA": True, "BBB": True, None: True}
    assert checks(result, "engine_agrees") == {}


def test_the_run_of_one_ticker_says_nothing_of_the_others(exports: ExportRuns) -> None:
    result = exports.run("BBB", "BBB", assets=["onnx_model"])
    assert result.success
    assert materialized(result) == {("onnx_model", "BBB"), ("onnx_universe", None)}
    assert checks(result, "export_agrees") == {"BBB": True, None: True}


def test_a_refused_ticker_fails_by_name_and_the_others_are_recorded(exports: ExportRuns) -> None:
    exports.damage("AAA")
    result = exports.run("AAA", "BBB")
    assert not result.success
    assert ("onnx_model", "BBB") in materialized(result)
    assert ("onnx_model", "AAA") not in materialized(result)
    assert checks(result, "export_agrees") == {"AAA": False, "BBB": True, None: False}
    assert "AAA (onnx_model): checkpoint" in failure_of(result)
