"""The models' windows in shared memory, where a trainer's process reads them without the loop copying anything."""

from __future__ import annotations

import os
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import Final

import structlog

from engine.learn.models import Models
from engine.learn.window import Window

log = structlog.get_logger("papertape.training")

FILES: Final = Path("/dev/shm")
"""Where Linux keeps shared memory."""


class SharedWindows:
    """Moves the window of every trained model into shared memory, and out of it again at the end.

    Where there is too little of it, a window stays where it is and its rows are copied for each training; a warning
    says so once.
    """

    def __init__(self, models: Models | None) -> None:
        self._moved: list[tuple[Window, SharedMemory]] = []
        slots = [models.slot(name) for name in models.names] if models is not None else []
        for slot in slots:
            if slot.model.is_trained:
                self._move(slot.settings.name, slot.window)

    def _move(self, model: str, window: Window) -> None:
        try:
            memory = SharedMemory(create=True, size=window.size)
        except OSError as error:
            _tell(model, window, error)
            return
        try:
            _reserve(memory)
        except OSError as error:
            memory.close()
            memory.unlink()
            _tell(model, window, error)
            return
        assert memory.buf is not None
        window.settle(memory.buf, memory.name)
        self._moved.append((window, memory))

    def close(self) -> None:
        """Take the rows back and give the shared memory up."""
        for window, memory in self._moved:
            window.settle(bytearray(window.size))
            memory.close()
            memory.unlink()
        self._moved = []


def _reserve(memory: SharedMemory) -> None:
    """Have the system set all of it aside now: a write to a page that it cannot give later would kill the process."""
    path = FILES / memory.name
    if path.exists():
        handle = os.open(path, os.O_RDWR)
        try:
            os.posix_fallocate(handle, 0, memory.size)
        finally:
            os.close(handle)


def _tell(model: str, window: Window, error: OSError) -> None:
    log.warning(
        "window is not shared",
        model=model,
        expected=f"{window.size >> 20} MiB of shared memory",
        found=error.strerror,
        consequence="its rows are copied for each training, which can hold the loop up for milliseconds",
        advice="more shared memory (docker: --shm-size) or fewer window_rows",
    )
