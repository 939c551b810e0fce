"""Fixtures of the Dagster layer's tests."""

from tests.integration.dagster_storage import copied_template
from tests.integration.ldtm_assets.daily_runs import daily_run

__all__ = ["copied_template", "daily_run"]
