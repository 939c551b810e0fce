"""Alerts as lines of a log: there whatever else is configured."""

import logging
from collections.abc import Mapping

from ldtm_lib.alerts.protocol import Alert, Severity

LEVELS: Mapping[Severity, int] = {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class LogLines:
    """A logger that alerts are written to, each as one entry."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log

    @property
    def name(self) -> str:
        """What it is."""
        return "log"

    def send(self, alert: Alert) -> None:
        """Write one alert."""
        self._log.log(LEVELS[alert.severity], alert.text)
