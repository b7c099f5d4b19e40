"""Work that would hold the loop up, in a process of its own: lowest priority, one order in, one answer out.

A thread would not do: most of that work is Python, and there is one interpreter lock. The process ends with the daemon,
however that ends, for it hears that its input was closed.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import engine

NICENESS: Final = 19
ROOT: Final = Path(engine.__file__).resolve().parent.parent


class BesideError(Exception):
    """The process ended without an answer; the text has its code and its last words."""


async def beside(module: str, order: bytes) -> bytes:
    """Run ``python -m MODULE``, whose main calls ``serve``; the answer to an order of one line.

    Cancelled, it kills the process and waits until that is gone.

    Raises:
        BesideError: it ended otherwise, was killed, or could not be started.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            module,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=_environment(os.environ),
            start_new_session=True,  # Ctrl-C is for the daemon
        )
    except OSError as error:
        raise BesideError(f"{module}: expected to start it, found: {error.strerror or error}") from error
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    words = asyncio.ensure_future(process.stderr.read())
    try:
        process.stdin.write(order + b"\n")
        answer = await process.stdout.readline()
        code = await process.wait()
        process.stdin.close()  # not before: a closed input ends it
        told = (await words).decode("utf-8", "backslashreplace").strip()
    except asyncio.CancelledError:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await words
        raise
    if code or not answer.endswith(b"\n"):
        last = told.splitlines()[-1] if told else "nothing"
        raise BesideError(f"{module}: expected an answer, found that it ended with code {code} and said: {last}")
    return answer[:-1]


def serve(work: Callable[[bytes], bytes]) -> None:
    """The other side: read one order, do the work, say one line; end at once where nobody waits for it any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(NICENESS)
    order = sys.stdin.buffer.readline()
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    answer = work(order[:-1])
    os.write(sys.stdout.fileno(), answer + b"\n")
    os._exit(0)  # the thread holds the input's lock: an orderly end would wait for it


def _end_with_parent() -> None:
    while os.read(0, 1024):
        pass
    os._exit(1)


def _environment(now: Mapping[str, str]) -> dict[str, str]:
    """Ours, so that the same engine is found there as here."""
    path = now.get("PYTHONPATH", "")
    return {**now, "PYTHONPATH": f"{ROOT}{os.pathsep}{path}" if path else str(ROOT)}
