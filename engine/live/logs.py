"""Structured logs: one JSON object a line in the state directory, and on standard error when no terminal is watched."""

from __future__ import annotations

import logging
import queue
import sys
from logging.handlers import QueueHandler, QueueListener, RotatingFileHandler
from pathlib import Path

import structlog

FILE_BYTES = 10_000_000
FILES = 3


class Logs:
    """Where log lines go; writing happens in a thread, never on the loop."""

    def __init__(self, file: Path | None, *, to_stderr: bool) -> None:
        handlers: list[logging.Handler] = []
        if file is not None:
            handlers.append(_File(file, maxBytes=FILE_BYTES, backupCount=FILES, encoding="utf-8"))
        if to_stderr:
            handlers.append(logging.StreamHandler(sys.stderr))
        shared: list[structlog.typing.Processor] = [
            structlog.stdlib.add_logger_name,
            structlog.stdlib.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
        ]
        formatter = structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(default=str),
            ],
        )
        for handler in handlers:
            handler.setFormatter(formatter)
        self._handlers = handlers
        self._queue: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
        self._listener = QueueListener(self._queue, *handlers)
        root = logging.getLogger()
        self._root_handlers = list(root.handlers)
        root.handlers = [_Pass(self._queue)]
        root.setLevel(logging.INFO)
        logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
        structlog.configure(
            processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
            logger_factory=structlog.stdlib.LoggerFactory(),
            wrapper_class=structlog.stdlib.BoundLogger,
            cache_logger_on_first_use=False,
        )
        self._listener.start()

    def close(self) -> None:
        """Write what waits and let go of the files."""
        self._listener.stop()
        for handler in self._handlers:
            handler.close()
        logging.getLogger().handlers = self._root_handlers


class _File(RotatingFileHandler):
    """A full disk is one line for the person at the terminal, not a traceback a line."""

    _is_told = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name is logging's
        if not self._is_told:
            self._is_told = True
            sys.stderr.write(f"papertape: {self.baseFilename}: expected room for the log, found: {sys.exc_info()[1]}\n")


class _Pass(QueueHandler):
    """Hands records on as they are: the listener formats them, off the loop."""

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        return record
