"""Detectors that notice when a stream is no longer what it was, and how loud they may be."""

from __future__ import annotations

from engine.learn.drift.contract import Detector, DriftDetector, DriftError

__all__ = ["Detector", "DriftDetector", "DriftError"]
