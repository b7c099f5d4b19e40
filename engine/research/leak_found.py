"""One leak, as every test tells it."""

from __future__ import annotations

import msgspec


class Leak(msgspec.Struct, frozen=True):
    """``test`` is a key of ``TESTS`` in leaks.py, ``what`` the feature or part, ``size`` the test's own measure."""

    test: str
    what: str
    size: float
    detail: str
