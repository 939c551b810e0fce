"""An installation whose sensors tick at chosen moments."""

from tests.integration.ldtm_assets.automation.sensor_ticks import in_service_since, instance, project, tick

__all__ = ["in_service_since", "instance", "project", "tick"]
