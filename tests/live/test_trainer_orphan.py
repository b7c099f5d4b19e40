"""The trainer's process does not outlive a daemon that was killed."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import os, signal
from engine.learn.trainer import Worker
if __name__ == "__main__":
    print(Worker().pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_worker_ends_with_its_killed_parent() -> None:
    """The worker inherits the pipe, so reading it comes to an end only when the worker has ended too."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == -9
    assert done.stdout.strip().isdigit()
