"""Fixtures of the Dagster layer's tests."""

from tests.integration.ldtm_assets.daily_runs import evening

__all__ = ["evening"]
