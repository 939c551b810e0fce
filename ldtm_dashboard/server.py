"""The web server of the dashboard: a separate Streamlit process, bound to loopback and without telemetry."""

import importlib.util
import sys
from pathlib import Path

from ldtm_lib.errors import MissingExtra
from ldtm_lib.installation import pip_command

LOOPBACK = "127.0.0.1"
EXTRA = "dashboard"
UPLOAD_MB = 2
"""Size of an uploaded proof; one of 40 events has 30 kB."""
APP = Path(__file__).with_name("app.py")
PROCESS = "ldtm_dashboard.process"
"""The module that imports the pages and then becomes Streamlit: the first visitor does not wait for imports."""


def require_extra() -> None:
    """Raise MissingExtra, with the command that installs it, if Streamlit or Altair is missing."""
    missing = [name for name in ("streamlit", "altair") if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingExtra(
            f"the dashboard needs {' and '.join(missing)}, of the extra `{EXTRA}`; run "
            + pip_command("install", f"ldtm[{EXTRA}]")
        )


def server_command(port: int, *, host: str = LOOPBACK) -> list[str]:
    """The command line of the server; a configuration file of Streamlit changes none of these settings."""
    settings = {
        "server.address": host,
        "server.port": str(port),
        "server.headless": "true",
        "server.enableXsrfProtection": "true",
        "server.enableCORS": "true",
        "server.maxUploadSize": str(UPLOAD_MB),
        "server.fileWatcherType": "none",
        "server.runOnSave": "false",
        "server.enableStaticServing": "false",
        "browser.gatherUsageStats": "false",
        "browser.serverAddress": "localhost",
        "client.toolbarMode": "minimal",
        "client.showErrorDetails": "none",
        "global.developmentMode": "false",
        "runner.magicEnabled": "false",
        "theme.base": "light",
        "theme.textColor": "#000000",
        "theme.headingFontSizes": '["2.1rem","1.4rem","1.1rem"]',
    }
    options = [word for name, value in settings.items() for word in (f"--{name}", value)]
    return [sys.executable, "-m", PROCESS, "run", str(APP), *options]
