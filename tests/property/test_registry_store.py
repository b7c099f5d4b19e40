"""The store as a machine: content under its hash, nothing ever altered, whatever fails in between."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from unittest.mock import patch

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from engine.live.registry.log import NAME, Event, read_log
from engine.live.registry.registry import Registry
from engine.live.registry.shelf import Shelf
from engine.live.registry.store import CARD, PAYLOAD, Store, content_name
from engine.live.registry.verify import verify
from tests.registry import job, store

PAYLOADS = st.sampled_from([b"1.5", b"-2.0", b"0.25", b"x" * 5000])
NAMES = st.sampled_from(["m", "n"])


class Machine(RuleBasedStateMachine):
    """Beside the files a dict of what must be there, and the events in their order."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.registry = Registry(self.folder)
        self.log = Store(self.folder)
        self.payloads: dict[str, bytes] = {}
        self.files: dict[str, bytes] = {}
        self.told: list[tuple[str, str]] = []

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    @rule(payload=PAYLOADS, name=NAMES, seed=st.integers(0, 3))
    def store(self, payload: bytes, name: str, seed: int) -> None:
        version = content_name(payload)
        store(self.registry, job(name, seed=seed), version, payload, 0.1)
        self.payloads[version] = payload
        self.told.append((name, version))

    @rule(payload=PAYLOADS, name=NAMES, after=st.integers(0, 2))
    def store_on_a_full_disk(self, payload: bytes, name: str, after: int) -> None:
        """The disk takes so many files, and then no more."""
        left, sync = [after], os.fsync

        def full(handle: int) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            sync(handle)

        version, was = content_name(payload), len(self._events())
        with patch("engine.live.registry.store.os.fsync", full), suppress(OSError):
            store(self.registry, job(name), version, payload, 0.1)
        if len(self._events()) > was:
            self.told.append((name, version))
        if (self.folder / f"{version}{PAYLOAD}").exists():
            self.payloads[version] = payload

    @rule()
    def a_new_session(self) -> None:
        self.registry = Registry(self.folder)

    @rule(kept=st.integers(1, 40))
    def killed_within_a_line(self, kept: int) -> None:
        with (self.folder / NAME).open("ab") as file:
            file.write(b'0123456789abcdef {"what":"swapped"}'[:kept])
        self.registry = Registry(self.folder)

    @rule(name=NAMES)
    def heard(self, name: str) -> None:
        store = Store(self.folder)
        store.append([Event(what="swapped", model=name)])
        self.told.append((name, ""))
        self.registry = Registry(self.folder)

    def _events(self) -> list[Event]:
        return read_log(self.folder / NAME).events

    @invariant()
    def payloads_are_what_their_names_say(self) -> None:
        found = {path.name.removesuffix(PAYLOAD): path.read_bytes() for path in self.folder.glob(f"*{PAYLOAD}")}
        assert found == self.payloads
        assert all(content_name(data) == version for version, data in found.items())

    @invariant()
    def nothing_that_was_there_is_altered_or_gone(self) -> None:
        found = {path.name: path.read_bytes() for path in self.folder.glob("*") if path.suffix in (CARD, PAYLOAD)}
        assert self.files.items() <= found.items()
        self.files = found

    @invariant()
    def the_log_has_all_in_their_order(self) -> None:
        assert [(event.model, event.version) for event in self._events()] == self.told

    @invariant()
    def it_is_whole(self) -> None:
        found = verify(self.folder)
        assert found.problems == []
        assert {event.version for event in self._events() if event.what == "stored"} <= Shelf(self.folder).cards.keys()


Machine.TestCase.settings = settings(
    max_examples=25, stateful_step_count=10, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestStore = Machine.TestCase
