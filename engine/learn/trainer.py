"""Training beside the run: a job goes to a low-priority process of its own, bytes come back.

The process sees the rows where the run keeps them (shared memory), so that handing them over costs the run nothing. It
is killed when it takes too long, may take no more memory than it is given, and whatever becomes of it is an answer:
nobody waits for ever, and the next job gets a process that is whole.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from multiprocessing.shared_memory import SharedMemory
from typing import Final, Literal

import msgspec
import numpy as np

from engine.learn import progress
from engine.learn.contract import ModelError, model_class
from engine.learn.jobs import LentJob, Seen, TrainJob
from engine.learn.window import HEADER, PROGRESS, Rows, WindowLost, collect

NICENESS: Final = 19
JOIN_S: Final = 5.0
START_S: Final = 120.0
ONE_THREAD: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""Libraries read these when they are loaded, which in a spawned process is before our first line."""

Reason = Literal["died", "hung", "memory", "failed"]
REASONS: Final[tuple[Reason, ...]] = ("died", "hung", "memory", "failed")

_DONE, _MEMORY, _FAILED = b"+", b"m", b"!"


class TrainingFailed(ModelError):
    """No model came of a job; the one before goes on. ``reason`` is one of ``REASONS``."""

    def __init__(self, reason: Reason, text: str) -> None:
        super().__init__(text)
        self.reason: Reason = reason


def fit(job: TrainJob) -> bytes:
    """Train the job's model and return its payload; pure and seeded, so that equal jobs give equal bytes.

    Raises:
        ModelError: the window does not do, or the result did not pass its checks.
    """
    try:
        return model_class(job.settings.use).fit(job)
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(f"model {job.settings.name}: training raised {type(error).__name__}: {error}") from error


class Worker:
    """A process that trains one job at a time: spawned, so that no state of ours leaks in, and deaf to Ctrl-C.

    ``memory_bytes`` bounds what it may allocate (None: nothing does). ``idle``: it gets only what the machine has left
    over (Linux: SCHED_IDLE); else it has the lowest usual priority. It ends with its parent, even a killed one.
    """

    def __init__(self, memory_bytes: int | None = None, *, idle: bool = False) -> None:
        context = multiprocessing.get_context("spawn")
        self._ours, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, memory_bytes, idle), name="papertape trainer", daemon=True
        )
        with _one_thread():
            self._process.start()
        theirs.close()
        self._is_met = False

    @property
    def pid(self) -> int:
        """The process."""
        assert self._process.pid is not None
        return self._process.pid

    def fit(self, job: TrainJob | LentJob, timeout_s: float) -> tuple[bytes, Seen]:
        """Train a job and wait for it, at most so long; the payload, and what rows it was trained on.

        Raises:
            TrainingFailed: no model came of it. Unless ``reason`` is ``failed`` the process is gone.
        """
        name = job.settings.name
        try:
            self._meet(name)
            self._ours.send(job)
            if not self._ours.poll(timeout_s):
                self.stop()
                raise TrainingFailed(
                    "hung",
                    f"model {name}: expected the training to end within {timeout_s:g} s, found it at work: its "
                    "process was killed; give it a longer retrain_timeout, fewer epochs or fewer window_rows",
                )
            answer = self._ours.recv_bytes()
        except (EOFError, OSError) as error:  # a pipe whose other end is gone
            raise TrainingFailed("died", f"model {name}: {self._end()}") from error
        kind, body = answer[:1], answer[1:]
        if kind == _DONE:
            length = int.from_bytes(body[:4], "little")
            return body[4 + length :], msgspec.msgpack.decode(body[4 : 4 + length], type=Seen)
        text = body.decode(errors="replace")
        if kind == _MEMORY:
            self.stop()  # what it holds is not given back otherwise
            raise TrainingFailed("memory", text)
        raise TrainingFailed("failed", text)

    def _meet(self, name: str) -> None:
        """Wait until a new process has loaded what it needs: that is no time of the training."""
        if self._is_met:
            return
        if not self._ours.poll(START_S):
            self.stop()
            raise TrainingFailed("hung", f"model {name}: expected a training process within {START_S:g} s, found none")
        self._ours.recv_bytes()
        self._is_met = True

    def _end(self) -> str:
        """Why the process is gone, in words."""
        self._process.join(JOIN_S)
        code = self._process.exitcode
        if code is None:
            self.stop()
            return "expected the training process to answer, found that it closed its pipe: it was killed"
        if code >= 0:
            return f"expected the training process to answer, found that it ended with code {code}"
        hint = ", which the system also sends where memory runs out" if -code == signal.SIGKILL else ""
        return f"expected the training process to answer, found it killed by {signal.Signals(-code).name}{hint}"

    def stop(self) -> None:
        """End the process, whatever it is at; a ``fit`` that waits in another thread gets an error."""
        if self._process.is_alive():
            self._process.kill()
        self._process.join(JOIN_S)


