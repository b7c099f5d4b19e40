"""From a folder to its report: the tables are there, or the run's tape is replayed to get them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from engine.research.loading import run_tapes
from engine.research.outputs import SUMMARY
from engine.research.replay import replay
from engine.research.report import render
from engine.research.report_data import ReportError, Run, load_run

PAGE = "report.html"


def report_run(folder: Path, target: Path | None = None, progress: Callable[[int], None] | None = None) -> Path:
    """Write the report of a replay's output or of a daemon's folder, and return its path.

    A daemon's folder holds its tapes; those of the latest run are replayed, which gives it again, record for record.
    What only the live run knows (latencies) comes from its ``run.json``.

    Raises:
        ReportError: the folder is neither, or the page cannot be written.
    """
    if folder.name == SUMMARY:
        folder = folder.parent
    if (folder / SUMMARY).exists():
        return _write(load_run(folder), target or folder / PAGE, folder.name)
    tapes = run_tapes(folder)
    if not tapes:
        raise ReportError(
            f"{folder}: expected what replay --out wrote, or a daemon's folder with tape/*.ptz, found neither: "
            "run with [record] enabled, or replay --out first"
        )
    with tempfile.TemporaryDirectory(prefix="papertape-report-") as place:
        out = Path(place) / "run"
        result = replay(tapes, out=out, allow_torn=True, progress=progress)
        run = load_run(out)
        live = _live(folder / "run.json")
        run.summary["latency_us"] = live.get("latency_us", run.summary["latency_us"])
        if live and live.get("digest") not in (None, result.digest):
            run.summary["why"].append(
                f"the live run ended with the digest {live['digest']}, its tape gives {result.digest}: "
                "this page shows the tape"
            )
        return _write(run, target or folder / PAGE, folder.name)


def _write(run: Run, target: Path, title: str) -> Path:
    partial = target.with_name(f".{target.name}.partial")
    page = render(run, title)
    try:
        partial.write_text(page, encoding="utf-8")
        return partial.replace(target)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise ReportError(f"{target}: expected a place to write to, found: {error.strerror}") from error


def _live(path: Path) -> dict[str, Any]:
    """What the daemon wrote at its end; nothing where it did not get that far."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.DecodeError):
        return {}
