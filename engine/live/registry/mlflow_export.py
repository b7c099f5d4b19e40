"""Versions as runs of an MLflow store, written through the ``mlflow`` package: for those who compare models there.

An experiment a model, a run a version: its settings as parameters, scores as metrics, and as artifacts the card, the
payload, and of each network in it the weights (safetensors) and the graph (ONNX). Versions that are there stay as they
are.
"""

from __future__ import annotations

import importlib
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import safetensors.numpy

from engine.live.registry.payloads import networks
from engine.live.registry.shelf import RegistryError, Shelf, Version, live_told, version_told
from engine.live.registry.words import SHORT, card_markdown

VERSION_TAG: Final = "papertape.version"
LONGEST: Final = 500
"""Characters of a parameter that every MLflow store takes."""


class Exported(NamedTuple):
    """How many runs were written and how many were there already."""

    uri: str
    runs: int
    there: int


def export(shelf: Shelf, out: str, progress: Callable[[int], None] | None = None) -> Exported:
    """Write all versions that have a card; ``out`` is a folder or the address of a store (``http://…``, ``sqlite://…``).

    Raises:
        RegistryError: mlflow is not installed, or refuses.
    """
    mlflow = _mlflow()
    uri = out if "://" in out else Path(out).resolve().as_uri()
    if uri.startswith("file:"):
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # from 3.7 on a store of files must be asked for
    runs = there = 0
    try:
        client = mlflow.MlflowClient(tracking_uri=uri)
        for model in shelf.models:
            cards = [one for one in shelf.versions(model) if one.card is not None]
            if not cards:
                continue
            experiment = _experiment(client, f"papertape {model}")
            for one in cards:
                if _is_there(client, experiment, one.version):
                    there += 1
                    continue
                _write(client, experiment, shelf, one)
                runs += 1
                if progress is not None:
                    progress(runs)
    except mlflow.exceptions.MlflowException as error:
        first = str(error).splitlines()[0]
        raise RegistryError(f"{uri}: expected an MLflow store that takes runs, found: {first}") from error
    return Exported(uri, runs, there)


def _mlflow() -> Any:
    try:
        return importlib.import_module("mlflow")
    except ImportError as error:
        raise RegistryError(
            "models export: expected the package mlflow, found none; install it with pip install 'papertape[mlflow]'"
        ) from error


def _experiment(client: Any, name: str) -> str:
    found = client.get_experiment_by_name(name)
    return str(found.experiment_id if found is not None else client.create_experiment(name))


def _is_there(client: Any, experiment: str, version: str) -> bool:
    return bool(client.search_runs([experiment], f"tags.`{VERSION_TAG}` = '{version}'", max_results=1))


def _write(client: Any, experiment: str, shelf: Shelf, one: Version) -> None:
    card = one.card
    assert card is not None
    begun_ms = card.requested_ns // 1_000_000
    tags = {
        VERSION_TAG: one.version,
        "papertape.state": one.state,
        "papertape.parent": card.parent,
        "papertape.trigger": card.trigger,
        "mlflow.runName": one.version[:SHORT],
    }
    run = client.create_run(experiment, start_time=begun_ms, tags=tags).info.run_id
    for name, value in _parameters(shelf, one):
        client.log_param(run, name, value[:LONGEST])
    for kind, scores in (("holdout", card.holdout), ("live", live_told(one.live))):
        for name, score in scores.items():
            if score is not None:
                client.log_metric(run, f"{kind}.{name}", float(score), timestamp=begun_ms)
    with tempfile.TemporaryDirectory() as folder:
        for name, data in _artifacts(shelf, one):
            path = Path(folder) / name
            path.write_bytes(data)
            client.log_artifact(run, str(path))
    client.set_terminated(run, end_time=begun_ms + round(card.seconds * 1000))


def _parameters(shelf: Shelf, one: Version) -> Iterator[tuple[str, str]]:
    card = one.card
    assert card is not None
    lineage = shelf.lineages.get(card.lineage)
    for name, value in (lineage.settings if lineage is not None else {}).items():
        yield f"settings.{name}", str(value)
    for name, value in msgspec.to_builtins(card.window).items():
        yield f"window.{name}", str(value)
    yield "features", card.features.sha256
    yield "training.seed", str(card.seed)
    yield "papertape", card.papertape


def _artifacts(shelf: Shelf, one: Version) -> Iterator[tuple[str, bytes]]:
    card = one.card
    assert card is not None
    yield "card.json", msgspec.json.format(msgspec.json.encode(version_told(one)), indent=1)
    yield "card.md", card_markdown(version_told(one)).encode()
    if not one.has_payload:
        return
    payload = shelf.payload(one.version)
    yield f"{one.version}.ptm", payload
    for name, network in networks(payload, card.features.sha256):
        if isinstance(network, str):
            continue
        stem = f"{name}." if name else ""
        yield f"{stem}weights.safetensors", safetensors.numpy.save(network.weights)
        if network.graph:
            yield f"{stem}graph.onnx", network.graph
