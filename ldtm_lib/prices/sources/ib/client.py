"""The Python client of TWS, `ib_insync` or its successor `ib_async` but not both, and the thread that it runs in.

Each brings its own module `eventkit`, so that with both installed, one of them runs on the module of the other.
"""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from importlib import import_module
from importlib.util import find_spec
from typing import Any, TypeVar

from ldtm_lib.errors import ConfigurationError
from ldtm_lib.installation import pip_command

Returned = TypeVar("Returned")

MODULES = ("ib_insync", "ib_async")
RELEASE = "ib_insync==0.9.86"
"""The client to install: pyproject.toml names it in the extra `ib`."""


def client_module(find: Callable[[str], object | None] = find_spec) -> str:
    """The name of the installed client, found without importing it; raises ConfigurationError for none or two."""
    installed = [name for name in MODULES if find(name) is not None]
    if not installed:
        raise ConfigurationError(
            'source.kind is "ib", and neither ib_insync nor ib_async is installed; run '
            f"`{pip_command('install', RELEASE)}`"
        )
    if len(installed) > 1:
        raise ConfigurationError(
            "ib_insync and ib_async are both installed, and each brings its own module `eventkit`; run "
            f"`{pip_command('uninstall', 'ib_insync', 'eventkit', 'ib_async', 'aeventkit')}`, then "
            f"`{pip_command('install', RELEASE)}`"
        )
    return installed[0]


def load_client() -> Any:
    """The client's module. It is imported where an event loop runs: `eventkit` asks for one at its import."""
    return import_module(client_module())


def run_in_event_loop_thread(work: Callable[[], Coroutine[Any, Any, Returned]]) -> Returned:
    """Run a coroutine on a new event loop in a new thread, and return its result; both end with it.

    An event loop that the caller runs is not affected. If the caller is interrupted, the coroutine is cancelled and
    awaited.
    """
    started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]]] = Future()

    async def body() -> Returned:
        task = asyncio.current_task()
        assert task is not None
        started.set_result((asyncio.get_running_loop(), task))
        return await work()

    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="ib") as thread:
        outcome = thread.submit(lambda: asyncio.run(body()))
        try:
            return outcome.result()
        except BaseException:
            if not outcome.done():
                loop, task = started.result()
                loop.call_soon_threadsafe(task.cancel)
            raise
