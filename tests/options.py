"""A script that outlives the process that acts it: which word comes next stands in a file."""

from __future__ import annotations

from pathlib import Path

import msgspec


class Script(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The words, and the file that counts those that were said."""

    words: tuple[str, ...]
    counter: str

    def next_word(self) -> str:
        path = Path(self.counter)
        said = len(path.read_text()) if path.exists() else 0
        with path.open("a") as file:
            file.write(".")
        return self.words[min(said, len(self.words) - 1)]
