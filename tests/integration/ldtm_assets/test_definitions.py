"""The asset graph as an owner sees it, written down: a change of it must be meant."""

import dagster as dg
import pytest

from ldtm_assets.definitions import definitions_for
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import load_settings
from tests.repository import REPOSITORY

GRAPH = {
    "price_history": ("prices", "ticker", set[str]()),
    "prices": ("prices", "date|ticker", {"price_history"}),
    "features": ("forecasts", "date|ticker", {"prices", "price_history"}),
    "snapshots": ("forecasts", "date|ticker", {"features", "registry"}),
    "fillbacks": ("forecasts", "date|ticker", {"prices", "snapshots"}),
    "backtests": ("models", "ticker", {"price_history", "prices"}),
    "checkpoints": ("models", "ticker", {"price_history", "prices"}),
    "registry": ("models", "ticker", {"backtests", "checkpoints"}),
    "leaderboard": ("forecasts", "none", {"fillbacks", "registry"}),
    "seals": ("forecasts", "none", {"snapshots", "fillbacks", "registry"}),
    "simulations": ("forecasts", "none", {"price_history"}),
    "onnx_model": ("models", "ticker", {"registry"}),
    "onnx_universe": ("models", "none", {"onnx_model"}),
    "tensorrt_engine": ("models", "ticker", {"onnx_model"}),
}
STEPS = {
    "price_history": (None, {"price_history"}),
    "daily_forecast": (None, {"prices", "features", "snapshots", "fillbacks"}),
    "retraining": ({"gpu"}, {"backtests", "checkpoints", "registry"}),
    "leaderboard": (None, {"leaderboard"}),
    "model_export": (None, {"onnx_model", "tensorrt_engine"}),
}
REPORTED = {"seals", "simulations", "onnx_universe"}
"""Assets that no step makes: the steps of daily runs and bootstraps report them."""
CHECKS = {
    ("prices", "no_bar_in_quarantine"),
    ("prices", "no_stored_bar_is_an_outlier"),
    ("snapshots", "every_ticker_has_a_row"),
    ("features", "windows_have_no_look_ahead"),
    ("snapshots", "forecasts_are_point_in_time"),
    ("fillbacks", "active_models_are_not_degraded"),
    ("fillbacks", "interval_coverage_holds"),
    ("snapshots", "record_is_intact"),
    ("snapshots", "seals_are_published"),
    ("fillbacks", "every_due_actual_is_filled"),
    ("checkpoints", "no_training_failed"),
    ("registry", "direction_accuracy"),
    ("registry", "price_error"),
    ("registry", "leakage"),
    ("registry", "folds"),
    ("registry", "calls"),
    ("registry", "best_constant"),
    ("registry", "active_model"),
    ("registry", "gate"),
    ("prices", "prices_are_fresh"),
    ("snapshots", "snapshots_are_fresh"),
    ("fillbacks", "actuals_are_fresh"),
    ("registry", "models_are_fresh"),
    ("onnx_model", "export_agrees"),
    ("tensorrt_engine", "engine_agrees"),
}

SCHEDULES = {
    "daily_schedule",
    "retraining_schedule",
    "leaderboard_schedule",
    "freshness_schedule",
    "retention_schedule",
}
ALWAYS_ON = {"retention_schedule"}
"""Schedules that run whether or not `automation.enabled`, which neither configuration sets."""
SENSORS = {
    "gpu_pool_sensor": dg.DefaultSensorStatus.RUNNING,
    "maintenance_sensor": dg.DefaultSensorStatus.RUNNING,
    "heartbeat_sensor": dg.DefaultSensorStatus.RUNNING,
    "alert_sensor": dg.DefaultSensorStatus.RUNNING,
    "deadline_sensor": dg.DefaultSensorStatus.RUNNING,
    "new_tickers_sensor": dg.DefaultSensorStatus.STOPPED,
    "catch_up_sensor": dg.DefaultSensorStatus.STOPPED,
    "export_sensor": dg.DefaultSensorStatus.STOPPED,
}
OF_FILES = {"new_bars_sensor": dg.DefaultSensorStatus.STOPPED}
"""Only where bars come as files."""
JOBS = {
    "price_history_job",
    "bootstrap_job",
    "daily_job",
    "retraining_job",
    "leaderboard_job",
    "freshness_job",
    "retention_job",
    "export_job",
}


