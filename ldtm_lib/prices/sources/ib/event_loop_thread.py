"""Run a coroutine to its end from plain code, whatever the calling thread runs."""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

Result = TypeVar("Result")


def run_apart(work: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
    """What a coroutine returns, run on an event loop of its own in a thread of its own; both are gone afterwards.

    An event loop that the caller runs is thus left alone. When the caller is interrupted, the work is cancelled and
    waited for.
    """
    started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]]] = Future()

    async def body() -> Result:
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
