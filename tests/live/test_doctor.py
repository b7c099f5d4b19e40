"""The doctor finds what is wrong with a machine, and changes nothing on it."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

import pytest

from engine.live import doctor


def by_name(checks: list[doctor.Check]) -> dict[str, doctor.Check]:
    return {check.name: check for check in checks}


def test_this_machine_passes_and_nothing_is_made(tmp_path: Path) -> None:
    checks = doctor.examine(tmp_path / "var", port=0)
    assert doctor.passed(checks), checks
    assert {"python", "packages", "disk", "port", "clock", "kernel cache", "cores"} <= by_name(checks).keys()
    assert list(tmp_path.iterdir()) == []


def test_a_taken_port_is_named_with_advice() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        check = doctor.free_port("127.0.0.1", port)
    assert check.verdict == "warning"
    assert f":{port}" in check.found
    assert "papertape status" in check.advice


def test_a_state_directory_that_is_a_file_fails(tmp_path: Path) -> None:
    file = tmp_path / "var"
    file.write_text("")
    check = doctor.folder("state directory", file)
    assert check.verdict == "failed"
    assert "is no folder" in check.found


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "PACKAGES", ("numpy", "no-such-package-of-ours"))
    check = doctor.packages()
    assert check.verdict == "failed"
    assert check.found == "missing: no-such-package-of-ours"


@pytest.mark.parametrize(("free", "verdict"), [(1 << 29, "failed"), (2 << 30, "warning"), (50 << 30, "ok")])
def test_disk_space_is_judged(free: int, verdict: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    usage = type("Usage", (), {"free": free})
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    assert doctor.disk(tmp_path / "missing").verdict == verdict


def test_many_threads_are_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    assert doctor.threads().verdict == "warning"


def test_the_kernel_cache_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    assert doctor.kernel_cache() == tmp_path
