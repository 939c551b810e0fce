"""Whether schedules and sensors are on before an owner has touched them in the pages."""

import dagster as dg

from ldtm_lib.settings import Settings


def schedule_status(settings: Settings) -> dg.DefaultScheduleStatus:
    """On with `automation.enabled`, else off until somebody starts it."""
    return dg.DefaultScheduleStatus.RUNNING if settings.automation.enabled else dg.DefaultScheduleStatus.STOPPED


def sensor_status(settings: Settings) -> dg.DefaultSensorStatus:
    """The same of sensors that launch runs."""
    return dg.DefaultSensorStatus.RUNNING if settings.automation.enabled else dg.DefaultSensorStatus.STOPPED
