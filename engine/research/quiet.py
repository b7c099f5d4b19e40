"""Log lines of programs whose standard output is their result."""

from __future__ import annotations

import logging
import sys

import structlog


def be_quiet(least: int = logging.WARNING) -> None:
    """Write those of at least this level to standard error, and no others."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