@pytest.fixture(scope="module", params=["universe.toml", "demo.toml"])
def definitions(request: pytest.FixtureRequest, calendar: Calendar) -> dg.Definitions:
    return definitions_for(load_settings(REPOSITORY / request.param), calendar)


def _partitions(definition: dg.PartitionsDefinition | None) -> str:
    if definition is None:
        return "none"
    if isinstance(definition, dg.MultiPartitionsDefinition):
        return "|".join(definition.partition_dimension_names)
    return "ticker"


def test_keys_groups_partitions_and_dependencies(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    found = {
        node.key.to_user_string(): (
            node.group_name,
            _partitions(node.partitions_def),
            {parent.to_user_string() for parent in node.parent_keys},
        )
        for node in graph.asset_nodes
    }
    assert found == GRAPH


def test_steps_pools_and_backfill_policies(definitions: dg.Definitions) -> None:
    found, reported = {}, set[str]()
    for assets in definitions.assets or []:
        if isinstance(assets, dg.AssetSpec):
            reported.add(assets.key.to_user_string())
            continue
        assert isinstance(assets, dg.AssetsDefinition)
        if assets.partitions_def is not None:
            assert assets.backfill_policy == dg.BackfillPolicy.single_run(), "any selection is as few runs as can be"
        pools = {assets.op.pool} if assets.op.pool else None
        found[assets.op.name] = (pools, {key.to_user_string() for key in assets.keys})
    assert found == STEPS
    assert reported == REPORTED


def test_checks(definitions: dg.Definitions) -> None:
    keys = definitions.resolve_asset_graph().asset_check_keys
    assert {(key.asset_key.to_user_string(), key.name) for key in keys} == CHECKS


def test_jobs_and_automation(definitions: dg.Definitions) -> None:
    assert {job.name for job in definitions.resolve_all_job_defs()} >= JOBS
    schedules = [each for each in definitions.schedules or [] if isinstance(each, dg.ScheduleDefinition)]
    assert {schedule.name for schedule in schedules} == SCHEDULES
    assert {each.name for each in schedules if each.default_status == dg.DefaultScheduleStatus.RUNNING} == ALWAYS_ON
    found = {sensor.name: sensor.default_status for sensor in definitions.sensors or []}
    assert found | OF_FILES == SENSORS | OF_FILES


@pytest.mark.parametrize(("job_name", "step"), [("daily_job", "daily_forecast"), ("retraining_job", "retraining")])
def test_a_daily_run_is_one_step_and_so_is_a_retraining(definitions: dg.Definitions, job_name: str, step: str) -> None:
    """What they left behind is looked at by a job of its own, on a morning after them."""
    job = definitions.resolve_job_def(job_name)
    assert {node.name for node in job.nodes} == {step}


def test_every_asset_says_what_it_is(definitions: dg.Definitions) -> None:
    for node in definitions.resolve_asset_graph().asset_nodes:
        assert node.description, node.key
        assert node.description.endswith("."), node.key


def test_every_job_schedule_sensor_check_and_configuration_field_says_what_it_is(definitions: dg.Definitions) -> None:
    described = {job.name: job.description for job in definitions.resolve_all_job_defs() if job.name in JOBS}
    described |= {each.name: each.description for each in definitions.schedules or [] if hasattr(each, "description")}
    described |= {each.name: each.description for each in definitions.sensors or []}
    described |= {each.op.name: each.op.description for each in definitions.assets or [] if hasattr(each, "op")}
    for node in [*(definitions.assets or []), *(definitions.asset_checks or [])]:
        if isinstance(node, dg.AssetsDefinition):
            described |= {f"{node.op.name} {spec.name}": spec.description for spec in node.check_specs}
            fields = node.op.config_schema.config_type.fields if node.op.config_schema.config_type else {}
            described |= {f"{node.op.name}.{name}": field.description for name, field in fields.items()}
    assert {"daily_job", "daily_schedule", "daily_forecast.simulated", "retraining.device"} <= described.keys()
    undescribed = [name for name, text in described.items() if not (text or "").endswith(".")]
    assert undescribed == []


def test_a_run_needs_one_process(definitions: dg.Definitions) -> None:
    assert definitions.executor == dg.in_process_executor
