"""What Dagster holds of the owner's file from when it was started, and whether the file still says the same.

Partitions, schedules and sensors are made of the file once; whatever runs reads it anew. Where the two differ in what
is to be made, a run would do something else than what it was launched for, and be launched again for ever.
"""

from ldtm_lib.alerts.troubles import Trouble, end, notice
from ldtm_lib.config import Settings
from ldtm_lib.database.connection import Connection

HELD = ("tickers", "retired", "partitions", "source", "automation", "ledger", "gate")
"""The settings that definitions, schedules and sensors are made of; all others take effect with the next run."""
KEY = "settings/changed"


def settings_changed(held: Settings, now: Settings) -> str | None:
    """Which of the held settings the file says otherwise by now, and the remedy; None when it says the same."""
    changed = [name for name in HELD if getattr(held, name) != getattr(now, name)]
    if not changed:
        return None
    return (
        f"{', '.join(changed)} of {now.path.name} changed since Dagster was started; nothing is launched until "
        "`ldtm down && ldtm up`"
    )


def watch_settings(conn: Connection, held: Settings, now: Settings) -> str | None:
    """Notice that the file was changed, or end that trouble when it says the same again; returns what changed."""
    changed = settings_changed(held, now)
    if changed is None:
        end(conn, [KEY])
    else:
        name = now.path.name
        notice(conn, [Trouble(key=KEY, kind="settings", severity="error", subject=name, summary=changed)])
    return changed
