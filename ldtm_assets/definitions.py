"""The code location: every asset, check, job, schedule and sensor, for one configuration file."""

import os
import warnings

import dagster as dg

from ldtm_assets.alerting.sensor import alert_sensor
from ldtm_assets.asset_checks.freshness import freshness_checks
from ldtm_assets.assets.daily_forecast import daily_forecast
from ldtm_assets.assets.exports import exports
from ldtm_assets.assets.leaderboard import leaderboard
from ldtm_assets.assets.onnx_model import onnx_universe_spec
from ldtm_assets.assets.prices import price_history
from ldtm_assets.assets.retraining import retraining
from ldtm_assets.assets.seals import seals_spec
from ldtm_assets.assets.simulations import simulations_spec
from ldtm_assets.automation.catch_up import catch_up_sensor, deadline_sensor
from ldtm_assets.automation.exports import export_sensor
from ldtm_assets.automation.gpu_pool import gpu_pool_sensor
from ldtm_assets.automation.heartbeat import heartbeat_sensor
from ldtm_assets.automation.maintenance import maintenance_sensor
from ldtm_assets.automation.new_bars import new_bars_sensor
from ldtm_assets.automation.new_tickers import new_tickers_sensor
from ldtm_assets.automation.schedules import all_schedules
from ldtm_assets.jobs import JOBS
from ldtm_assets.partitions import DailyLayout, by_ticker
from ldtm_assets.resources import ProjectResource
from ldtm_assets.training.progress import LogLines, TrainingReporter
from ldtm_lib.project import config_path
from ldtm_lib.sessions import Calendar, exchange_calendar
from ldtm_lib.settings import Settings, load_settings


@dg.definitions
def defs() -> dg.Definitions:
    """The definitions for the configuration that LDTM_CONFIG names."""
    path = config_path(os.environ)
    return definitions_for(load_settings(path), exchange_calendar())


def definitions_for(settings: Settings, calendar: Calendar, reporter: TrainingReporter | None = None) -> dg.Definitions:
    """The definitions for some settings. The steps of a run share its process, whatever the number of tickers."""
    with warnings.catch_warnings():
        # warnings about partition mappings, backfill policies and partitions of checks: Dagster is pinned below 1.14
        for unfinished in (dg.BetaWarning, dg.PreviewWarning):
            warnings.simplefilter("ignore", unfinished)
        tickers, layout = by_ticker(settings), DailyLayout(settings, calendar)
        assets = [
            price_history(tickers),
            daily_forecast(layout),
            retraining(tickers, strict=settings.gate.strict),
            leaderboard,
            exports(tickers),
            onnx_universe_spec(),
            seals_spec(),
            simulations_spec(),
        ]
    project = ProjectResource(config_path=str(settings.path))
    return dg.Definitions(
        assets=assets,
        asset_checks=[freshness_checks],
        jobs=JOBS,
        schedules=all_schedules(project.open, settings, calendar),
        sensors=[
            gpu_pool_sensor(project.open),
            maintenance_sensor(project.open, settings),
            heartbeat_sensor(project.open),
            alert_sensor(project.open),
            catch_up_sensor(project.open, settings, calendar),
            deadline_sensor(project.open, settings, calendar),
            new_tickers_sensor(project.open, settings, calendar),
            export_sensor(project.open, settings),
            *([new_bars_sensor(project.open, settings, calendar)] if settings.source.kind == "files" else []),
        ],
        resources={
            "project": project,
            "reporter": dg.ResourceDefinition.hardcoded_resource(reporter or LogLines()),
        },
        executor=dg.in_process_executor,
    )