@contextmanager
def _one_thread() -> Iterator[None]:
    """What a process started in here inherits: its libraries add with one thread, in one order."""
    before = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update(dict.fromkeys(ONE_THREAD, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _serve(pipe: Connection, memory_bytes: int | None, idle: bool) -> None:
    """In the process: one job after the other, until the parent hangs up."""
    _settle(memory_bytes, idle)
    pipe.send_bytes(_DONE)
    while True:
        try:
            job = pipe.recv()
        except EOFError:
            return
        pipe.send_bytes(_answer(job, memory_bytes))


def _answer(job: TrainJob | LentJob, memory_bytes: int | None) -> bytes:
    name = job.settings.name
    try:
        return _fitted(job) if isinstance(job, TrainJob) else _fit_lent(job)
    except MemoryError:
        return _MEMORY + _no_memory(name, memory_bytes)
    except ModelError as error:
        if _is_memory(error):
            return _MEMORY + _no_memory(name, memory_bytes)
        return _FAILED + str(error).encode()


def _fitted(job: TrainJob) -> bytes:
    payload, seen = fit(job), msgspec.msgpack.encode(job.seen)
    return _DONE + len(seen).to_bytes(4, "little") + seen + payload


def _is_memory(error: BaseException) -> bool:
    """Whether it is about memory: torch says so in a ``RuntimeError`` of its allocator."""
    cause = error.__cause__
    return isinstance(cause, MemoryError) or (isinstance(cause, RuntimeError) and "allocate memory" in str(cause))


def _no_memory(name: str, memory_bytes: int | None) -> bytes:
    most = "the machine has" if memory_bytes is None else f"{memory_bytes >> 20} MiB (training.memory)"
    return (
        f"model {name}: expected a training within {most}, found that it wants more: allow more, or fewer window_rows "
        "or a smaller network"
    ).encode()


def _fit_lent(job: LentJob) -> bytes:
    memory = SharedMemory(job.lent.name)
    assert memory.buf is not None
    views = [np.frombuffer(memory.buf, np.int64, HEADER)]  # none may be left where the memory is closed

    def told(share: float) -> None:
        views[0][PROGRESS] = int(1e6 * min(1.0, max(0.0, share)))

    try:
        with progress.listening(told):
            return _fitted(job.with_rows(_collect(job, memory.buf)))
    finally:
        views.clear()
        memory.close()


def _collect(job: LentJob, memory: memoryview) -> Rows:
    """Copies of the rows; an error keeps no hold of the memory, which could not be closed then."""
    try:
        return collect(job.lent, memory)
    except WindowLost as error:
        lost = str(error)
    raise ModelError(f"model {job.settings.name}: {lost}")


def _settle(memory_bytes: int | None, idle: bool) -> None:
    """Give way to the engine, and let the parent decide when to stop; without it, end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(NICENESS)
    if idle and sys.platform == "linux":
        with suppress(PermissionError):  # some containers forbid it; the lowest priority is left
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    if memory_bytes is not None:
        _, most = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, most))
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()


def _end_with_parent() -> None:
    """A killed parent tells nobody: without this its worker would wait for work for ever, with all of torch loaded."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
