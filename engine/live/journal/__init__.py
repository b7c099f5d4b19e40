"""The journal: one log, in one order, of all that a run was told and of all that followed."""

from engine.live.journal.errors import Cut, JournalDamaged, JournalNotWritten, Position
from engine.live.journal.frames import Frame, Header, Kind, decode_header, decode_mark, seq_of
from engine.live.journal.reader import decode_record, read, scan_tail
from engine.live.journal.writer import Journal, JournalSettings

__all__ = [
    "Cut",
    "Frame",
    "Header",
    "Journal",
    "JournalDamaged",
    "JournalNotWritten",
    "JournalSettings",
    "Kind",
    "Position",
    "decode_header",
    "decode_mark",
    "decode_record",
    "read",
    "scan_tail",
    "seq_of",
]
