"""The alert that networks on a GPU are not trained by the fastest method."""

from collections.abc import Sequence

from ldtm_lib.alerts.alert import Alert, open_alerts, raise_alerts, resolve_alerts
from ldtm_lib.database.connection import Connection
from ldtm_lib.models.on_gpu.notice import TrainingNotice

KEY = "gpu/training"


def tell_of_the_gpu(conn: Connection, notices: Sequence[TrainingNotice]) -> None:
    """Raise a warning if a training stepped down to a slower method; resolve it if not.

    The alert belongs to no session: while it is open, it is notified once.
    """
    steps = [notice.text for notice in notices if notice.is_step_down]
    if not steps:
        resolve_alerts(conn, [KEY])
        return
    raise_alerts(
        conn,
        [
            Alert(
                key=KEY,
                kind="training",
                severity="warning",
                subject="GPU",
                summary=f"networks are not trained by the fastest method: {'; '.join(steps)}",
            )
        ],
    )


def slow_training(conn: Connection) -> str | None:
    """Reason why the newest training on a GPU stepped down; None if it did not."""
    return next((alert.summary for alert in open_alerts(conn) if alert.key == KEY), None)
