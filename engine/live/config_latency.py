"""``[paper.latency]``: how latencies vary, and the file of recorded ones."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import polars as pl
from pydantic import Field, model_validator

from engine.core.venue.latency import LatencySettings, LatencyTape
from engine.live.config_section import Section
from engine.live.durations import Duration

ROWS: Final = 2_000_000
"""A tape of latencies may hold so many rows."""

LONGEST_NS: Final = 3_600 * 10**9


class LatencyFileError(ValueError):
    """A file of latencies that cannot be used; the text says what was expected and found."""


class LatencySection(Section):
    """How latencies vary; ``out``, ``back`` and ``feed`` stand over those of ``[paper]``.

    ``file`` is CSV or parquet with ``out_ns, back_ns`` and, if known, ``ns`` (engine time) and ``feed_ns``; or
    hftbacktest's ``req_ts, exch_ts, resp_ts``. ``sha256`` is filled in, so that a replay uses the same content.
    """

    kind: Literal["constant", "jitter", "measured", "tape"] = "constant"
    out: Duration | None = None
    back: Duration | None = None
    feed: Duration | None = None
    amend_out: Duration | None = None
    cancel_out: Duration | None = None
    fill_back: Duration | None = None
    seed: int = Field(default=1, ge=0)
    shape: Literal["lognormal", "gamma"] = "lognormal"
    spread: float = Field(default=0.3, gt=0, le=2)
    cap: Duration = 1_000_000_000
    window: int = Field(default=32, ge=1, le=1024)
    draw: Literal["median", "sample"] = "median"
    processing: Duration = 0
    file: str = ""
    sha256: str = Field(default="", pattern=r"^(|[0-9a-f]{64})$")

    @model_validator(mode="before")
    @classmethod
    def _fix_content(cls, data: Any) -> Any:
        if not isinstance(data, Mapping) or data.get("kind") != "tape":
            return data
        if not isinstance(data.get("file"), str) or not data["file"]:
            raise ValueError('a file of latencies for kind = "tape": file = "latencies.csv"')
        content = _content(Path(data["file"]))
        found = hashlib.sha256(content).hexdigest()
        wanted = data.get("sha256") or found
        if wanted != found:
            raise ValueError(f"{data['file']} with the SHA-256 {wanted}, found other content ({found})")
        parse_latencies(content, data["file"])
        return {**data, "sha256": found}

    @model_validator(mode="after")
    def _fits(self) -> LatencySection:
        if self.shape == "gamma" and self.spread > 1:
            raise ValueError(f"a spread of at most 1 with gamma, found {self.spread:g}")
        if self.kind == "measured" and (self.out is not None or self.back is not None):
            raise ValueError('no out and back with kind = "measured": [paper] has what counts until the first ping')
        return self


def latency_settings(section: LatencySection | None) -> LatencySettings | None:
    """The section in the core's words.

    Raises:
        LatencyFileError: the file changed since the config was read.
    """
    if section is None:
        return None
    tape = parse_latencies(_content(Path(section.file)), section.file) if section.kind == "tape" else None
    return LatencySettings(
        kind=section.kind,
        seed=section.seed,
        amend_out_ns=section.amend_out,
        cancel_out_ns=section.cancel_out,
        fill_back_ns=section.fill_back,
        shape=section.shape,
        spread=section.spread,
        cap_ns=section.cap,
        window=section.window,
        draw=section.draw,
        processing_ns=section.processing,
        is_feed_set=section.feed is not None,
        tape=tape,
    )


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise LatencyFileError(f"a readable file of latencies, found {path}: {error.strerror or error}") from error


def parse_latencies(content: bytes, name: str) -> LatencyTape:
    """A file of latencies, CSV or parquet by its content.

    >>> parse_latencies(b"ns,out_ns,back_ns\\n0,10,20\\n5,30,40\\n", "a.csv")
    LatencyTape(at_ns=[0, 5], out_ns=[10, 30], back_ns=[20, 40], feed_ns=[])
    >>> parse_latencies(b"req_ts,exch_ts,resp_ts\\n100,110,125\\n", "h.csv")
    LatencyTape(at_ns=[100], out_ns=[10], back_ns=[15], feed_ns=[])

    Raises:
        LatencyFileError: no such table, or values that no latency can have.
    """
    try:
        read = pl.read_parquet if content[:4] == b"PAR1" else pl.read_csv
        frame = read(io.BytesIO(content))
    except pl.exceptions.PolarsError as error:
        raise LatencyFileError(f"CSV or parquet, found {name}: {error}") from error
    if {"req_ts", "exch_ts", "resp_ts"} <= set(frame.columns):
        sent, there, heard = (frame[column] for column in ("req_ts", "exch_ts", "resp_ts"))
        frame = pl.DataFrame({"ns": sent, "out_ns": there - sent, "back_ns": heard - there})
    if not {"out_ns", "back_ns"} <= set(frame.columns):
        raise LatencyFileError(f"columns out_ns and back_ns, found {', '.join(frame.columns)} in {name}")
    if not 1 <= frame.height <= ROWS:
        raise LatencyFileError(f"1 to {ROWS} rows, found {frame.height} in {name}")
    columns: dict[str, list[int]] = {}
    for column in ("ns", "out_ns", "back_ns", "feed_ns"):
        if column not in frame.columns:
            columns[column] = []
            continue
        values = frame[column]
        if not values.dtype.is_integer() or values.null_count():
            raise LatencyFileError(f"whole nanoseconds in column {column}, found {values.dtype} or gaps in {name}")
        columns[column] = values.to_list()
        if column != "ns" and not (min(columns[column]) >= 0 and max(columns[column]) <= LONGEST_NS):
            raise LatencyFileError(f"latencies of 0 to {LONGEST_NS} ns in column {column}, found others in {name}")
    if columns["ns"] and bool((np.diff(np.asarray(columns["ns"])) <= 0).any()):
        raise LatencyFileError(f"times that rise from row to row in column ns, found others in {name}")
    return LatencyTape(columns["ns"], columns["out_ns"], columns["back_ns"], columns["feed_ns"])
