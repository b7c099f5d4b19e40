"""Detectors that notice when a stream is no longer what it was, and how loud they may be."""

from __future__ import annotations

from engine.learn.drift.contract import Detector, DriftDetector, DriftError
from engine.learn.drift.rivers import Adwin

__all__ = ["Adwin", "Detector", "DriftDetector", "DriftError"]
