"""Finds the programs that some tests need: a real Redis, promtool, systemd-analyze."""

from __future__ import annotations

import os
import shutil

import pytest

PACKAGES = {
    "redis-server": "redis-server",
    "openssl": "openssl",
    "promtool": "prometheus",
    "systemd-analyze": "systemd",
}
"""The Debian package that brings each program."""


def require(binary: str) -> str:
    """The path of a program; without it the test is skipped, or fails where PAPERTAPE_REQUIRE_SERVICES=1."""
    path = shutil.which(binary)
    if path is not None:
        return path
    reason = f"{binary} is not installed (Debian package {PACKAGES.get(binary, binary)})"
    if os.environ.get("PAPERTAPE_REQUIRE_SERVICES") == "1":
        pytest.fail(f"PAPERTAPE_REQUIRE_SERVICES=1, but {reason}")
    pytest.skip(reason)
