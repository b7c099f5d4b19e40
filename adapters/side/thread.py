"""A thread of its own for work that may take long, or never end: what hangs in it holds up nobody else."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Final, NamedTuple

PAUSE_S: Final = 1e-4


def give_way() -> None:
    """Let the loop's thread have the interpreter, which this one would keep for 5 ms at a time."""
    time.sleep(PAUSE_S)


class _Job(NamedTuple):
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[Any]
    function: Callable[..., Any]
    arguments: tuple[Any, ...]


class OwnThread:
    """Call it with a function and its arguments and await what comes back, or its exception.

    A scorer of a user's may hang. In the loop's common threads it would take one from everybody, and the process would
    wait for it at its end; this thread is a daemon, which no end waits for.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    async def __call__(self, function: Callable[..., Any], *arguments: Any) -> Any:
        loop = asyncio.get_running_loop()
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name=self._name, daemon=True)
            self._thread.start()
        done: asyncio.Future[Any] = loop.create_future()
        self._jobs.put(_Job(loop, done, function, arguments))
        return await done

    def close(self) -> None:
        """Let the thread end once it has done what it was asked; nobody waits for it."""
        self._jobs.put(None)

    def _serve(self) -> None:
        while (job := self._jobs.get()) is not None:
            result, error = None, None
            try:
                result = job.function(*job.arguments)
            except BaseException as caught:  # noqa: BLE001 - it is raised where it was asked for
                error = caught
            try:
                job.loop.call_soon_threadsafe(_settle, job.done, result, error)
            except RuntimeError:  # the loop has ended meanwhile, and with it whoever asked
                return


def _settle(done: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if done.cancelled():
        return
    if error is None:
        done.set_result(result)
    else:
        done.set_exception(error)
