"""Where the recordings are that others made: read-only, and no part of this repository."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def recordings() -> Path:
    """The folder of recordings, from ``PAPERTAPE_DATA`` or beside the repository; skips the test where it is absent."""
    path = Path(os.environ.get("PAPERTAPE_DATA", "") or ROOT.parent / "shared" / "data")
    if not path.is_absolute():
        path = ROOT / path
    if not path.is_dir():
        pytest.skip(f"the recordings are not at {path}: set PAPERTAPE_DATA")
    return path
