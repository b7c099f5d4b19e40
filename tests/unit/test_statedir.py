"""The state directory has one writer, and says in one line why it cannot be used."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine.live.statedir import StateDir, StateDirError


def test_a_second_writer_is_refused_and_told_who_the_first_is(tmp_path: Path) -> None:
    with StateDir(tmp_path / "run"), pytest.raises(StateDirError, match=f"in use by process {os.getpid()};") as refused:
        StateDir(tmp_path / "run")
    assert "\n" not in str(refused.value)


def test_a_lock_file_without_its_process_is_no_lock(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("999999999\n")
    with StateDir(tmp_path) as state:
        assert (state.path / "lock").read_text() == f"{os.getpid()}\n"
    with StateDir(tmp_path):
        pass


def test_a_folder_that_cannot_be_made_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateDirError, match=r"expected a folder that can be written.*set run.state_dir") as refused:
        StateDir(tmp_path / "file" / "run")
    assert "\n" not in str(refused.value)


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    with StateDir(tmp_path) as state:
        state.write("run.json", "old")
        state.write("run.json", "new")
        assert (tmp_path / "run.json").read_text() == "new"
        assert not (tmp_path / "run.json.part").exists()
