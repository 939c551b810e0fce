"""An installation whose sensors tick at chosen moments."""

from tests.integration.ldtm_assets.automation.sensor_ticks import instance, project, tick

__all__ = ["instance", "project", "tick"]
