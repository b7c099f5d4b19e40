"""A process that is killed in the middle of its work loses no commit that it told of."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from pathlib import Path

from engine.live.journal import Journal
from engine.live.journal.verify import verify
from tests.journals import SMALL

WRITER = """
import sys
from pathlib import Path
from engine.live.journal import Journal, JournalSettings
from tests.journals import facts
journal = Journal.open(Path(sys.argv[1]), JournalSettings(segment_bytes=20_000))
while True:
    journal.input(b"x" * 300)
    journal.facts(facts(journal.last_seq + 1, 3))
    journal.commit()
    print(journal.last_seq, flush=True)
"""


def test_a_killed_writer_loses_nothing_that_it_told_of(tmp_path: Path) -> None:
    chance = random.Random(7)
    told = 0
    for _ in range(3):
        words = [sys.executable, "-c", WRITER, str(tmp_path)]
        with subprocess.Popen(words, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]) as process:
            assert process.stdout is not None
            for _ in range(chance.randrange(50, 900)):
                told = int(process.stdout.readline())
            process.send_signal(signal.SIGKILL)
            lines = process.stdout.read().split()
            told = int(lines[-1]) if lines else told
        found = verify(tmp_path)
        assert found.cut is None
        assert found.last_seq in (told, told + 3)  # killed between the commit and the word of it
        with Journal.open(tmp_path, SMALL) as journal:
            assert journal.cut is None and journal.last_seq == found.last_seq
