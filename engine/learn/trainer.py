"""Training beside the run: a job goes to a low-priority process of its own, bytes come back."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor

from engine.learn.contract import ModelError, TrainJob, model_class

NICENESS = 19


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


def make_pool(workers: int = 1) -> ProcessPoolExecutor:
    """Processes for ``fit``: spawned (no state of ours leaks in), at the lowest priority, deaf to Ctrl-C.

    A worker that dies breaks the pool (``BrokenProcessPool`` from the future): make a new one and go on.
    """
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_settle)


def _settle() -> None:
    """In the worker: give way to the engine, and let the parent decide when to stop; without it, end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(NICENESS)
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()


def _end_with_parent() -> None:
    """A killed parent tells nobody: without this its worker would wait for work for ever, with all of torch loaded."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
