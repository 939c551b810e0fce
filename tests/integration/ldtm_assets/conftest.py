"""Fixtures of the Dagster layer's tests."""

from tests.integration.ldtm_assets.daily_runs import daily_run

__all__ = ["daily_run"]
