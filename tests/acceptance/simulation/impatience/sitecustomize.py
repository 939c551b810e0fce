"""Read by every Python process of the machine: what Dagster measures by the wall clock and must not, when that jumps.

Its scheduler sleeps until the next full minute: here it looks at the clock every second, so that a jump is seen. A code
server ends when a heartbeat seems older than a while, which after a jump is every one: here that while is long.
"""

import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any


def _poll_every_second(scheduler: Any) -> None:
    scheduler._get_next_scheduler_iteration_time = lambda start: start + 1


def _be_patient(context: Any) -> None:
    context.WEBSERVER_GRPC_SERVER_HEARTBEAT_TTL = 1_000_000


CHANGES: dict[str, Callable[[Any], None]] = {
    "dagster._scheduler.scheduler": _poll_every_second,
    "dagster._core.workspace.context": _be_patient,
}


class Changer:
    """Finds the modules that are to be changed, and changes them once they are loaded."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        del target
        if name not in CHANGES or (spec := PathFinder.find_spec(name, path)) is None:
            return None
        load = spec.loader.exec_module  # type: ignore[union-attr]

        def load_and_change(module: ModuleType) -> None:
            load(module)
            CHANGES[name](module)

        spec.loader.exec_module = load_and_change  # type: ignore[union-attr,method-assign]
        return spec


sys.meta_path.insert(0, Changer)  # type: ignore[arg-type]
