"""The Python client of TWS: `ib_insync`, or its successor `ib_async`, and never both of them.

Each brings a module `eventkit` of its own, so that with both installed either one runs on the other's.
"""

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from ldtm_lib.errors import ConfigurationError

MODULES = ("ib_insync", "ib_async")


def client_module(find: Callable[[str], object | None] = find_spec) -> str:
    """The name of the installed client, found without importing it; raises ConfigurationError for none or two."""
    installed = [name for name in MODULES if find(name) is not None]
    if not installed:
        raise ConfigurationError(
            'source.kind is "ib", and neither ib_insync nor ib_async is installed; run `pip install "ldtm[ib]"`'
        )
    if len(installed) > 1:
        raise ConfigurationError(
            "ib_insync and ib_async are both installed, and each brings a module `eventkit` of its own; run "
            '`pip uninstall ib_insync eventkit ib_async aeventkit`, then `pip install "ldtm[ib]"` or "ldtm[ib-async]"'
        )
    return installed[0]


def load_client() -> Any:
    """The client's module. It is imported where an event loop runs: `eventkit` asks for one at its import."""
    return import_module(client_module())
